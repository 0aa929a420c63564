package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/port"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// resume returns the configuration to begin with: c, which is that of the
// startup file, or the running one that a daemon before has kept at path. That
// one goes on unless the startup file has changed since.
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
		return c, false
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
func putBack(dir string, log *slog.Logger) {
	names, err := port.PutBack(dir)
	for _, name := range names {
		log.Info("link put back as it was found", "ifname", name)
	}
	if err != nil {
		log.Warn("links not put back as they were found", "err", err)
	}
}

// bringBack adds the ports and static entries of the running configuration. A
// port whose network namespace or foreign link has ended with the daemon is left
// out: nobody can bring it back, and it must not keep the others from coming.
func bringBack(ctx context.Context, sw *vswitch.Switch, c *config.Config, path string, log *slog.Logger) error {
	var mu sync.Mutex
	var lost []string
	err := addPorts(ctx, c.Ports, func(p config.Port) error {
		err := sw.Add(p)
		if p.Netns == "" && !p.Adopt && p.Kind != config.KindNetdev || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		log.Warn("port not resumed: its link or network namespace is gone", "port", p.Name, "err", err)
		mu.Lock()
		defer mu.Unlock()
		lost = append(lost, p.Name)
		return nil
	})
	if err == nil && ctx.Err() == nil {
		err = addStatic(sw, slices.DeleteFunc(slices.Clone(c.FDB.Static), func(e config.StaticEntry) bool {
			return slices.Contains(lost, e.Port)
		}))
	}
	if err != nil {
		return fmt.Errorf("resume the running configuration: %w; to begin with the startup file instead, remove %s", err, path)
	}
	return nil
}
