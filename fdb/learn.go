package fdb

import "github.com/vswitchd/vswitchd/frame"

// Outcome is what Learn did.
type Outcome uint8

// The outcomes of Learn.
const (
	Refreshed Outcome = iota // the station was known there
	Learned                  // the station is new
	Moved                    // the station was behind another port
	Refused                  // a limit or want of room left things as they were
	Pinned                   // a static entry or blackhole stays as it is
)

// Learn notes that station k was heard at tick now at port p, which is below
// frame.MaxPorts.
//
// A station that is known behind another port moves to p, whatever the limit
// of the table, as the number of entries stays the same; but if p is at its
// own limit the station stays where it was, as under a limit no frame takes
// away what is known. A group address or zero is refused.
func (t *Table) Learn(k Key, p frame.PortID, now Tick) Outcome {
	for {
		s, e := t.find(k)
		switch {
		case e == 0:
			if !k.individual() || t.refuses(p) {
				return t.refuse(p)
			}
			return t.learn(k, p, now)
		case e.Static():
			return Pinned
		case t.expired(e, now):
			return t.learn(k, p, now)
		case e.Port() != p:
			if t.portFull(p) {
				return t.refuse(p)
			}
			return t.learn(k, p, now)
		case e.tick() == now:
			return Refreshed
		}
		if _, value := t.at(s); value.CompareAndSwap(uint64(e), uint64(e.withTick(now))) {
			return Refreshed
		}
	}
}

// learn is the part of Learn that changes more than a tick.
func (t *Table) learn(k Key, p frame.PortID, now Tick) Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()

	fresh := makeEntry(p, now, t.generation(p))
	s, e := t.clear(k, now)
	switch {
	case e == 0:
		return t.enter(k, fresh)
	case e.Static():
		return Pinned
	case e.Port() == p:
		// Another worker heard the station just before, also at p.
		return Refreshed
	case t.portFull(p):
		return t.refuse(p)
	}
	t.replace(s, e, fresh)
	t.note(k, fresh, e.Port(), CauseMoved)
	return Moved
}

// clear is locate, but removes an entry that is expired or flushed instead of
// returning it. It needs t.mu.
func (t *Table) clear(k Key, now Tick) (slot, Entry) {
	for {
		s, e := t.locate(k)
		var why Cause
		switch {
		case e == 0:
			return 0, 0
		case t.flushed(e):
			why = CauseFlushed
		case t.expired(e, now):
			why = CauseAged
		default:
			return s, e
		}
		if t.remove(s, e, why) {
			return 0, 0
		}
	}
}

// enter inserts a dynamic entry that is not in the table, if need be in place
// of another. It needs t.mu.
func (t *Table) enter(k Key, fresh Entry) Outcome {
	full := t.full()
	if full {
		t.findLargest()
	}
	s, ok := t.free(k)
	if !ok || t.refuses(fresh.Port()) || full && !t.evict() {
		return t.refuse(fresh.Port())
	}
	t.insert(s, k, fresh, CauseLearned)
	return Learned
}

// refuses reports whether port p may not learn another station. Without t.mu it
// is a guess that is right as long as nothing changes, and no refusal if the
// largest share is not known.
func (t *Table) refuses(p frame.PortID) bool {
	if t.portFull(p) {
		return true
	}
	if !t.full() {
		return false
	}
	if t.limit.Load() == 0 {
		return true
	}
	largest := t.largest.Load()
	return largest != unknown && t.portCounts[p].Load() >= t.portCounts[largest].Load()
}

// refuse counts a refusal. That is all, as an attacker causes one per frame.
func (t *Table) refuse(p frame.PortID) Outcome {
	t.refused[p].Add(1)
	return Refused
}

// full reports whether a dynamic entry more needs one less.
func (t *Table) full() bool {
	limit := t.limit.Load()
	return limit >= 0 && t.dynamic.Load() >= limit || t.atCapacity()
}

// atCapacity reports whether any entry more needs one less.
func (t *Table) atCapacity() bool {
	return t.dynamic.Load()+t.static.Load()+t.blackhole.Load() >= t.capacity
}

// portFull reports whether port p is at its own limit.
func (t *Table) portFull(p frame.PortID) bool {
	limit := t.portLimits[p].Load()
	return limit >= 0 && t.portCounts[p].Load() >= limit
}

// SetLimit sets how many dynamic entries the table may have: 0 learns nothing,
// a negative number is no limit but the capacity. Entries beyond a lowered
// limit stay until they go for another reason.
func (t *Table) SetLimit(n int) { t.limit.Store(int64(n)) }

// SetPortLimit sets how many dynamic entries port p may have, as SetLimit does
// for the table.
func (t *Table) SetPortLimit(p frame.PortID, n int) { t.portLimits[p].Store(int64(n)) }
