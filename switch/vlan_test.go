package vswitch

import (
	"errors"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

func TestVLANsAreApart(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), access("c", 20), access("d", 20))
	r.flooded("a", eth(frame.Broadcast, sta(1)), "b")
	r.flooded("c", eth(frame.Broadcast, sta(3)), "d")
	r.flooded("a", eth(sta(3), sta(1)), "b") // known in VLAN 20 only
	r.flooded("d", eth(sta(1), sta(4)), "c") // known in VLAN 10 only
}

func TestAccessAndTrunkRenderTheTag(t *testing.T) {
	r := newRig(t, true, access("a", 10), trunk("t", 10, 20), access("c", 20))
	f := eth(frame.Broadcast, sta(1), 8, 0)
	r.send("a", f)
	r.expect(map[string][][]byte{"t": {tagged(f, ctag(0, false, 10))}})
	r.send("t", tagged(f, ctag(6, true, 10)))
	r.expect(map[string][][]byte{"a": {f}})
	r.send("t", tagged(f, ctag(0, false, 20)))
	r.expect(map[string][][]byte{"c": {f}})
}

func TestPCPAndDEIAreKept(t *testing.T) {
	r := newRig(t, true, trunk("t", 10), trunk("u", 10), config.Port{Name: "n", Trunk: config.VIDsOf(20), Native: 10})
	f := eth(frame.Broadcast, sta(1), 8, 0)
	g := tagged(f, ctag(5, true, 10))
	r.send("t", g)
	r.expect(map[string][][]byte{"u": {g}, "n": {f}})
	// A priority tag is classified to the PVID and keeps its priority.
	r.send("n", tagged(f, ctag(6, true, 0)))
	want := tagged(f, ctag(6, true, 10))
	r.expect(map[string][][]byte{"t": {want}, "u": {want}})
}

func TestPriorityTaggedToUntaggedPortLosesItsTag(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	f := eth(frame.Broadcast, sta(1), 8, 0)
	r.send("a", tagged(f, ctag(6, false, 0)))
	r.expect(map[string][][]byte{"b": {f}})
}

func TestIngressFilterDropsForeignVID(t *testing.T) {
	r := newRig(t, true, trunk("t", 10), trunk("u", 10, 20))
	r.dropped("t", tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 20)), frame.DropIngressFilter)
	r.dropped("t", tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 30)), frame.DropIngressFilter)
	if n := r.table.Stats().Dynamic; n != 0 {
		t.Errorf("%d addresses learned from filtered frames", n)
	}
	r.set("t", func(p *config.Port) { p.IngressFiltering = new(false) })
	f := tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 20))
	r.flooded("t", f, "u")
}

func TestAcceptableFrameTypes(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), trunk("t", 10))
	f := eth(frame.Broadcast, sta(1), 8, 0)
	r.dropped("a", tagged(f, ctag(0, false, 10)), frame.DropFrameType) // its own VLAN too
	r.dropped("a", tagged(f, ctag(0, false, 20)), frame.DropFrameType)
	r.dropped("t", f, frame.DropFrameType)
	r.dropped("t", tagged(f, ctag(3, false, 0)), frame.DropFrameType)
	r.set("t", func(p *config.Port) { p.FrameTypes = config.FrameTypesAll })
	r.dropped("t", f, frame.DropNoPVID)
}

func TestDoubleTagHoppingFails(t *testing.T) {
	r := newRig(t, true, access("a", 10), config.Port{Name: "t", Trunk: config.VIDsOf(20), Native: 10}, access("c", 20))
	f := eth(frame.Broadcast, sta(1), 8, 0)
	r.dropped("a", tagged(tagged(f, ctag(0, false, 20)), ctag(0, false, 10)), frame.DropFrameType)
	// Through VID 0, or from another trunk, the outer tag is popped where VLAN
	// 10 is native: the inner one must not come to count there.
	inner := tagged(f, ctag(0, false, 20))
	r.send("a", tagged(inner, ctag(0, false, 0)))
	r.plug(trunk("u", 10))
	r.send("u", tagged(inner, ctag(0, false, 10)))
	r.expect(map[string][][]byte{"a": {inner}, "u": nil})
	if n := r.drops("t", frame.DropInnerTag); n != 2 {
		t.Errorf("inner_tag counted %d times on t, want 2", n)
	}
	r.balanced()
}

func TestReservedVIDIsDropped(t *testing.T) {
	r := newRig(t, true, trunk("t", 10), access("a", 10))
	f := tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 4095))
	r.dropped("t", f, frame.DropReservedVID)
	r.dropped("a", f, frame.DropReservedVID)
}

func TestCutShortTagIsDropped(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	f := eth(frame.Broadcast, sta(1), 0x81, 0, 0, 10)[:17]
	r.dropped("a", f, frame.DropTooShort)
}

func TestWhatFollowsTheOuterTagIsPayload(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), trunk("t", 10))
	f := eth(frame.Broadcast, sta(1), 0x88, 0xa8, 0, 20, 8, 0)
	r.send("a", f)
	r.expect(map[string][][]byte{"b": {f}, "t": {tagged(f, ctag(0, false, 10))}})
	g := tagged(tagged(eth(frame.Broadcast, sta(2)), ctag(1, false, 99)), ctag(2, false, 10))
	r.send("t", g)
	want := tagged(eth(frame.Broadcast, sta(2)), ctag(1, false, 99))
	r.expect(map[string][][]byte{"a": {want}, "b": {want}})
}

func TestPortWithoutVLANsIsAMemberOfNone(t *testing.T) {
	r := newRig(t, true, config.Port{Name: "a"}, access("b", 1), trunk("t", 1))
	r.dropped("a", eth(frame.Broadcast, sta(1)), frame.DropNoPVID)
	f := eth(frame.Broadcast, sta(2))
	r.send("b", f)
	r.expect(map[string][][]byte{"t": {tagged(f, ctag(0, false, 1))}})
}

func TestVLANChangeForgetsTheStationsOfTheOldVLAN(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), access("c", 20), access("d", 10))
	r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "d")
	r.set("b", func(p *config.Port) { p.Access = 20 })
	r.flooded("a", eth(sta(2), sta(1)), "d")
	r.flooded("b", eth(frame.Broadcast, sta(2)), "c")
	r.flooded("c", eth(sta(2), sta(3)), "b")
}

func TestStaticEntryOutsideTheMemberSetIsNotServed(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), access("c", 20))
	if err := r.AddFDB(sta(9), 10, "c"); !errors.Is(err, ErrInvalid) {
		t.Errorf("an entry that could never be used: %v", err)
	}
	r.set("c", func(p *config.Port) { p.Access = 10 })
	if err := r.AddFDB(sta(9), 10, "c"); err != nil {
		t.Fatal(err)
	}
	r.set("c", func(p *config.Port) { p.Access = 20 })
	r.dropped("a", eth(sta(9), sta(1)), frame.DropEgressFilter)
}

func TestFDBEntriesNeedAVLANOnlyWhereThereAreVLANs(t *testing.T) {
	aware := newRig(t, true, access("a", 10))
	for _, v := range []frame.VID{0, 4095} {
		if aware.AddFDB(sta(1), v, "a") == nil {
			t.Errorf("VLAN-aware switch took an entry in VLAN %d", v)
		}
	}
	if newRig(t, false, config.Port{Name: "a"}).AddFDB(sta(1), 10, "a") == nil {
		t.Error("plain bridge took an entry in VLAN 10")
	}
}

func TestSnapshotsShareUnchangedVLANs(t *testing.T) {
	r := newRig(t, true, trunk("t", 10, 20, 30), access("a", 10))
	before := r.live.Load()
	r.plug(access("b", 20))
	after := r.live.Load()
	if before.vlans[10] != after.vlans[10] || before.vlans[30] != after.vlans[30] {
		t.Error("a VLAN that did not change was copied")
	}
	if before.vlans[20] == after.vlans[20] || before.vlans[20].member.Len() != 1 {
		t.Error("a published VLAN was changed in place")
	}
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "b")
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "a")
	if err := r.Remove("t"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "t")
	if s := r.live.Load(); s.vlans[10] != nil || !s.forwarding.Empty() {
		t.Error("the last member left and the VLAN is still there")
	}
}
