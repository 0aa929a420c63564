package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/port"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// resume returns the configuration to begin with: c, which is that of the
// startup file, or the running one that a daemon before has kept at path. That
// one goes on unless the startup file has changed since, and then its ephemeral
// ports do, of which no startup file says anything.
func resume(c *config.Config, st control.Startup, path string, log *slog.Logger) (begin *config.Config, resumed bool) {
	data, err := config.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, false
	}
	var kept config.Kept
	if err == nil {
		kept, err = config.ParseKept(path, data)
	}
	if err != nil {
		log.Error("running configuration unreadable: the startup file is in force", "err", err)
		if err := os.Rename(path, path+".bad"); err != nil {
			log.Error("running configuration unreadable, and not put aside", "err", err)
		}
		return c, false
	}
	if kept.Startup != st.Sum || *kept.Config.VLANAware != *c.VLANAware {
		discard(kept, st, path, log)
		both := c.WithEphemeral(kept.Config)
		if err := both.Validate(); err != nil {
			log.Warn("ephemeral ports discarded: they do not go with the startup file", "err", err)
			return c, false
		}
		return both, false
	}
	if d := config.Diff(st.Config, kept.Config); len(d) > 0 {
		log.Info("running configuration resumed: it differs from the startup file", "path", path, "differences", len(d))
	}
	begin = kept.Config
	begin.Control, begin.Metrics, begin.Nice = c.Control, c.Metrics, c.Nice
	return begin, true
}

// discard lists the changes that were made to the running configuration since it
// began: the startup file is another now, and wins.
func discard(kept config.Kept, st control.Startup, path string, log *slog.Logger) {
	log.Warn("startup file changed: it is in force, and the running configuration discarded", "startup", st.File, "path", path)
	began, err := config.Parse(path, kept.Began)
	if err != nil {
		began = st.Config // The next best.
	}
	for _, line := range config.Diff(began, kept.Config) {
		log.Warn("discarded", "change", line)
	}
	// Should the file be changed back, the old one must not rise again.
	if err := os.Remove(path); err != nil {
		log.Warn("running configuration not removed", "err", err)
	}
}

// putBack does what a daemon before did not come to do: it leaves the links
// that it had adopted or attached as they were found. Those of the configuration are adopted anew.
func putBack(dir string, log *slog.Logger) error {
	names, err := port.PutBack(dir)
	for _, name := range names {
		log.Info("link put back as it was found", "ifname", name)
	}
	return err
}

// restore is putBack in place of a start. It refuses while a daemon is there.
func restore(c *config.Config, log *slog.Logger) error {
	socket := socketOf(c)
	if _, err := os.Stat(adoptedDir(socket)); errors.Is(err, fs.ErrNotExist) {
		return nil // Nor may there be a directory for the lock.
	}
	listener, err := control.Listen(socket, "")
	if err != nil {
		return err
	}
	err = putBack(adoptedDir(socket), log)
	return errors.Join(err, listener.Close(), listener.Unlock())
}

// bringBack adds the ports and static entries of the running configuration. A
// port whose network namespace or foreign link has ended with the daemon is left
// out: nobody can bring it back, and it must not keep the others from coming.
func bringBack(ctx context.Context, sw *vswitch.Switch, c *config.Config, path string) error {
	err := bring(ctx, sw, c, func(p *config.Port) bool { return p.Netns != "" || p.Adopt || p.Kind == config.KindNetdev })
	if err != nil {
		return fmt.Errorf("resume the running configuration: %w; to begin with the startup file instead, remove %s", err, path)
	}
	return nil
}

// bringUp adds the ports and static entries of the startup file.
func bringUp(ctx context.Context, sw *vswitch.Switch, c *config.Config) error {
	return bring(ctx, sw, c, func(*config.Port) bool { return false })
}

// bring adds ports and static entries to a switch that is new, less those that
// may be gone and are. Ephemeral ports are nobody's configuration: whatever keeps
// one of a container from coming back, such as a namespace half torn down, must
// not keep the switch from starting.
func bring(ctx context.Context, sw *vswitch.Switch, c *config.Config, may func(*config.Port) bool) error {
	var mu sync.Mutex
	gone := map[string]bool{}
	err := addPorts(ctx, c.Ports, func(p config.Port) error {
		err := sw.Add(p)
		lost := p.Ephemeral || may(&p) && errors.Is(err, fs.ErrNotExist)
		if err == nil || !lost {
			return err
		}
		sw.Publish(vswitch.Event{Kind: vswitch.PortGone, Port: p.Name, Err: err})
		mu.Lock()
		defer mu.Unlock()
		gone[p.Name] = true
		return nil
	})
	if err != nil || ctx.Err() != nil {
		return err
	}
	there := c.Without(func(p *config.Port) bool { return gone[p.Name] })
	for _, e := range there.FDB.Static {
		if err := sw.AddFDB(e.MAC, e.VLAN, e.Port); err != nil {
			return err
		}
	}
	return nil
}
