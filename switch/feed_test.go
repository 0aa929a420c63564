package vswitch

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

func TestSlowReaderIsToldExactlyHowMuchItMissed(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	slow, other := r.Watch(EventFilter{}), r.Watch(EventFilter{Types: []EventType{TypeConfig}})
	for i := range feedLen + 7 {
		r.Publish(Event{Kind: ConfigApplied, Count: uint64(i)})
		if got, lost := all(t, other); len(got) != 1 || lost != 0 {
			t.Fatalf("a reader that keeps up reads %d and loses %d", len(got), lost)
		}
	}
	got, lost := all(t, slow)
	if lost != 7 || len(got) != feedLen || got[0].Count != 7 {
		t.Errorf("%d lost, %d read from %d on; want 7 and %d", lost, len(got), got[0].Count, feedLen)
	}
}

// TestChangesLostOnTheWayAreToldToEveryReader overflows the table's own feed,
// and the switch's.
func TestChangesLostOnTheWayAreToldToEveryReader(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	fast, slow := r.Watch(EventFilter{}), r.Watch(EventFilter{Types: []EventType{TypeFDB}})
	moves := 0
	learn := func(n int) {
		r.mu.Lock() // keeps fetch away
		defer r.mu.Unlock()
		for range n {
			moves++
			r.table.Learn(fdb.MakeKey(0, sta(1)), frame.PortID(moves%2), 0)
		}
	}
	learn(fdbFeedLen + 5)
	if got, lost := all(t, fast); lost != 5 || len(got) != fdbFeedLen {
		t.Errorf("%d lost, %d read; want 5, %d", lost, len(got), fdbFeedLen)
	}
	learn(100)
	if got, lost := all(t, fast); lost != 0 || len(got) != 100 {
		t.Errorf("then %d lost, %d read; want 0, 100", lost, len(got))
	}
	if got, lost := all(t, slow); lost != 105 || len(got) != fdbFeedLen {
		t.Errorf("%d lost by the slow one, %d read; want 105, %d", lost, len(got), fdbFeedLen)
	}
}

func TestFloodOfAddressesDisplacesNoOtherEvents(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	slow, ports := r.Watch(EventFilter{}), r.Watch(EventFilter{Types: []EventType{TypePort}})
	r.plug(config.Port{Name: "c"})
	for range 3 {
		r.mu.Lock()
		for i := range fdbFeedLen {
			r.table.Learn(fdb.MakeKey(0, sta(1)), frame.PortID(i%2), 0)
		}
		r.fetch()
		r.mu.Unlock()
	}
	for w, want := range map[*Watch]uint64{slow: 2 * fdbFeedLen, ports: 0} {
		got, lost := all(t, w)
		if !slices.ContainsFunc(got, func(e Event) bool { return e.line() == "port added c" }) || lost != want {
			t.Errorf("%d read, %d lost, want %d, none of them the port's", len(got), lost, want)
		}
	}
}

// TestReaderThatReadsNothingDisturbsNobody relays more new stations than any
// ring holds.
func TestReaderThatReadsNothingDisturbsNobody(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	w := r.Watch(EventFilter{})
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		for i := 0; i < 10_000; i += 100 {
			var frames [][]byte
			for j := range 100 {
				frames = append(frames, eth(frame.Broadcast, sta(i+j+1)))
			}
			r.send(names[0], frames...)
			if got := len(r.cables[names[1]].Taken()); got != 100 {
				t.Fatalf("%d of 100 frames relayed", got)
			}
		}
	}
	r.balanced()
	if got, lost := all(t, w); len(got) != fdbFeedLen || lost != 20_000-fdbFeedLen {
		t.Errorf("%d read and %d lost of 20000", len(got), lost)
	}
}

func TestCloseEndsEveryReaderOnceItHasReadAll(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	w, waiting := r.Watch(EventFilter{Types: []EventType{TypePort}}), r.Watch(EventFilter{Types: []EventType{TypeLink}})
	ended := make(chan error, 1)
	go func() {
		_, _, err := waiting.Read(context.Background(), make([]Event, 1))
		ended <- err
	}()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the waiting reader ends with %v", err)
	}
	if got := wait(t, w); !slices.Equal(lines(got), []string{"port removed a"}) {
		t.Errorf("%q", lines(got))
	}
	if _, _, err := w.Read(t.Context(), make([]Event, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
}

func TestNothingOfTheFDBIsKeptUnlessRead(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	ports := r.Watch(EventFilter{Types: []EventType{TypePort}})
	if r.changes != nil || r.feed.rings[1].events != nil {
		t.Error("a reader of other events makes the FDB record")
	}
	w := r.Watch(EventFilter{})
	r.send("a", eth(frame.Broadcast, sta(1)))
	w.Close()
	if r.changes != nil || r.feed.rings[1].events != nil {
		t.Error("the FDB records after its last reader")
	}
	r.send("a", eth(frame.Broadcast, sta(2)))
	w = r.Watch(EventFilter{})
	r.send("a", eth(frame.Broadcast, sta(3)))
	if got, lost := all(t, w); !slices.Equal(lines(got), []string{"fdb learned a 02:00:00:00:00:03 0"}) || lost != 0 {
		t.Errorf("a new reader is told %q, %d lost", lines(got), lost)
	}
	w.Close()
	ports.Close()
	if len(r.feed.readers) != 0 {
		t.Errorf("%d readers are left", len(r.feed.readers))
	}
}

// TestReadersComeAndGoWhileEventsHappen is for the race detector.
func TestReadersComeAndGoWhileEventsHappen(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	var reading sync.WaitGroup
	for range 3 {
		reading.Go(func() {
			for range 20 {
				w := r.Watch(EventFilter{})
				_ = wait(t, w)
				w.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() { reading.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			r.send([]string{"a", "b"}[i%2], eth(sta(9), sta(1)))
		}
	}
}
