package fdb

import (
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	// flushChunk is how many entries FlushPort removes before it lets others have
	// the mutex: some ten microseconds' worth.
	flushChunk = 256
	// walkChunk is how many slots are looked at in a row, of which one that is
	// emptied counts as removalCost: half a millisecond's worth.
	walkChunk   = 1 << 17
	removalCost = 64
	// walkRest is longer than the runtime takes to look who else is ready.
	walkRest = 50 * time.Microsecond
)

// walk is the slots that were looked at without a rest. Where the process runs on
// one CPU, whoever waits for a frame has it only if this goroutine sleeps: the
// runtime does not ask the kernel for those while anybody else is ready.
type walk int

// goOn counts slots, and rests if there were many.
func (w *walk) goOn(slots int) {
	if *w += walk(slots); *w >= walkChunk {
		*w = 0
		time.Sleep(walkRest)
	}
}

// SetAgeing sets the ageing time to a number of ticks, 0 for never, MaxAgeing
// at the most. now is the present tick. Entries keep their age: those that are
// too old for the new time are absent at once, and those that had expired by
// the old one are removed first.
//
// If the unit of the ticks changes as well, rescale turns an age in the old
// unit into one in the new; else it is nil. The tick itself goes on from now.
func (t *Table) SetAgeing(ageing, now Tick, rescale func(age Tick) Tick) {
	t.clocking.Lock()
	defer t.clocking.Unlock()
	t.age(now)
	if rescale != nil {
		t.ageing.Store(0) // nothing may expire while ages of two units are about
		t.retick(func(e Entry) (Tick, bool) { return now - min(rescale(now.since(e.tick())), MaxAgeing), true })
	}
	t.ageing.Store(uint32(min(ageing, MaxAgeing)))
}

// Age removes the entries that are expired at tick now and returns how many.
// Call it at least once in 4,096 ticks, also if nothing ages, or the age of
// silent entries is lost. It holds the mutex for one entry at a time.
func (t *Table) Age(now Tick) (removed int) {
	t.clocking.Lock()
	defer t.clocking.Unlock()
	return t.age(now)
}

// age is Age with t.clocking held.
func (t *Table) age(now Tick) (removed int) {
	if t.ageing.Load() == 0 {
		t.retick(func(e Entry) (Tick, bool) {
			return now - MaxAgeing, now.since(e.tick()) > MaxAgeing
		})
		return 0
	}
	return t.sweep(func(_ Key, e Entry) bool { return t.expired(e, now) }, CauseAged)
}

// retick gives each dynamic entry the tick that f wants for it, if any.
func (t *Table) retick(f func(Entry) (Tick, bool)) {
	var w walk
	for s := range t.slots() {
		w.goOn(1)
		_, value := t.at(s)
		for {
			e := Entry(value.Load())
			if e == 0 || e.Static() {
				break
			}
			tick, ok := f(e)
			if !ok || value.CompareAndSwap(uint64(e), uint64(e.withTick(tick))) {
				break
			}
		}
	}
}

// FlushPort removes the dynamic entries of port p and returns how many. They
// are absent before the first of them is removed.
func (t *Table) FlushPort(p frame.PortID) (removed int) {
	t.flushing.Lock()
	defer t.flushing.Unlock()

	t.mu.Lock()
	t.generations[p].Store(uint32(t.generation(p).next()))
	t.mu.Unlock()
	var w walk
	for {
		n := t.collect(p)
		w.goOn(n * removalCost)
		removed += n
		if n < flushChunk {
			return removed
		}
	}
}

// collect removes up to flushChunk entries of past generations of port p. As a
// generation begins with t.mu held, they are the oldest of the port.
func (t *Table) collect(p frame.PortID) (removed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ring := t.ring(p)
	for removed < flushChunk {
		s := t.links[ring].newer
		if s == ring {
			break
		}
		_, value := t.at(s)
		e := Entry(value.Load())
		if !t.flushed(e) {
			break
		}
		if t.remove(s, e, CauseFlushed) {
			removed++
		}
	}
	return removed
}

// Flush removes the dynamic entries for which match returns true and returns
// how many. Those that are there from the beginning are asked about, those that
// are learned meanwhile may be. The Age of the Record is not set. match may be
// called twice for an entry; it must be quick and must not use the table.
func (t *Table) Flush(match func(Record) bool) (removed int) {
	return t.sweep(func(k Key, e Entry) bool {
		return !e.Static() && match(e.record(k, e.tick()))
	}, CauseFlushed)
}

// sweep removes the entries that are doomed and returns how many. It looks
// without the mutex, and takes it for each entry that it removes.
func (t *Table) sweep(doomed func(Key, Entry) bool, why Cause) (removed int) {
	var w walk
	for s := range t.slots() {
		w.goOn(1)
		k, e := t.read(s)
		if e == 0 || !doomed(k, e) {
			continue
		}
		t.mu.Lock()
		if t.removeIf(s, k, doomed, why) {
			removed++
		}
		t.mu.Unlock()
		w.goOn(removalCost)
	}
	return removed
}
