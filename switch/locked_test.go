package vswitch

import (
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

func TestLockedPortTakesFramesOfItsStaticStationsOnly(t *testing.T) {
	r := newRig(t, true, access("vm", 10), access("a", 10), access("b", 10))
	r.flooded("vm", eth(frame.Broadcast, sta(9)), "a", "b") // learned before it is locked
	r.set("vm", func(p *config.Port) { p.Locked = true })
	for n, port := range map[int]string{1: "vm", 2: "a", 3: ""} {
		if err := r.AddFDB(sta(n), 10, port); err != nil {
			t.Fatal(err)
		}
	}
	r.flooded("vm", eth(frame.Broadcast, sta(1)), "a", "b")
	for name, src := range map[string]frame.MAC{
		"forged": sta(7), "another port's": sta(2), "blackholed": sta(3), "once learned": sta(9), "zero": {},
	} {
		before := r.drops("vm", frame.DropLocked)
		r.send("vm", eth(frame.Broadcast, src))
		if got := r.drops("vm", frame.DropLocked) - before; got != 1 {
			t.Errorf("%s source: counted %d times", name, got)
		}
	}
	r.expect(nil)
	r.flooded("a", eth(sta(7), sta(4)), "vm", "b") // nothing was learned,
	r.flooded("a", eth(sta(9), sta(4)), "vm", "b") // and what was is forgotten
	r.flooded("a", eth(sta(1), sta(4)), "vm")
	r.balanced()
}

func TestLockedPortIsLockedByVLAN(t *testing.T) {
	r := newRig(t, true, trunk("vm", 10, 20), trunk("a", 10, 20))
	if err := r.AddFDB(sta(1), 10, "vm"); err != nil {
		t.Fatal(err)
	}
	r.set("vm", func(p *config.Port) { p.Locked = true })
	f := tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 10))
	r.flooded("vm", f, "a")
	r.dropped("vm", tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 20)), frame.DropLocked)
}

func TestStationOfALockedPortCannotBeTakenOver(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "vm", Locked: true, Flood: new(false)}, config.Port{Name: "a"}, config.Port{Name: "b"})
	if err := r.AddFDB(sta(1), 0, "vm"); err != nil {
		t.Fatal(err)
	}
	r.flooded("a", eth(frame.Broadcast, sta(1)), "vm", "b")
	r.flooded("b", eth(sta(1), sta(2)), "vm")
	r.flooded("b", eth(sta(8), sta(2)), "a") // no unknown unicast to the VM
}
