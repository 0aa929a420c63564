package fdb

import (
	"iter"

	"github.com/vswitchd/vswitchd/frame"
)

// Get returns the entry of a station as a Record, if it has one at tick now.
func (t *Table) Get(k Key, now Tick) (Record, bool) {
	e, ok := t.Lookup(k, now)
	if !ok {
		return Record{}, false
	}
	return e.record(k, now), true
}

// All lists the entries that are neither expired at tick now nor flushed, in no
// order. What is there throughout is listed once; what comes, goes or comes
// back while the listing runs may be listed or not.
func (t *Table) All(now Tick) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for s := range t.slots() {
			k, e := t.read(s)
			if e == 0 || t.flushed(e) || t.expired(e, now) {
				continue
			}
			if !yield(e.record(k, now)) {
				return
			}
		}
	}
}

// Stats is the state of a table's counters. Entries that are expired or flushed
// count until they are removed.
type Stats struct {
	Learned uint64 // stations that were new
	Moved   uint64 // stations that were behind another port
	Aged    uint64 // entries removed as their station was silent
	Evicted uint64 // entries that made room for another
	Refused uint64 // Learn calls with the outcome Refused
	Flushed uint64 // dynamic entries removed by Flush, FlushPort and Forget

	Dynamic   int // present dynamic entries
	Static    int // present static entries, blackholes not counted
	Blackhole int // present blackholes
	Capacity  int // most entries of all kinds
	Limit     int // most dynamic entries; negative: only limited by Capacity
}

// Stats returns the counters. All but Refused are of one moment.
func (t *Table) Stats() Stats {
	var refused uint64
	for p := range t.refused {
		refused += t.refused[p].Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return Stats{
		Learned:   t.causes[CauseLearned],
		Moved:     t.causes[CauseMoved],
		Aged:      t.causes[CauseAged],
		Evicted:   t.causes[CauseEvicted],
		Refused:   refused,
		Flushed:   t.causes[CauseFlushed],
		Dynamic:   int(t.dynamic.Load()),
		Static:    int(t.static.Load()),
		Blackhole: int(t.blackhole.Load()),
		Capacity:  int(t.capacity),
		Limit:     int(t.limit.Load()),
	}
}

// Refused returns how many Learn calls for port p had the outcome Refused. The
// count goes on when a PortID is given to another port.
func (t *Table) Refused(p frame.PortID) uint64 { return t.refused[p].Load() }

// PortCount returns how many dynamic entries port p has, counted as in Stats.
func (t *Table) PortCount(p frame.PortID) int { return int(t.portCounts[p].Load()) }
