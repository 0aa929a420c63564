package fdb

import "github.com/vswitchd/vswitchd/frame"

// feedLen is how many changes wait for a Watch that is behind: 256 KiB.
const feedLen = 1 << 14

// Cause says why an entry has changed.
type Cause uint8

// The causes.
const (
	CauseLearned Cause = iota // the station is new
	CauseMoved                // it was behind another port
	CauseAged                 // it was silent for the ageing time
	CauseEvicted              // it made room for another
	CauseFlushed              // by Flush, FlushPort or Forget
	CauseAdded                // a static entry or blackhole, whatever was there before
	CauseRemoved              // by Remove, or a static entry by Forget
	numCauses
)

// Gone reports whether the station has no entry after the change.
func (c Cause) Gone() bool { return c != CauseLearned && c != CauseMoved && c != CauseAdded }

// Change is one change of an entry. All changes of a table, in order, applied to
// an empty map make it equal to the table, expired and flushed entries that are
// not removed yet included. A refresh is no change.
type Change struct {
	Key   Key
	Port  frame.PortID // of the entry, or of the one that is gone; 0 for a blackhole
	From  frame.PortID // for CauseMoved, the port before
	Cause Cause
	Kind  Kind // of the entry, or of the one that is gone
}

// feed is the last changes. It is guarded by Table.mu.
type feed struct {
	ring    []Change // nil while nobody watches, so that recording costs a comparison
	next    uint64   // how many changes there were; each is at its number modulo feedLen
	readers int
}

// note counts a change and records it for those who watch. It needs t.mu.
func (t *Table) note(k Key, e Entry, from frame.PortID, why Cause) {
	t.causes[why]++
	f := &t.feed
	if f.ring == nil {
		return
	}
	f.ring[f.next%feedLen] = Change{Key: k, Port: e.Port(), From: from, Cause: why, Kind: e.kind()}
	f.next++
}

// Watch reads a table's changes. One goroutine at a time may use it.
type Watch struct {
	t  *Table
	at uint64 // the change to be read next
}

// Watch begins to watch the table. The table never waits for a Watch: it keeps
// the last 16,384 changes and forgets the older ones.
func (t *Table) Watch() *Watch {
	ring := make([]Change, feedLen) // not with the mutex, for which workers may wait
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.feed.readers++; t.feed.readers == 1 {
		t.feed.ring = ring
	}
	return &Watch{t: t, at: t.feed.next}
}

// Read copies the changes since the last Read, oldest first, as far as they fit.
// lost is how many were forgotten in front of them: to know the table again,
// list it. It does not wait.
func (w *Watch) Read(to []Change) (n int, lost uint64) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	f := &w.t.feed
	if behind := f.next - w.at; behind > feedLen {
		lost = behind - feedLen
		w.at += lost
	}
	for n < len(to) && w.at < f.next {
		to[n] = f.ring[w.at%feedLen]
		n++
		w.at++
	}
	return n, lost
}

// Close ends the watch. It must not be used any more.
func (w *Watch) Close() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	if w.t.feed.readers--; w.t.feed.readers == 0 {
		w.t.feed.ring = nil
	}
}
