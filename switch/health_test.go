package vswitch

import (
	"slices"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

func TestWorkerThatStaysInABatchIsStalled(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	slow := stuck{porttest.NewCable(1), make(chan struct{}, 16), make(chan struct{})}
	if err := r.Attach(config.Port{Name: "slow"}, slow, upLink); err != nil {
		t.Fatal(err)
	}
	if s := r.Stalled(); len(s) != 0 {
		t.Errorf("%v stalled at rest", s)
	}
	r.cables["a"].Send(eth(frame.Broadcast, sta(1)))
	<-slow.entered
	if s := r.Stalled(); len(s) != 0 {
		t.Errorf("%v stalled at the first look", s)
	}
	if s := r.Stalled(); !slices.Equal(s, []string{"a"}) {
		t.Errorf("%v stalled, want a", s)
	}
	close(slow.release)
	r.settled(r.ports["a"].counters, 1)
	r.Stalled()
	if s := r.Stalled(); len(s) != 0 {
		t.Errorf("%v stalled afterwards", s)
	}
}
