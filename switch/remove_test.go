package vswitch

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// guarded is a port that must not be sent by once it is closed: its fd would be
// somebody else's by then.
type guarded struct {
	*porttest.Cable
	t      *testing.T
	closed atomic.Bool
}

func (g *guarded) Transmit(out []port.Out) {
	if g.closed.Load() {
		g.t.Error("a frame was sent by a closed port")
	}
	g.Cable.Transmit(out)
}

func (g *guarded) Close() error {
	g.closed.Store(true)
	return g.Cable.Close()
}

func TestPortIsNotClosedUnderAWorkerThatMaySendByIt(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	slow := stuck{porttest.NewCable(1), make(chan struct{}, 16), make(chan struct{})}
	b := &guarded{Cable: porttest.NewCable(1), t: t}
	for _, p := range []struct {
		name string
		port port.Port
	}{{"slow", slow}, {"b", b}} {
		if err := r.Attach(config.Port{Name: p.name}, p.port, upLink); err != nil {
			t.Fatal(err)
		}
	}
	r.cables["a"].Send(eth(frame.Broadcast, sta(1)))
	<-slow.entered // The worker of a is in the middle of a batch; b comes next.

	removed := make(chan error, 1)
	go func() { removed <- r.Remove("b") }()
	select {
	case err := <-removed:
		t.Errorf("b was removed while a worker could still send by it, error %v", err)
		removed <- nil
	case <-time.After(50 * time.Millisecond):
	}
	if b.closed.Load() {
		t.Error("b was closed while a worker could still send by it")
	}
	close(slow.release)
	if err := <-removed; err != nil {
		t.Error(err)
	}
	if !b.closed.Load() {
		t.Error("b was not closed")
	}
}

func TestPortIDIsFreeOnlyAfterItsAddressesAreForgotten(t *testing.T) {
	r := plain(t)
	for i := range 50 {
		r.send("b", eth(frame.Broadcast, sta(100+i)))
		r.cables["a"].Taken()
		r.cables["c"].Taken()
		if err := r.Remove("b"); err != nil {
			t.Fatal(err)
		}
		r.plug(config.Port{Name: "b"})
		if e, err := r.FDB(FDBFilter{Port: "b"}); err != nil || len(e) != 0 {
			t.Fatalf("the new port inherited %v, %v", e, err)
		}
	}
}
