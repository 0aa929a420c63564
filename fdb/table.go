package fdb

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	// slotsPerBucket is how many keys with their values share two 64-byte cache
	// lines with the bucket's sequence number.
	slotsPerBucket = 7

	// preferred is up to how many keys a key's first bucket is chosen without
	// a look at the second. More makes lookups a little cheaper and full pairs
	// of buckets ten times as frequent.
	preferred = 4
)

// bucket is two cache lines, of which the first has the sequence number, four keys
// and the values of three: in a table with room to spare nearly all that is taken. It
// holds no pointer, and Go aligns such memory to the power of two that its size is a
// multiple of.
type bucket struct {
	sequence atomic.Uint64 // counts insertions
	cells    [slotsPerBucket]cell
	_        uint64
}

// cell is a key with its value.
type cell struct{ key, value atomic.Uint64 }

// slot is the place of an entry: the bucket's index times slotsPerBucket plus
// the index in the bucket.
type slot uint32

// Table is a forwarding database. Make one with New. See the package comment
// for what concurrent callers can rely on.
type Table struct {
	// Written by New only.
	buckets  []bucket
	seed     [4]uint64
	capacity int64

	// Seldom written.
	ageing      atomic.Uint32 // in ticks, 0 is never
	limit       atomic.Int64  // of dynamic entries; negative is none
	generations [frame.MaxPorts]atomic.Uint32
	portLimits  [frame.MaxPorts]atomic.Int64 // negative is none

	_ [64]byte // keeps the counts out of the cache line above

	flushing sync.Mutex // held throughout FlushPort, before mu
	clocking sync.Mutex // held throughout Age and SetAgeing, before mu
	mu       sync.Mutex // for changes of keys and of all that follows

	// links are two-way rings of the dynamic entries of each port by slot,
	// newest first. Behind the slots there is one more link for each port: the
	// ring's beginning and end.
	links []link

	portCounts [frame.MaxPorts]atomic.Int64 // of dynamic entries
	ports      int                          // 1 more than the highest port that has had one
	dynamic    atomic.Int64
	static     atomic.Int64
	blackhole  atomic.Int64

	// largest is a port with the most dynamic entries, or unknown.
	largest atomic.Int32

	causes [numCauses]uint64 // how many changes each has made
	feed   feed

	refused [frame.MaxPorts]atomic.Uint64 // Learn calls; counted without mu
}

// link is a dynamic entry's place among those of its port.
type link struct{ newer, older slot }

// unknown as Table.largest means that it has to be looked for.
const unknown = -1

// New makes a table for at most capacity entries, static and dynamic together,
// from 0 to 2^28. It begins without limits and without ageing. It takes 53 to
// 105 bytes per entry and 36 KiB, and 256 KiB more while it is watched.
func New(capacity int) *Table {
	// At most half of the slots are taken, and a key has two buckets.
	atLeast := max((2*capacity+slotsPerBucket-1)/slotsPerBucket, 2)
	n := 1 << bits.Len(uint(atLeast-1))
	t := &Table{
		buckets:  make([]bucket, n),
		links:    make([]link, n*slotsPerBucket+frame.MaxPorts),
		capacity: int64(capacity),
	}
	var random [len(t.seed) * 8]byte
	rand.Read(random[:])
	for i := range t.seed {
		t.seed[i] = binary.LittleEndian.Uint64(random[i*8:])
	}
	t.seed[1] |= 1 // as multipliers 0 would map every key to one bucket, and even numbers waste bits
	t.seed[3] |= 1
	t.limit.Store(-1)
	t.largest.Store(unknown)
	for p := range frame.MaxPorts {
		t.generations[p].Store(1)
		t.portLimits[p].Store(-1)
		ring := t.ring(frame.PortID(p))
		t.links[ring] = link{ring, ring}
	}
	return t
}

// hash returns the indices of the two buckets, never the same, in which a key
// can be. With one multiplication instead of two, keys that differ in a few
// bits only, such as consecutive addresses, fill some buckets unduly with one
// seed in a hundred.
func (t *Table) hash(k Key) (first, second uint64) {
	hi, lo := bits.Mul64(uint64(k)^t.seed[0], t.seed[1])
	hi, lo = bits.Mul64(hi^lo^t.seed[2], t.seed[3])
	mask := uint64(len(t.buckets) - 1)
	first = (hi ^ lo) & mask
	second = (hi ^ lo) >> 32 & mask
	if second == first {
		second ^= 1
	}
	return first, second
}

// find returns the entry of a key and its slot, or 0. What was flushed is not
// found, what has expired is.
func (t *Table) find(k Key) (slot, Entry) {
	if k == 0 {
		// A free slot's key is 0 while an insertion stores its value.
		return 0, 0
	}
	first, second := t.hash(k)
	if s, e := t.findIn(first, k); e != 0 {
		return s, e
	}
	return t.findIn(second, k)
}

// findIn is find in one bucket.
func (t *Table) findIn(index uint64, k Key) (slot, Entry) {
	b := &t.buckets[index]
	for {
		sequence := b.sequence.Load()
		i := b.search(k)
		if i < 0 {
			return 0, 0
		}
		c := &b.cells[i]
		e := Entry(c.value.Load())
		if b.sequence.Load() != sequence {
			continue
		}
		if !t.flushed(e) {
			return slot(index)*slotsPerBucket + slot(i), e
		}
		// The station may have moved to another port before its old one was
		// flushed. It was absent only if it is still where it was.
		if Entry(c.value.Load()) == e {
			return 0, 0
		}
	}
}

// search returns the index of a key in the bucket, or -1. The compiler makes
// conditional moves of the comparisons within a cache line, which cost half the
// time of a loop: its branches are as hard to predict as the hash.
func (b *bucket) search(k Key) int {
	i := -1
	if b.cells[0].key.Load() == uint64(k) {
		i = 0
	}
	if b.cells[1].key.Load() == uint64(k) {
		i = 1
	}
	if b.cells[2].key.Load() == uint64(k) {
		i = 2
	}
	if b.cells[3].key.Load() == uint64(k) {
		i = 3
	}
	if i >= 0 {
		return i
	}
	if b.cells[4].key.Load() == uint64(k) {
		i = 4
	}
	if b.cells[5].key.Load() == uint64(k) {
		i = 5
	}
	if b.cells[6].key.Load() == uint64(k) {
		i = 6
	}
	return i
}

// Touch reads what Lookup and Learn of k read first, and does nothing with it: asked
// for many keys in a row, the processor waits for their cache lines all at once.
func (t *Table) Touch(k Key) {
	first, _ := t.hash(k)
	b := &t.buckets[first]
	b.sequence.Load()
	b.cells[slotsPerBucket-1].value.Load()
}

// Large reports whether there are so many dynamic entries that the processor's own
// cache (some 512 KiB) does not hold what Touch reads, so that Touch pays.
func (t *Table) Large() bool { return t.dynamic.Load() > 4096 }

// Lookup returns the entry of a station, if it has one that is neither expired
// nor flushed. now is the caller's present tick.
func (t *Table) Lookup(k Key, now Tick) (Entry, bool) {
	_, e := t.find(k)
	if e == 0 || t.expired(e, now) {
		return 0, false
	}
	return e, true
}

// flushed reports whether an entry, which may be 0, is of a past generation.
func (t *Table) flushed(e Entry) bool {
	return !e.Static() && e != 0 && e.generation() != t.generation(e.Port())
}

// expired reports whether an entry was last heard more than the ageing time
// ago.
func (t *Table) expired(e Entry, now Tick) bool {
	ageing := Tick(t.ageing.Load())
	return ageing != 0 && !e.Static() && now.since(e.tick()) > ageing
}

func (t *Table) generation(p frame.PortID) generation {
	return generation(t.generations[p].Load())
}

// at returns the words of a slot.
func (t *Table) at(s slot) (key, value *atomic.Uint64) {
	b := &t.buckets[s/slotsPerBucket]
	c := &b.cells[s%slotsPerBucket]
	return &c.key, &c.value
}

// read returns the key and the entry of a slot, or 0.
func (t *Table) read(s slot) (Key, Entry) {
	b := &t.buckets[s/slotsPerBucket]
	key, value := t.at(s)
	for {
		sequence := b.sequence.Load()
		k, e := Key(key.Load()), Entry(value.Load())
		if k == 0 {
			return 0, 0
		}
		if b.sequence.Load() == sequence {
			return k, e
		}
	}
}

// slots returns how many slots there are.
func (t *Table) slots() slot { return slot(len(t.buckets) * slotsPerBucket) }
