package test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// ledger is what the daemon has acknowledged, and the change that it had been
// asked for when it was killed. Both are files' text.
type ledger struct {
	r              *rig
	acked, pending []byte
	n              int // changes asked for
}

// change asks for one of those changes that a running switch sees, at random.
func (l *ledger) change() error {
	l.r.t.Helper()
	l.n++
	i := l.n
	c, err := config.Parse("the acknowledged configuration", l.acked)
	if err != nil {
		l.r.t.Fatal(err)
	}
	ctx, ask := l.r.t.Context(), func() error { return nil }
	p := &c.Ports[rand.IntN(len(c.Ports)-1)] // The last is the stream.
	switch rand.IntN(6) {
	case 0:
		p.Flood, p.MTU = new(i%2 == 0), 1300+i%100
		keys := map[string]any{"flood": *p.Flood, "mtu": p.MTU}
		ask = func() error { _, err := l.r.SetPort(ctx, p.Name, keys); return err }
	case 1:
		gone := p.Name
		c.Ports = slices.DeleteFunc(c.Ports, func(p config.Port) bool { return p.Name == gone })
		c.FDB.Static = slices.DeleteFunc(c.FDB.Static, func(e config.StaticEntry) bool { return e.Port == gone })
		ask = func() error { _, err := l.r.RemovePort(ctx, gone); return err }
	case 2:
		added := *p
		added.Name = fmt.Sprintf("a%06d", i)
		c.Ports = append(c.Ports, added)
		ask = func() error { _, err := l.r.AddPort(ctx, added); return err }
	case 3:
		e := config.StaticEntry{MAC: frame.MAC{2, 0xee, 0, byte(i >> 16), byte(i >> 8), byte(i)}, Port: p.Name}
		c.FDB.Static = append(c.FDB.Static, e)
		ask = func() error {
			_, err := l.r.AddFDB(ctx, control.FDBEntry{MAC: e.MAC, Port: e.Port, State: "static"})
			return err
		}
	case 4:
		c.FDB.Ageing = new(100 + i%1000)
		ask = func() error { _, err := l.r.SetFDB(ctx, control.FDBSettings{Ageing: c.FDB.Ageing}); return err }
	case 5: // all ports at once, and as many as in the beginning
		for i := range c.Ports {
			c.Ports[i].Learning = new(rand.IntN(2) == 0)
		}
		for n := 0; len(c.Ports) < 16; n++ {
			c.Ports = append(c.Ports, config.Port{Name: fmt.Sprintf("b%06d%02d", i, n), Netns: p.Netns})
		}
		ask = func() error { _, err := l.r.Apply(ctx, c, 0); return err }
	}
	if len(c.Ports) < 4 || len(c.Ports) > 20 {
		return nil // Not asked for.
	}
	slices.SortFunc(c.Ports, func(a, b config.Port) int { return strings.Compare(a.Name, b.Name) })
	l.pending = l.text(c)
	if err := ask(); err != nil {
		return err
	}
	l.acked, l.pending = l.pending, nil
	return nil
}

func (l *ledger) text(c *config.Config) []byte {
	l.r.t.Helper()
	slices.SortFunc(c.FDB.Static, func(a, b config.StaticEntry) int { return bytes.Compare(a.MAC[:], b.MAC[:]) })
	text, err := c.Marshal()
	if err != nil {
		l.r.t.Fatal(err)
	}
	return text
}

// settle compares the running configuration, and the links in the namespace,
// with what was acknowledged.
func (l *ledger) settle(farm *netns.NS) {
	l.r.t.Helper()
	c, err := l.r.Running(l.r.t.Context())
	if err != nil {
		l.r.t.Fatal(err)
	}
	running := l.text(c)
	if !bytes.Equal(running, l.acked) && !bytes.Equal(running, l.pending) {
		l.r.t.Fatalf("running:\n%s\nacknowledged:\n%s\nasked for:\n%s", running, l.acked, l.pending)
	}
	l.acked, l.pending = running, nil
	want := []string{"lo"}
	for _, p := range c.Ports[:len(c.Ports)-1] { // The last is the stream.
		want = append(want, p.Name)
	}
	var links []net.Interface
	err = farm.Do(func() (err error) {
		links, err = net.Interfaces()
		return err
	})
	var has []string
	for _, i := range links {
		has = append(has, i.Name)
	}
	slices.Sort(has)
	slices.Sort(want)
	if err != nil || !slices.Equal(has, want) {
		l.r.t.Fatalf("links %v, want %v; %v", has, want, err)
	}
}

// Whoever starts a daemon again does not wait for the kernel to be done with
// the one that was killed: its TAPs, its socket and its lock are in the way.
func testKilledDaemonComesBackAsItWas(t *testing.T) {
	r, farm := newRig(t), nettest.New(t)
	for _, name := range []string{"from", "to"} {
		if _, err := r.RemovePort(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	l := &ledger{r: r}
	c, err := r.Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		c.Ports = append(c.Ports, config.Port{Name: fmt.Sprintf("p%02d", i), Netns: farm.PID()})
	}
	c.Ports = append(c.Ports, config.Port{Name: "vm", Kind: config.KindStream, Listen: filepath.Join(r.dir, "run", "vm")})
	if _, err := r.Apply(t.Context(), c, 0); err != nil {
		t.Fatal(err)
	}
	l.acked = l.text(c)
	l.settle(farm)

	load := newCrew(t)
	load.start("load", func() error {
		for i := 0; ; i++ {
			select {
			case <-load.stop:
				return nil
			default:
			}
			h := lab.Host{NS: farm, Interface: fmt.Sprintf("p%02d", i%16)}
			_ = h.Send(numbered(frame.Broadcast, frame.MAC{2, 0xcc, 0, 0, 0, byte(i)}, 0)) // It comes and goes.
			time.Sleep(100 * time.Microsecond)
		}
	})
	var starts []time.Duration
	for n := range *soakKills {
		victim := r.cmd.Process
		moment := time.AfterFunc(rand.N(200*time.Millisecond), func() { _ = victim.Kill() })
		for {
			err := l.change()
			if refused := (*control.Error)(nil); errors.As(err, &refused) {
				t.Fatalf("change %d: %v\nof:\n%s\nto:\n%s", l.n, err, l.acked, l.pending)
			}
			if err != nil {
				break
			}
		}
		moment.Stop()
		if n%4 == 0 { // within its start
			r.launch()
			time.Sleep(rand.N(300 * time.Millisecond))
			r.signal(unix.SIGKILL)
		}
		began := time.Now()
		r.launch()
		r.ready()
		starts = append(starts, time.Since(began))
		l.settle(farm)
		if n%25 == 24 {
			r.aftermath()
		}
	}
	load.end()
	slices.Sort(starts)
	t.Logf("soak: killed %d times among %d changes; ready again within %v, median %v, of 1s", len(starts), l.n, starts[len(starts)-1].Round(time.Millisecond), starts[len(starts)/2].Round(time.Millisecond))
	r.aftermath()
}
