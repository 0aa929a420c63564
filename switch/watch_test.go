package vswitch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// all reads what there is.
func all(t testing.TB, w *Watch) (events []Event, lost uint64) {
	t.Helper()
	w.s.mu.Lock()
	w.s.fetch()
	w.s.mu.Unlock()
	buf := make([]Event, 100)
	for {
		n, missed, err := w.take(buf)
		events, lost = append(events, buf[:n]...), lost+missed
		if n == 0 && missed == 0 || err != nil {
			return events, lost
		}
	}
}

func (e Event) line() string {
	s := fmt.Sprintf("%v %v", e.Kind.Type(), e.Kind)
	for _, word := range []string{e.Port, e.From, e.To} {
		if word != "" {
			s += " " + word
		}
	}
	if e.Kind.Type() == TypeFDB && e.Kind != FDBRefused {
		s += fmt.Sprintf(" %v %d", e.MAC, e.VID)
	}
	if e.Count != 0 {
		s += fmt.Sprintf(" %d", e.Count)
	}
	return s
}

func lines(events []Event) (l []string) {
	for _, e := range events {
		l = append(l, e.line())
	}
	return l
}

func TestEachEventIsToldInOrderAndByName(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	w := r.Watch(EventFilter{})
	defer w.Close()
	learns := func(in string, n int) { r.send(in, eth(frame.Broadcast, sta(n))) }
	for _, step := range []struct {
		do   func()
		want []string
	}{
		{func() { r.plug(access("c", 10)) }, []string{"port added c"}},
		{func() { learns("a", 1) }, []string{"fdb learned a 02:00:00:00:00:01 10"}},
		{func() { learns("a", 1) }, nil},
		{func() { learns("c", 1) }, []string{"fdb moved c a 02:00:00:00:00:01 10"}},
		{func() { r.set("a", func(p *config.Port) { p.Limit = new(0) }) }, []string{"port changed a"}},
		{func() { r.set("a", func(p *config.Port) { p.Limit = new(0) }) }, nil},
		{func() { learns("a", 2); learns("a", 3); r.tellCounted(); r.tellCounted() }, []string{"fdb refused a 2"}},
		{func() { _ = r.AddFDB(sta(4), 10, "b") }, []string{"fdb added b 02:00:00:00:00:04 10"}},
		{func() { _ = r.AddFDB(sta(4), 10, "") }, []string{"fdb added 02:00:00:00:00:04 10"}},
		{func() { _ = r.RemoveFDB(sta(4), 10) }, []string{"fdb removed 02:00:00:00:00:04 10"}},
		{
			func() { learns("b", 5); _, _ = r.FlushFDB(FDBFilter{Port: "b"}) },
			[]string{"fdb learned b 02:00:00:00:00:05 10", "fdb flushed b 02:00:00:00:00:05 10"},
		},
		{func() { _ = r.SetFDB(FDBSettings{Limit: new(2)}) }, []string{"config fdb"}},
		{func() { learns("c", 7) }, []string{"fdb learned c 02:00:00:00:00:07 10"}},
		{func() { learns("b", 6) }, []string{"fdb evicted c 02:00:00:00:00:07 10", "fdb learned b 02:00:00:00:00:06 10"}},
		{func() { _, _ = r.FlushFDB(FDBFilter{Port: "b"}) }, []string{"fdb flushed b 02:00:00:00:00:06 10"}},
		{func() { r.table.Age(fdb.Tick(r.tick.Load()) + config.DefaultAgeing + 1) }, []string{"fdb aged c 02:00:00:00:00:01 10"}},
		{
			func() { r.setLink("c", port.Link{Ifname: "x", NSID: 3, MTU: 1400, Up: true}) },
			[]string{"link moved c 0 3", "link renamed c x", "link mtu c 1500 1400"},
		},
		{
			func() { learns("c", 1); r.setLink("c", port.Link{Ifname: "x", NSID: 3, MTU: 1400}) },
			[]string{"fdb learned c 02:00:00:00:00:01 10", "fdb flushed c 02:00:00:00:00:01 10", "link down c"},
		},
		{func() { r.setLink("c", port.Link{Ifname: "x", NSID: port.OwnNSID, MTU: 1400, Up: true}) }, []string{"link moved c 3 own", "link up c"}},
		{
			func() { learns("c", 1); _ = r.AddFDB(sta(8), 10, "c"); _ = r.Remove("c"); delete(r.cables, "c") },
			[]string{
				"fdb learned c 02:00:00:00:00:01 10", "fdb added c 02:00:00:00:00:08 10",
				"fdb flushed c 02:00:00:00:00:01 10", "fdb removed c 02:00:00:00:00:08 10", "port removed c",
			},
		},
		{func() { r.plug(access("d", 10)); learns("d", 9) }, []string{"port added d", "fdb learned d 02:00:00:00:00:09 10"}},
		{
			func() { learns("a", 10); _ = r.Remove("a"); delete(r.cables, "a") },
			[]string{"fdb refused a 1", "port removed a"},
		},
		{func() { r.Publish(Event{Kind: ConfigApplied, Count: 3}) }, []string{"config applied 3"}},
	} {
		step.do()
		got, lost := all(t, w)
		for i := len(got) - 1; i > 0; i-- { // The clock may have told of the first ones.
			if got[i].Kind == FDBRefused && got[i-1].Kind == FDBRefused {
				got[i-1].Count += got[i].Count
				got = slices.Delete(got, i, i+1)
			}
		}
		if !slices.Equal(lines(got), step.want) || lost != 0 {
			t.Errorf("events %q, %d lost; want %q", lines(got), lost, step.want)
		}
		for i, e := range got {
			if e.Time.IsZero() || i > 0 && e.Time.Before(got[i-1].Time) {
				t.Errorf("event %d has time %v", i, e.Time)
			}
		}
	}
}

func TestDeviceThatGoesAwayIsToldOf(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	w := r.Watch(EventFilter{Types: []EventType{TypePort}})
	r.cables["a"].Break()
	var got []Event
	for len(got) < 2 {
		got = append(got, wait(t, w)...)
	}
	if want := []string{"port gone a", "port removed a"}; !slices.Equal(lines(got), want) || !errors.Is(got[0].Err, port.ErrGone) {
		t.Errorf("events %q (%v), want %q", lines(got), got[0].Err, want)
	}
}

// wait reads what there is, or waits for it.
func wait(t testing.TB, w *Watch) []Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	buf := make([]Event, 100)
	n, lost, err := w.Read(ctx, buf)
	if err != nil || lost != 0 {
		t.Fatalf("%d lost, %v", lost, err)
	}
	return buf[:n]
}

func TestFilterSelectsTypesAndPort(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	filters := map[string]EventFilter{
		"link":         {Types: []EventType{TypeLink}},
		"link, config": {Types: []EventType{TypeLink, TypeConfig}},
		"a":            {Port: "a"},
		"fdb of b":     {Types: []EventType{TypeFDB}, Port: "b"},
	}
	watches := map[string]*Watch{}
	for name, f := range filters {
		watches[name] = r.Watch(f)
	}
	r.send("a", eth(frame.Broadcast, sta(1)))
	r.send("b", eth(frame.Broadcast, sta(1)))
	r.setLink("a", port.Link{MTU: 1500})
	r.Publish(Event{Kind: ConfigSaved})
	for name, want := range map[string][]string{
		"link":         {"link down a"},
		"link, config": {"link down a", "config saved"},
		"a":            {"fdb learned a 02:00:00:00:00:01 0", "fdb moved b a 02:00:00:00:00:01 0", "link down a"},
		"fdb of b":     {"fdb moved b a 02:00:00:00:00:01 0"},
	} {
		if got, _ := all(t, watches[name]); !slices.Equal(lines(got), want) {
			t.Errorf("%s: %q, want %q", name, lines(got), want)
		}
	}
}

func TestReplayOfEventsEqualsTheFDB(t *testing.T) {
	r := newRig(t, true, trunk("a", 10, 20), trunk("b", 10, 20), trunk("c", 10, 20))
	if err := r.SetFDB(FDBSettings{Limit: new(15)}); err != nil {
		t.Fatal(err)
	}
	w := r.Watch(EventFilter{Types: []EventType{TypeFDB}})
	replayed := map[string]string{}
	names := []string{"a", "b", "c"}
	for range 300 {
		name, mac, vid := names[rand.N(3)], sta(rand.N(30)+1), frame.VID(10+10*rand.N(2))
		switch rand.N(12) {
		case 0:
			_, _ = r.FlushFDB(FDBFilter{Port: name})
		case 1:
			_, _ = r.FlushFDB(FDBFilter{VID: &vid})
		case 2:
			_ = r.AddFDB(mac, vid, name)
		case 3:
			_ = r.AddFDB(mac, vid, "")
		case 4:
			_ = r.RemoveFDB(mac, vid)
		case 5:
			_ = r.Remove(name)
			r.plug(trunk(name, 10, 20))
		default:
			r.send(name, tagged(eth(frame.Broadcast, mac), ctag(0, false, vid)))
		}
		events, lost := all(t, w)
		if lost != 0 {
			t.Fatalf("%d lost", lost)
		}
		for _, e := range events {
			key := fmt.Sprint(e.MAC, e.VID)
			switch e.Kind {
			case FDBRefused:
			case FDBLearned, FDBMoved, FDBAdded:
				replayed[key] = fmt.Sprint(e.Port, e.Entry)
			default:
				if replayed[key] != fmt.Sprint(e.Port, e.Entry) {
					t.Errorf("%s, which was %q", e.line(), replayed[key])
				}
				delete(replayed, key)
			}
		}
		entries, err := r.FDB(FDBFilter{})
		if err != nil || len(entries) != len(replayed) {
			t.Fatalf("%d entries, %v; the events make %d", len(entries), err, len(replayed))
		}
		for _, e := range entries {
			if got := replayed[fmt.Sprint(e.MAC, e.VID)]; got != fmt.Sprint(e.Port, e.Kind) {
				t.Fatalf("%+v is %q by the events", e, got)
			}
		}
	}
}

func TestEveryKindOfEventIsNamedAndDescribed(t *testing.T) {
	seen := map[string]bool{}
	for k := range NumEventKinds {
		name := k.Type().String() + " " + k.String()
		if k.String() == "" || seen[name] || !strings.HasSuffix(k.Text(), ".") {
			t.Errorf("kind %d is %q: %q", k, name, k.Text())
		}
		seen[name] = true
	}
}
