package fdb

import (
	"sync/atomic"

	"github.com/vswitchd/vswitchd/frame"
)

// Everything in this file needs Table.mu held. Keys then do not change, and
// values only by the refresh of a dynamic entry.

// locate returns the slot and the entry of a key, expired and flushed ones
// too, or 0.
func (t *Table) locate(k Key) (slot, Entry) {
	first, second := t.hash(k)
	for _, index := range [2]uint64{first, second} {
		b := &t.buckets[index]
		if i := b.search(k); i >= 0 {
			return slot(index)*slotsPerBucket + slot(i), Entry(b.cells[i].value.Load())
		}
	}
	return 0, 0
}

// free returns a slot for a key that is not in the table: in its first bucket
// as long as that has room to spare, else in the less loaded of the two. It
// reports false if both are full.
func (t *Table) free(k Key) (slot, bool) {
	first, second := t.hash(k)
	s, load := t.freeIn(first)
	if load >= preferred {
		if other, otherLoad := t.freeIn(second); otherLoad < load {
			s, load = other, otherLoad
		}
	}
	return s, load < slotsPerBucket
}

// freeIn returns the first free slot of a bucket, if there is one, and how many of its
// slots are taken.
func (t *Table) freeIn(index uint64) (s slot, load int) {
	b := &t.buckets[index]
	for i := slotsPerBucket - 1; i >= 0; i-- {
		if b.cells[i].key.Load() != 0 {
			load++
			continue
		}
		s = slot(index)*slotsPerBucket + slot(i)
	}
	return s, load
}

// insert puts an entry into a free slot. The order of the stores is what
// readers rely on: see the package comment.
func (t *Table) insert(s slot, k Key, e Entry, why Cause) {
	t.buckets[s/slotsPerBucket].sequence.Add(1)
	key, value := t.at(s)
	value.Store(uint64(e))
	key.Store(uint64(k))
	t.count(s, e)
	t.note(k, e, 0, why)
}

// remove empties a slot if its entry is e, which it reports. It fails if the
// station was heard since e was read.
func (t *Table) remove(s slot, e Entry, why Cause) bool {
	key, value := t.at(s)
	if !value.CompareAndSwap(uint64(e), 0) {
		return false
	}
	k := Key(key.Load())
	key.Store(0)
	t.discount(s, e)
	t.note(k, e, 0, why)
	return true
}

// replace puts an entry in place of the key's present one. A refresh at the
// same time is lost.
func (t *Table) replace(s slot, old, e Entry) {
	_, value := t.at(s)
	value.Store(uint64(e))
	t.discount(s, old)
	t.count(s, e)
}

// removeIf empties a slot if its entry is of key k and doomed, which it
// reports.
func (t *Table) removeIf(s slot, k Key, doomed func(Key, Entry) bool, why Cause) bool {
	key, value := t.at(s)
	for Key(key.Load()) == k {
		e := Entry(value.Load())
		if !doomed(k, e) {
			return false
		}
		if t.remove(s, e, why) {
			return true
		}
	}
	return false
}

// ring returns the link that begins and ends the ring of a port.
func (t *Table) ring(p frame.PortID) slot { return t.slots() + slot(p) }

// count adds an entry to the counts and, if dynamic, links it as the newest of
// its port.
func (t *Table) count(s slot, e Entry) {
	if e.Static() {
		t.added(e).Add(1)
		return
	}
	p := e.Port()
	ring := t.ring(p)
	newest := t.links[ring].older
	t.links[s] = link{newer: ring, older: newest}
	t.links[newest].newer = s
	t.links[ring].older = s

	t.ports = max(t.ports, int(p)+1)
	t.dynamic.Add(1)
	share := t.portCounts[p].Add(1)
	if largest := t.largest.Load(); largest != unknown && share > t.portCounts[largest].Load() {
		t.largest.Store(int32(p))
	}
}

// discount undoes count.
func (t *Table) discount(s slot, e Entry) {
	if e.Static() {
		t.added(e).Add(-1)
		return
	}
	l := t.links[s]
	t.links[l.newer].older = l.older
	t.links[l.older].newer = l.newer

	p := e.Port()
	t.dynamic.Add(-1)
	t.portCounts[p].Add(-1)
	if t.largest.Load() == int32(p) {
		t.largest.Store(unknown)
	}
}

// added returns the count to which a static entry or blackhole belongs.
func (t *Table) added(e Entry) *atomic.Int64 {
	if e.Blackhole() {
		return &t.blackhole
	}
	return &t.static
}

// findLargest makes t.largest known. Ties go to any of the ports.
func (t *Table) findLargest() {
	if t.largest.Load() != unknown {
		return
	}
	largest, most := 0, int64(0)
	for p := range t.ports {
		if n := t.portCounts[p].Load(); n > most {
			largest, most = p, n
		}
	}
	t.largest.Store(int32(largest))
}

// evict removes the newest dynamic entry of the port with the largest share.
// It reports false if there is no dynamic entry.
func (t *Table) evict() bool {
	t.findLargest()
	ring := t.ring(frame.PortID(t.largest.Load()))
	s := t.links[ring].older
	if s == ring {
		return false
	}
	_, value := t.at(s)
	for !t.remove(s, Entry(value.Load()), CauseEvicted) {
	}
	return true
}
