package vswitch

import (
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

func uplink(name string) config.Port { return config.Port{Name: name, Role: config.RoleUplink} }

func TestUplinksDoNotReachEachOther(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"}, uplink("u"), uplink("v"))
	r.flooded("u", eth(frame.Broadcast, sta(1)), "a", "b")
	r.flooded("v", eth(frame.Broadcast, sta(2)), "a", "b")
	r.flooded("a", eth(frame.Broadcast, sta(3)), "b", "u", "v")
	r.flooded("u", eth(sta(9), sta(1)), "a", "b")
	r.dropped("u", eth(sta(2), sta(1)), frame.DropUplink)
	r.flooded("a", eth(sta(2), sta(3)), "v")
	r.set("v", func(p *config.Port) { p.Role = "" })
	r.flooded("u", eth(sta(2), sta(1)), "v")
	r.balanced()
}

func TestFloodReasonNamesUplinks(t *testing.T) {
	r := newRig(t, false, uplink("u"), uplink("v"), config.Port{Name: "a", BcastFlood: new(false)})
	r.dropped("u", eth(frame.Broadcast, sta(1)), frame.DropFloodOff)
	if err := r.Remove("a"); err != nil {
		t.Fatal(err)
	}
	delete(r.cables, "a")
	r.dropped("u", eth(frame.Broadcast, sta(1)), frame.DropUplink)
}

// uplinks are a switch with a host port, 0, and two uplinks, 1 and 2, whose time
// stands still.
func uplinks(t *testing.T) (w *worker, judge func(in int, src frame.MAC, now fdb.Tick) *Verdict) {
	t.Helper()
	w = bench(t, false, config.DefaultCapacity, config.Port{Name: "a"}, uplink("u"), uplink("v"))
	return w, func(in int, src frame.MAC, now fdb.Tick) *Verdict {
		f := frame.Frame{Bytes: eth(frame.Broadcast, src)}
		f.Parse()
		s := w.live.Load()
		decide(s, w.table, s.ports[in], &f, now, &w.verdict)
		return &w.verdict
	}
}

func TestFrameThatComesBackByAnUplinkIsDroppedAndTeachesNothing(t *testing.T) {
	w, judge := uplinks(t)
	w.table.Learn(fdb.MakeKey(0, sta(1)), 0, 100)
	for _, in := range []int{1, 2} {
		for _, now := range []fdb.Tick{100, 101} {
			if v := judge(in, sta(1), now); v.Reason != frame.DropLooped || v.Learn {
				t.Errorf("uplink %d, tick %d: %v, learn %t", in, now, v.Reason, v.Learn)
			}
		}
	}
	if v := judge(0, sta(1), 100); v.Reason != frame.Keep || !v.Learn {
		t.Errorf("from the station itself: %v", v.Reason)
	}
}

func TestStationThatIsSilentHereMayMoveBehindAnUplink(t *testing.T) {
	w, judge := uplinks(t)
	w.table.Learn(fdb.MakeKey(0, sta(1)), 0, 100)
	if v := judge(1, sta(1), 102); v.Reason != frame.Keep || !v.Learn {
		t.Errorf("%v, learn %t", v.Reason, v.Learn)
	}
}

func TestStationBehindAnUplinkMayMoveToAnother(t *testing.T) {
	w, judge := uplinks(t)
	w.table.Learn(fdb.MakeKey(0, sta(1)), 1, 100)
	if v := judge(2, sta(1), 100); v.Reason != frame.Keep || !v.Learn {
		t.Errorf("%v, learn %t", v.Reason, v.Learn)
	}
}

func TestStaticStationNeverComesFromAnUplink(t *testing.T) {
	w, judge := uplinks(t)
	for k, p := range map[fdb.Key]frame.PortID{fdb.MakeKey(0, sta(1)): 0, fdb.MakeKey(0, sta(2)): 2} {
		if err := w.table.Add(k, p, fdb.Static); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.table.Add(fdb.MakeKey(0, sta(3)), 0, fdb.Blackhole); err != nil {
		t.Fatal(err)
	}
	for n, want := range []frame.DropReason{1: frame.DropLooped, 2: frame.Keep, 3: frame.Keep} {
		if v := judge(1, sta(n), 5000); n > 0 && v.Reason != want {
			t.Errorf("station %d: %v, want %v", n, v.Reason, want)
		}
	}
}

func TestLearningUplinkIsNotTaughtByLoops(t *testing.T) {
	w, _ := uplinks(t)
	s := w.live.Load()
	in := *s.ports[1]
	in.state = config.StateLearning
	w.table.Learn(fdb.MakeKey(0, sta(1)), 0, 0)
	f := frame.Frame{Bytes: eth(frame.Broadcast, sta(1))}
	f.Parse()
	if decide(s, w.table, &in, &f, 0, &w.verdict); w.verdict.Learn {
		t.Error("the source would be learned")
	}
}
