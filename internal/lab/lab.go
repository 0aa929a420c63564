// Package lab is a switch with hosts to try it with, in one process: network
// namespaces with a link each, some of them links on which things go wrong.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/netns"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// connecting bounds how long a port may take to see that its host is there.
const connecting = 10 * time.Second

// Lab is a switch and its hosts. All of it ends with the process, however that
// ends.
type Lab struct {
	Config  *config.Lab
	Switch  *vswitch.Switch
	Hosts   []*Host // in the order of the configuration
	Started time.Time

	links map[string]*link // by host, the impaired ones
}

// Up makes the lab that c, which must be valid, describes, and returns once all
// links are up that shall be. The process must be alone in its network namespace:
// see netns.Isolate. The sockets between impaired links and the switch are made in
// dir.
func Up(ctx context.Context, c *config.Lab, dir string) (l *Lab, err error) {
	all := c.Config()
	s, err := vswitch.New(all, vswitch.Options{})
	if err != nil {
		return nil, err
	}
	l = &Lab{Config: c, Switch: s, Started: time.Now(), links: map[string]*link{}}
	defer func() {
		if err != nil {
			l, err = nil, errors.Join(err, l.Close())
		}
	}()
	for i, h := range c.Hosts {
		if ctx.Err() != nil {
			return l, ctx.Err()
		}
		if err := l.add(ctx, all.Ports[i], h.Impair, dir); err != nil {
			return l, err
		}
	}
	for _, e := range c.Switch.FDB.Static {
		if err := s.AddFDB(e.MAC, e.VLAN, e.Port); err != nil {
			return l, err
		}
	}
	return l, s.AutoAttach(c.Switch.AutoAttach)
}

// add makes a host and the port of the switch that it is behind.
func (l *Lab) add(ctx context.Context, p config.Port, m config.Impair, dir string) error {
	ns, err := netns.New()
	if err != nil {
		return fmt.Errorf("host %s: %w", p.Name, err)
	}
	p.Netns = ns.Path()
	l.Hosts = append(l.Hosts, &Host{Name: p.Name, NS: ns, Interface: p.Ifname, Addr: firstIPv4(p.IP)})
	if m == (config.Impair{}) {
		return l.Switch.Add(p)
	}
	socket := filepath.Join(dir, p.Name+".link")
	if err := l.Switch.Add(streamPort(p, socket)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connecting, os.ErrDeadlineExceeded)
	defer cancel()
	k, err := openLink(ctx, p, m, socket)
	if err != nil {
		return err
	}
	l.links[p.Name] = k
	return l.connected(ctx, p.Name)
}

// connected waits until the port, too, has seen that somebody is there.
func (l *Lab) connected(ctx context.Context, name string) error {
	for {
		info, _, err := l.Switch.Port(name)
		if err != nil || info.Link.Up {
			return err
		}
		if !waitUntil(ctx, time.Now().Add(time.Millisecond)) {
			return fmt.Errorf("host %s: impaired link: the switch does not see it: %w", name, context.Cause(ctx))
		}
	}
}

func firstIPv4(all []netip.Prefix) netip.Prefix {
	for _, p := range all {
		if p.Addr().Is4() {
			return p
		}
	}
	return netip.Prefix{}
}

// Host returns the host of that name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Close ends the lab. Programs that still run on its hosts are left without their
// link.
func (l *Lab) Close() error {
	err := l.Switch.Close()
	for _, k := range l.links {
		err = errors.Join(err, k.close())
	}
	for _, h := range l.Hosts {
		h.NS.Close()
	}
	return err
}
