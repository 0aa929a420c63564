package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
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
// whatever was started is stopped again in the opposite order.
func run(ctx context.Context, c *config.Config, file string, log *slog.Logger) (err error) {
	socket := c.Control.Socket
	if socket == "" {
		socket = control.DefaultSocket()
	}
	// First of all: a second daemon must not get as far as to touch a TAP.
	listener, err := control.Listen(socket, c.Control.Group)
	if err != nil {
		return err
	}
	defer func() {
		_ = listener.Close() // The server has done that, unless it never came to serve.
		err = errors.Join(err, listener.Unlock())
	}()

	events := logEvents(log)
	defer events.close()
	sw, err := vswitch.New(c, vswitch.Options{Notify: events.notify})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	if err := addPorts(ctx, sw, c.Ports); err != nil {
		return err
	}
	web, err := serveMetrics(sw, c.Metrics, log)
	if err != nil {
		return err
	}
	defer web.close()

	server := control.NewServer(sw, control.Daemon{
		Version: version.String(), Started: time.Now(), Metrics: web.address, Config: file,
	}, log)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("ready", "version", version.String(), "socket", socket, "metrics", web.address,
		"config", file, "vlan_aware", sw.VLANAware(), "ports", len(c.Ports))
	tellReady(ctx, sw, log)

	select {
	case err := <-failed:
		return fmt.Errorf("control socket %s: %w", socket, err)
	case <-ctx.Done():
	}
	log.Info("stopping")
	tellStopping()
	grace, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return server.Shutdown(grace)
}

// addPorts adds the ports until one cannot be had, whose error it returns, or
// ctx ends. Opening a TAP waits for the kernel, so several are opened at a time.
func addPorts(ctx context.Context, sw *vswitch.Switch, ports []config.Port) error {
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
			if errs[i] = sw.Add(p); errs[i] != nil {
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
