package vswitch

import (
	"context"
	"io"
	"slices"
	"sync"
)

const (
	// feedLen has room for each port of a full switch to come, go down and go.
	feedLen = 4096
	// fdbFeedLen has room for all that the table itself holds back.
	fdbFeedLen = 1 << 14
)

// feed holds the last events for any number of readers. It waits for none: who
// is late finds the oldest overwritten. Events of the FDB have a ring of their
// own, so that a flood of addresses displaces no others.
type feed struct {
	mu      sync.Mutex // held for a few events at a time
	rings   [2]ring    // see ringOf
	readers []*Watch
	closed  bool
}

// ring is some of the last events.
type ring struct {
	events []Event // nil if none are kept
	next   uint64  // the place of the next one, modulo the length
	number uint64  // its number; those lost on the way to the feed have one too
}

func ringOf(t EventType) int {
	if t == TypeFDB {
		return 1
	}
	return 0
}

// publish adds events of one ring, in front of which others were lost.
func (f *feed) publish(lost uint64, events ...Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.rings[ringOf(events[0].Kind.Type())]
	if r.events == nil {
		return
	}
	r.number += lost
	for _, e := range events {
		e.number = r.number
		r.events[r.next%uint64(len(r.events))] = e
		r.next++
		r.number++
	}
	f.wake()
}

// wake has the readers look. The caller holds mu.
func (f *feed) wake() {
	for _, w := range f.readers {
		select {
		case w.woken <- struct{}{}:
		default: // It is going to look anyway.
		}
	}
}

// keep has the ring of the FDB, which nobody reads, begin anew.
func (f *feed) keep(events []Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &f.rings[ringOf(TypeFDB)]
	r.events, r.next = events, 0
}

// close ends every Watch once it has read what there is.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

// EventFilter selects events: those that match each field that is set.
type EventFilter struct {
	Types []EventType
	// Port also selects the stations that move away from it.
	Port string
}

func (f *EventFilter) has(t EventType) bool { return len(f.Types) == 0 || slices.Contains(f.Types, t) }

func (f *EventFilter) matches(e *Event) bool {
	return f.has(e.Kind.Type()) && (f.Port == "" || e.Port == f.Port || e.Kind == FDBMoved && e.From == f.Port)
}

// Watch reads the events of a switch. One goroutine at a time may use it.
type Watch struct {
	s      *Switch
	filter EventFilter
	reads  [2]bool // by ring: whether the filter selects any of it
	cursor [2]cursor
	woken  chan struct{}
}

// cursor is a place in a ring and the number of the event expected there.
type cursor struct{ next, number uint64 }

// Read waits until there are events and copies them, oldest first, as far as
// they fit. lost is how many, of all types that the filter selects and of any
// port, were overwritten in front of them; that alone is reason to return too.
// The error is io.EOF when the switch is closed and all was read, or ctx's.
func (w *Watch) Read(ctx context.Context, to []Event) (n int, lost uint64, err error) {
	for ctx.Err() == nil {
		if n, lost, err = w.take(to); n > 0 || lost > 0 || err != nil {
			return n, lost, err
		}
		select {
		case <-ctx.Done():
		case <-w.woken:
		}
	}
	return 0, 0, ctx.Err()
}

func (w *Watch) take(to []Event) (n int, lost uint64, err error) {
	f := &w.s.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for n < len(to) {
		r := w.oldest()
		if r < 0 {
			break
		}
		c := &w.cursor[r]
		e := &f.rings[r].events[c.next%uint64(len(f.rings[r].events))]
		if e.number != c.number {
			if n > 0 {
				break // What comes first is told first.
			}
			lost += e.number - c.number
		}
		*c = cursor{c.next + 1, e.number + 1}
		if w.filter.matches(e) {
			to[n] = *e
			n++
		}
	}
	if f.closed && n == 0 && lost == 0 {
		err = io.EOF
	}
	return n, lost, err
}

// oldest returns the ring whose next event is the oldest unread one, or -1 if
// all are read, after it has moved cursors that were overtaken.
func (w *Watch) oldest() int {
	oldest, rings := -1, &w.s.feed.rings
	var at *Event
	for i := range rings {
		r, c := &rings[i], &w.cursor[i]
		if !w.reads[i] || c.next == r.next {
			continue
		}
		size := uint64(len(r.events))
		c.next = max(c.next, r.next-min(r.next, size))
		if e := &r.events[c.next%size]; at == nil || e.Time.Before(at.Time) {
			oldest, at = i, e
		}
	}
	return oldest
}
