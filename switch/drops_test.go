package vswitch

import (
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

func (r *rig) dropsOf(name string, why frame.DropReason) *DropGroup {
	for _, g := range r.Drops() {
		if g.Port == name && g.Reason == why {
			return &g
		}
	}
	return nil
}

// However many frames are dropped, as many samples are kept.
func TestDropsAreCountedAndSampled(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	const n = 1000
	foreign := tagged(eth(sta(2), sta(1)), ctag(0, false, 20))
	for range n {
		r.send("a", foreign)
	}
	g := r.dropsOf("a", frame.DropFrameType)
	if g == nil || g.Frames != n || len(g.Samples) == 0 || len(g.Samples) > dropSamples {
		t.Fatalf("%+v", g)
	}
	if s := g.Samples[0]; s.Ingress != "a" || s.Stage != StageIngress || s.Len != len(foreign) || string(s.Frame().Bytes) != string(foreign) {
		t.Errorf("%+v", s)
	}
	// There is room for others again.
	r.send("a", eth(sta(2), frame.Broadcast))
	if g := r.dropsOf("a", frame.DropSourceGroup); g == nil || g.Frames != 1 || len(g.Samples) != 1 {
		t.Errorf("of another reason: %+v", g)
	}
}

func TestDroppedCopyIsToldOfAtItsPort(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	long := append(eth(frame.Broadcast, sta(1)), make([]byte, 3000)...)
	r.send("a", long)
	g := r.dropsOf("b", frame.DropOversize)
	if g == nil || g.Frames != 1 || len(g.Samples) != 1 {
		t.Fatalf("%+v", g)
	}
	if s := g.Samples[0]; s.Ingress != "a" || s.Stage != StageEgress || s.VID != 10 || s.Len != len(long) || len(s.Bytes) != sampleBytes || len(s.Frame().Bytes) != s.Len {
		t.Errorf("%+v", s)
	}
}

func TestDropsAreForgottenAfterAMinute(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	r.send("a", eth(sta(2), frame.Broadcast))
	if r.dropsOf("a", frame.DropSourceGroup) == nil {
		t.Fatal("the drop is not told of")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.gatherDrops(now.Add((dropSeconds - 2) * time.Second))
	if len(r.Switch.drops.groups) != 1 {
		t.Errorf("forgotten within the minute: %v", r.Switch.drops.groups)
	}
	r.gatherDrops(now.Add((dropSeconds + 1) * time.Second))
	if len(r.Switch.drops.groups) != 0 {
		t.Errorf("not forgotten: %v", r.Switch.drops.groups)
	}
}

func TestDroppingAllocatesNothing(t *testing.T) {
	w := bench(t, true, 1024, access("a", 10), access("b", 10))
	w.load(tagged(eth(sta(2), sta(1)), ctag(0, false, 20)))
	own := &samples{}
	w.samples.Store(own)
	if n := testing.AllocsPerRun(100, func() { w.relayBatch(); own.empty() }); n != 0 {
		t.Errorf("%v allocations for a batch of drops", n)
	}
}
