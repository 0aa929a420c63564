package vswitch

import (
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

func plain(t testing.TB) *rig {
	t.Helper()
	return newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"}, config.Port{Name: "c"})
}

func TestUnknownUnicastAndGroupsFloodOnceToEveryOtherPort(t *testing.T) {
	r := plain(t)
	r.flooded("a", eth(sta(99), sta(1)), "b", "c")
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
	r.flooded("c", eth(frame.MAC{1, 2, 3, 4, 5, 6}, sta(3)), "a", "b")
	p, _, _ := r.Port("b")
	if p.Stats.Flooded != [NumCauses]uint64{CauseBroadcast: 1} || p.Stats.Receive.Broadcast != 1 {
		t.Errorf("stats of b: %+v", p.Stats)
	}
	r.balanced()
}

func TestKnownUnicastGoesToOnePort(t *testing.T) {
	r := plain(t)
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
	r.flooded("a", eth(sta(2), sta(1)), "b")
	r.flooded("b", eth(sta(1), sta(2)), "a")
}

func TestStationMovesWithItsLastFrame(t *testing.T) {
	r := plain(t)
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
	r.flooded("c", eth(frame.Broadcast, sta(2)), "a", "b")
	r.flooded("a", eth(sta(2), sta(1)), "c")
}

func TestFrameToStationOnIngressPortIsFiltered(t *testing.T) {
	r := plain(t)
	r.flooded("a", eth(frame.Broadcast, sta(2)), "b", "c")
	r.dropped("a", eth(sta(2), sta(1)), frame.DropSamePort)
	r.dropped("a", eth(sta(7), sta(7)), frame.DropSamePort)
}

func TestReservedAddressesAreNotForwardedUnlessAsked(t *testing.T) {
	r := plain(t)
	for i := range byte(16) {
		r.dropped("a", eth(frame.MAC{0x01, 0x80, 0xc2, 0, 0, i}, sta(1)), frame.DropReservedAddress)
	}
	r.flooded("a", eth(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x10}, sta(1)), "b", "c")
	r.set("a", func(p *config.Port) { p.ForwardReserved = 1 << 0x0e })
	r.flooded("a", eth(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, sta(1)), "b", "c")
	r.dropped("a", eth(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0}, sta(1)), frame.DropReservedAddress)
	r.dropped("b", eth(frame.MAC{0x01, 0x80, 0xc2, 0, 0, 0x0e}, sta(2)), frame.DropReservedAddress)
}

func TestGroupSourceIsDroppedAndZeroSourceNotLearned(t *testing.T) {
	r := plain(t)
	r.dropped("a", eth(sta(9), frame.MAC{1, 0, 0, 0, 0, 1}), frame.DropSourceGroup)
	r.flooded("a", eth(sta(9), frame.MAC{}), "b", "c")
	r.flooded("b", eth(frame.MAC{}, sta(2)), "a", "c")
	if s, _ := r.FDBStats(); s.Refused != 0 {
		t.Error("a source that is nobody's counts as refused")
	}
}

func TestRuntsAndBadOffloadHeadersAreDropped(t *testing.T) {
	r := plain(t)
	r.dropped("a", make([]byte, 13), frame.DropTooShort)
	r.dropped("a", nil, frame.DropTooShort)
	before := r.drops("a", frame.DropOffloadHeader)
	r.mu.Lock()
	c := r.ports["a"].counters
	r.mu.Unlock()
	want := c.receive.frames.Load() + 1
	r.cables["a"].SendOffload(eth(sta(9), sta(1)), frame.Offload{GSOType: 77})
	r.settled(c, want)
	if r.drops("a", frame.DropOffloadHeader) != before+1 {
		t.Errorf("drops: %v", r.allDrops("a"))
	}
	r.expect(nil)
	r.balanced()
}

func TestOversizeForTheEgressPortIsDroppedThere(t *testing.T) {
	r := plain(t)
	r.setLink("b", port.Link{MTU: 1000, Up: true})
	full := append(eth(sta(9), sta(1)), make([]byte, 1014-60)...)
	r.flooded("a", full, "b", "c")
	r.flooded("a", append(full, 0), "c")
	if got := r.drops("b", frame.DropOversize); got != 1 {
		t.Errorf("oversize counted %d times on b", got)
	}
	r.flooded("a", tagged(full, ctag(0, false, 5)), "b", "c")
	r.flooded("a", tagged(append(full, 0), ctag(0, false, 5)), "c")
	r.balanced()
}

func TestSuperFrameIsMeasuredByItsSegments(t *testing.T) {
	r := plain(t)
	f := make([]byte, 10054)
	copy(f, eth(sta(9), sta(1), 8, 0))
	f[46] = 5 << 4
	o := frame.Offload{Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, HdrLen: 54, GSOSize: 1460, CsumStart: 34, CsumOffset: 16}
	r.mu.Lock()
	c := r.ports["a"].counters
	r.mu.Unlock()
	r.cables["a"].SendOffload(f, o)
	r.settled(c, 1)
	got := r.cables["b"].Taken()
	if len(got) != 1 || got[0].Offload != o || len(got[0].Bytes) != len(f) {
		t.Fatalf("b got %d frames", len(got))
	}
	o.GSOSize = 1461
	r.cables["a"].SendOffload(f, o)
	r.settled(c, 2)
	if got := r.cables["b"].Taken(); len(got) != 0 || r.drops("b", frame.DropOversize) != 1 {
		t.Errorf("b got %d frames, drops %v", len(got), r.allDrops("b"))
	}
}

func TestPortFlags(t *testing.T) {
	t.Run("unknown unicast flood off", func(t *testing.T) {
		r := plain(t)
		r.set("b", func(p *config.Port) { p.Flood = new(false) })
		r.flooded("a", eth(sta(9), sta(1)), "c")
		r.flooded("a", eth(frame.Broadcast, sta(1)), "b", "c")
		r.set("c", func(p *config.Port) { p.Flood = new(false) })
		r.dropped("a", eth(sta(9), sta(1)), frame.DropFloodOff)
	})
	t.Run("multicast flood off", func(t *testing.T) {
		r := plain(t)
		r.set("b", func(p *config.Port) { p.McastFlood = new(false) })
		r.flooded("a", eth(frame.MAC{1, 0, 0x5e, 1, 2, 3}, sta(1)), "c")
		r.flooded("a", eth(frame.Broadcast, sta(1)), "b", "c")
	})
	t.Run("broadcast flood off", func(t *testing.T) {
		r := plain(t)
		r.set("b", func(p *config.Port) { p.BcastFlood = new(false) })
		r.flooded("a", eth(frame.Broadcast, sta(1)), "c")
		r.flooded("a", eth(sta(9), sta(1)), "b", "c")
	})
	t.Run("learning off", func(t *testing.T) {
		r := plain(t)
		r.set("b", func(p *config.Port) { p.Learning = new(false) })
		r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
		r.flooded("a", eth(sta(2), sta(1)), "b", "c")
	})
}

func TestIsolationGroupsSplitTheHorizon(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a", Isolated: 1}, config.Port{Name: "b", Isolated: 1},
		config.Port{Name: "c", Isolated: 2}, config.Port{Name: "up"})
	r.flooded("a", eth(frame.Broadcast, sta(1)), "c", "up")
	r.flooded("b", eth(frame.Broadcast, sta(2)), "c", "up")
	r.dropped("a", eth(sta(2), sta(1)), frame.DropIsolated)
	r.flooded("up", eth(frame.Broadcast, sta(4)), "a", "b", "c")
	r.flooded("up", eth(sta(1), sta(4)), "a")
	r.flooded("a", eth(sta(4), sta(1)), "up")
	r.set("b", func(p *config.Port) { p.Isolated = 0 })
	r.flooded("a", eth(sta(2), sta(1)), "b")
}

func TestFloodReasonNamesIsolation(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a", Isolated: 1}, config.Port{Name: "b", Isolated: 1})
	r.dropped("a", eth(frame.Broadcast, sta(1)), frame.DropIsolated)
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "b")
	r.dropped("a", eth(frame.Broadcast, sta(1)), frame.DropNoMember)
}

func TestPortStates(t *testing.T) {
	r := plain(t)
	r.set("b", func(p *config.Port) { p.State = config.StateLearning })
	r.dropped("b", eth(frame.Broadcast, sta(2)), frame.DropIngressState)
	r.flooded("a", eth(frame.Broadcast, sta(1)), "c")
	r.dropped("a", eth(sta(2), sta(1)), frame.DropEgressState) // learned, but not forwarding
	r.set("b", func(p *config.Port) { p.State = config.StateDiscarding })
	r.flooded("a", eth(sta(2), sta(1)), "c") // forgotten
	r.dropped("b", eth(frame.Broadcast, sta(2)), frame.DropIngressState)
	r.flooded("a", eth(sta(2), sta(1)), "c") // not learned
	r.set("b", func(p *config.Port) { p.State = config.StateForwarding })
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
}

func TestLinkDownForgetsTheStations(t *testing.T) {
	r := plain(t)
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
	r.setLink("b", port.Link{MTU: 1500})
	r.flooded("a", eth(sta(2), sta(1)), "c")
	r.setLink("b", upLink)
	r.flooded("a", eth(sta(2), sta(1)), "b", "c")
}

func TestStaticAndBlackholeEntries(t *testing.T) {
	r := plain(t)
	for _, err := range []error{r.AddFDB(sta(2), 0, "b"), r.AddFDB(sta(6), 0, "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r.flooded("a", eth(sta(2), sta(1)), "b")
	r.flooded("c", eth(frame.Broadcast, sta(2)), "a", "b")
	r.flooded("a", eth(sta(2), sta(1)), "b") // did not roam
	r.dropped("a", eth(sta(6), sta(1)), frame.DropBlackhole)
	if n, err := r.FlushFDB(FDBFilter{}); err != nil || n != 1 {
		t.Errorf("flushed %d, %v; only station 1 was learned", n, err)
	}
	r.flooded("a", eth(sta(2), sta(1)), "b")
	if err := r.RemoveFDB(sta(2), 0); err != nil {
		t.Fatal(err)
	}
	r.flooded("a", eth(sta(2), sta(1)), "b", "c")
}

func TestRemovedPortIsForgotten(t *testing.T) {
	r := plain(t)
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
	if err := r.AddFDB(sta(5), 0, "b"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "b")
	r.plug(config.Port{Name: "d"}) // gets b's PortID
	r.flooded("a", eth(sta(2), sta(1)), "c", "d")
	r.flooded("a", eth(sta(5), sta(1)), "c", "d")
	r.balanced()
}

func TestPortWhoseDeviceIsGoneLeaves(t *testing.T) {
	r := plain(t)
	r.cables["b"].Break()
	for {
		if _, _, err := r.Port("b"); err != nil {
			break
		}
	}
	delete(r.cables, "b")
	r.flooded("a", eth(frame.Broadcast, sta(1)), "c")
}

func TestRefusedCopiesAreCountedAtTheEgressPort(t *testing.T) {
	r := plain(t)
	for _, why := range []frame.DropReason{frame.DropLinkDown, frame.DropQueueFull, frame.DropTransmitError, frame.DropPortGone} {
		r.cables["b"].Refuse(why)
		r.flooded("a", eth(frame.Broadcast, sta(1)), "c")
		if r.drops("b", why) != 1 {
			t.Errorf("%v: drops %v", why, r.allDrops("b"))
		}
	}
	r.balanced()
}

func TestLimits(t *testing.T) {
	r := plain(t)
	two := 2
	r.set("b", func(p *config.Port) { p.Limit = &two })
	for i := range 4 {
		r.flooded("b", eth(frame.Broadcast, sta(20+i)), "a", "c")
	}
	r.flooded("a", eth(sta(21), sta(1)), "b")
	r.flooded("a", eth(sta(22), sta(1)), "b", "c")
	zero := 0
	if err := r.SetFDB(FDBSettings{Limit: &zero}); err != nil {
		t.Fatal(err)
	}
	r.flooded("c", eth(frame.Broadcast, sta(3)), "a", "b")
	r.flooded("a", eth(sta(3), sta(1)), "b", "c")
}

func TestUnawareSwitchPassesTagsInOneFDB(t *testing.T) {
	r := plain(t)
	f := eth(frame.Broadcast, sta(1), 8, 0)
	for _, tag := range [][]byte{
		ctag(3, false, 0), ctag(7, true, 10), ctag(0, false, 4095), {0x88, 0xa8, 0, 7, 0x81, 0, 0, 8}, {0x81, 0}, {0x81, 0, 0},
	} {
		r.flooded("a", tagged(f, tag), "b", "c")
	}
	r.flooded("b", tagged(eth(sta(1), sta(2)), ctag(0, false, 20)), "a")
}
