package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/priority"
	"github.com/vswitchd/vswitchd/internal/version"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

const (
	// opening is how many ports are opened at a time.
	opening = 16
	// farewell is how long requests under way may take once the daemon is to
	// end. The ports take up the rest of the 2 s in which it ends.
	farewell = 500 * time.Millisecond
)

// run is the daemon, until ctx ends. The order is that of what depends on what;
// whatever was started is stopped again in the opposite order. override gives a
// configuration what the command line says instead.
func run(ctx context.Context, st control.Startup, override func(*config.Config) *config.Config, log *slog.Logger) (err error) {
	priority.Half()
	c := override(st.Config)
	socket := socketOf(c)
	// First of all: a second daemon must not get as far as to touch a TAP.
	listener, err := control.Listen(socket, c.Control.Group)
	if err != nil {
		return err
	}
	defer func() {
		_ = listener.Close() // The server has done that, unless it never came to serve.
		err = errors.Join(err, listener.Unlock())
	}()

	// The lock of the socket is that of the file beside it too.
	kept := socket + ".running"
	adopted := adoptedDir(socket)
	if err := putBack(adopted, log); err != nil {
		log.Warn("links not put back as they were found", "err", err)
	}
	c, resumed := resume(c, st, kept, log)
	sw, err := vswitch.New(c, vswitch.Options{FoundDir: adopted})
	if err != nil {
		return err
	}
	events := logEvents(sw, log)
	defer func() {
		err = errors.Join(err, sw.Close())
		events.wait()
	}()
	changed := make(chan struct{}, 1)
	onOwnChange(sw, func() { signalled(changed) })
	if resumed {
		err = bringBack(ctx, sw, c, kept)
	} else {
		err = bringUp(ctx, sw, c)
	}
	if err == nil && ctx.Err() == nil {
		err = sw.AutoAttach(c.AutoAttach)
	}
	if err != nil {
		return err
	}
	web, err := serveMetrics(sw, c.Metrics, st.File, log)
	if err != nil {
		return err
	}
	defer web.close()
	defer keepPriority(ctx, c.Nice, log)()
	if ctx.Err() == nil { // Else there is nothing to guard any more.
		confine(c, st, socket, log)
	}

	running := control.NewRunning(sw, kept, st, log)
	defer running.Close()
	if ctx.Err() != nil {
		running.Close() // Not all of the ports may be there.
	}
	if err := running.Keep(); err != nil {
		log.Warn("configuration cannot be changed", "err", err)
	}
	server := control.NewServer(sw, control.Daemon{
		Version: version.String(), Started: time.Now(), Metrics: web.address, Config: st.File, Running: running, Busy: priority.Busy,
	}, log)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	defer signal.Stop(reload)
	log.Info("ready", "version", version.String(), "socket", socket, "metrics", web.address,
		"config", st.File, "vlan_aware", sw.VLANAware(), "ports", len(c.Ports))
	tellReady(ctx, sw, log)

	for {
		select {
		case err := <-failed:
			return fmt.Errorf("control socket %s: %w", socket, err)
		case <-reload:
			reapply(running, log)
		case <-changed:
			if err := running.Keep(); err != nil {
				log.Warn("a link that is gone or renamed is looked for after a restart as it was before", "err", err)
			}
		case <-ctx.Done():
			log.Info("stopping")
			tellStopping()
			grace, cancel := context.WithTimeout(context.Background(), farewell)
			defer cancel()
			return server.Shutdown(grace)
		}
	}
}

func socketOf(c *config.Config) string {
	if c.Control.Socket != "" {
		return c.Control.Socket
	}
	return control.DefaultSocket()
}

// adoptedDir is where a daemon keeps how it has found links.
func adoptedDir(socket string) string { return socket + ".adopted" }

func signalled(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // It is already.
	}
}

// reapply applies the startup file, which is what SIGHUP is for.
func reapply(running *control.Running, log *slog.Logger) {
	changes, err := running.Reload()
	if err != nil {
		log.Error("startup file not applied", "err", err)
		return
	}
	log.Info("startup file applied", "changes", len(changes))
}

// addPorts adds the ports until one cannot be had, whose error it returns, or
// ctx ends. Opening a TAP waits for the kernel, so several are opened at a time.
func addPorts(ctx context.Context, ports []config.Port, add func(config.Port) error) error {
	ctx, abandon := context.WithCancel(ctx)
	defer abandon()
	errs := make([]error, len(ports))
	free := make(chan struct{}, opening)
	var adding sync.WaitGroup
	for i, p := range ports {
		free <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		adding.Go(func() {
			if errs[i] = add(p); errs[i] != nil {
				abandon()
			}
			<-free
		})
	}
	adding.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
