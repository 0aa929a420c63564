package vswitch

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// rig is a switch whose stations are the test.
type rig struct {
	testing.TB
	*Switch
	cables map[string]*porttest.Cable
}

// newRig makes a switch with the ports, each on a cable whose link is up.
func newRig(t testing.TB, aware bool, ports ...config.Port) *rig {
	t.Helper()
	s, err := New(&config.Config{VLANAware: &aware}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t, s, map[string]*porttest.Cable{}}
	for _, p := range ports {
		r.plug(p)
	}
	return r
}

var upLink = port.Link{MTU: 1500, Up: true}

func (r *rig) plug(p config.Port) *porttest.Cable {
	r.Helper()
	c := porttest.NewCable(1024)
	if err := r.Attach(p, c, upLink); err != nil {
		r.Fatal(err)
	}
	r.cables[p.Name] = c
	return c
}

func (r *rig) set(name string, change func(*config.Port)) {
	r.Helper()
	err := r.Set(name, func(p config.Port) (config.Port, error) { change(&p); return p, nil })
	if err != nil {
		r.Fatal(err)
	}
}

// setLink reports a link state as the monitor would.
func (r *rig) setLink(name string, link port.Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.update(r.ports[name], link)
}

// send puts frames on a port and waits until the switch is through with them.
func (r *rig) send(name string, frames ...[]byte) {
	r.Helper()
	r.mu.Lock()
	c := r.ports[name].counters
	r.mu.Unlock()
	want := c.receive.frames.Load() + uint64(len(frames))
	for _, f := range frames {
		r.cables[name].Send(f)
	}
	r.settled(c, want)
}

func (r *rig) settled(c *counters, want uint64) {
	r.Helper()
	deadline := time.After(10 * time.Second)
	for c.receive.frames.Load() != want {
		select {
		case <-deadline:
			r.Fatalf("received %d of %d frames", c.receive.frames.Load(), want)
		case <-time.After(10 * time.Microsecond):
		}
	}
}

// expect fails unless exactly these frames, in order, left by these ports, and
// none by any other.
func (r *rig) expect(want map[string][][]byte) {
	r.Helper()
	for name, c := range r.cables {
		var got [][]byte
		for _, s := range c.Taken() {
			got = append(got, s.Bytes)
		}
		if !slices.EqualFunc(got, want[name], bytes.Equal) {
			r.Errorf("port %s sent %s, want %s", name, dump(got), dump(want[name]))
		}
	}
}

func dump(frames [][]byte) string {
	s := ""
	for _, f := range frames {
		s += fmt.Sprintf(" [% x]", f[:min(len(f), 22)])
	}
	return cmp.Or(s, " nothing")
}

// flooded sends f on in and expects it, as it is, on exactly the ports out.
func (r *rig) flooded(in string, f []byte, out ...string) {
	r.Helper()
	r.send(in, f)
	want := map[string][][]byte{}
	for _, o := range out {
		want[o] = [][]byte{f}
	}
	r.expect(want)
}

// dropped sends f on in and expects it nowhere, for the reason.
func (r *rig) dropped(in string, f []byte, why frame.DropReason) {
	r.Helper()
	before := r.drops(in, why)
	r.send(in, f)
	r.expect(nil)
	if got := r.drops(in, why) - before; got != 1 {
		r.Errorf("%v counted %d times on %s, want once; all: %v", why, got, in, r.allDrops(in))
	}
}

func (r *rig) drops(name string, why frame.DropReason) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports[name].counters.dropped[why].Load()
}

func (r *rig) allDrops(name string) (all []string) {
	for why := range frame.NumDropReasons {
		if n := r.drops(name, why); n != 0 {
			all = append(all, fmt.Sprintf("%v=%d", why, n))
		}
	}
	return all
}

// balanced fails unless the books balance over all ports and those departed.
func (r *rig) balanced() {
	r.Helper()
	sum := r.Departed()
	for _, p := range r.Ports() {
		s := p.Stats
		if in := s.Relayed + s.DroppedAt(frame.Ingress); in != s.Receive.Frames {
			r.Errorf("port %s received %d, relayed and dropped %d", p.Config.Name, s.Receive.Frames, in)
		}
		sum.Add(s)
	}
	if out := sum.Transmit.Frames + sum.DroppedAt(frame.Egress); out != sum.Copies {
		r.Errorf("%d copies made, %d transmitted or dropped", sum.Copies, out)
	}
}

// Stations and frames.

func sta(n int) frame.MAC { return frame.MAC{0x02, 0, 0, 0, byte(n >> 8), byte(n)} }

// eth makes a 60-byte frame; rest follows the addresses.
func eth(dst, src frame.MAC, rest ...byte) []byte {
	f := slices.Concat(dst[:], src[:], rest)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}

func ctag(pcp uint8, dei bool, v frame.VID) []byte {
	t := frame.MakeTCI(pcp, dei, v)
	return []byte{0x81, 0, byte(t >> 8), byte(t)}
}

// tagged inserts a tag behind the addresses of f.
func tagged(f, tag []byte) []byte { return slices.Concat(f[:12], tag, f[12:]) }

func access(name string, v frame.VID) config.Port { return config.Port{Name: name, Access: v} }

func trunk(name string, vids ...frame.VID) config.Port {
	return config.Port{Name: name, Trunk: config.VIDsOf(vids...)}
}
