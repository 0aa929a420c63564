package fdb

import (
	"errors"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

func TestPortWithLargestShareIsRefused(t *testing.T) {
	table := New(8)
	for n := range 5 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	for n := 5; n < 8; n++ {
		learns(t, table, station(n), 2, 0, Learned)
	}
	learns(t, table, station(8), 1, 0, Refused)
	// Port 2 takes the newest of port 1, then shares the lead with it.
	learns(t, table, station(9), 2, 0, Learned)
	misses(t, table, station(4), 0)
	learns(t, table, station(10), 2, 0, Refused)
	learns(t, table, station(11), 1, 0, Refused)
	// Another port is served as long as it has less than the largest share.
	learns(t, table, station(12), 3, 0, Learned)
	for n := range 3 {
		finds(t, table, station(n), 1, 0)
	}
	if s := table.Stats(); s.Refused != 3 || s.Evicted != 2 || s.Dynamic != 8 {
		t.Errorf("stats %+v", s)
	}
}

func TestFloodDisplacesOnlyItself(t *testing.T) {
	table := New(64)
	for n := range 10 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	for n := 100; n < 5_000; n++ {
		table.Learn(station(n), 2, 0)
	}
	for n := range 20 {
		learns(t, table, station(10+n), 3, 0, Learned)
	}
	for n := range 10 {
		finds(t, table, station(n), 1, 0)
	}
	for n := range 34 { // the flood's first stay
		finds(t, table, station(100+n), 2, 0)
	}
}

func TestMovedStationIsTheNewestOfItsPort(t *testing.T) {
	table := New(4)
	learns(t, table, station(1), 2, 0, Learned)
	for n := 2; n <= 4; n++ {
		learns(t, table, station(n), 1, 0, Learned)
	}
	learns(t, table, station(1), 1, 0, Moved)
	learns(t, table, station(5), 3, 0, Learned)
	misses(t, table, station(1), 0)
}

func TestTableLimitCountsDynamicEntriesOnly(t *testing.T) {
	table := New(8)
	table.SetLimit(2)
	table.Add(station(1), 1, Static)
	table.Add(station(2), 1, Static)
	learns(t, table, station(3), 1, 0, Learned)
	learns(t, table, station(4), 1, 0, Learned)
	learns(t, table, station(5), 1, 0, Refused)
	if err := table.Add(station(6), 1, Static); err != nil {
		t.Errorf("a static entry at the limit: %v", err)
	}
	learns(t, table, station(4), 2, 0, Moved)
	table.SetLimit(-1)
	learns(t, table, station(5), 1, 0, Learned)
}

func TestLoweredLimitDeletesNothing(t *testing.T) {
	table := New(8)
	for n := range 6 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	table.SetLimit(3)
	table.SetPortLimit(1, 2)
	for n := range 6 {
		learns(t, table, station(n), 1, 1, Refreshed)
	}
	learns(t, table, station(6), 1, 0, Refused)
	learns(t, table, station(7), 2, 0, Learned)
	if s := table.Stats(); s.Dynamic != 6 || s.Evicted != 1 {
		t.Errorf("stats %+v, want one entry for another", s)
	}
}

func TestLimitZeroLearnsNothing(t *testing.T) {
	table := New(8)
	learns(t, table, station(1), 1, 0, Learned)
	table.SetLimit(0)
	learns(t, table, station(2), 2, 0, Refused)
	finds(t, table, station(1), 1, 0)
	table.SetLimit(-1)
	table.SetPortLimit(2, 0)
	learns(t, table, station(2), 2, 0, Refused)
	learns(t, table, station(1), 2, 0, Refused)
	finds(t, table, station(1), 1, 0)
}

func TestPortLimitRefusesNewAndMovedStations(t *testing.T) {
	table := New(8)
	table.SetPortLimit(1, 2)
	learns(t, table, station(1), 1, 0, Learned)
	learns(t, table, station(2), 1, 0, Learned)
	learns(t, table, station(3), 1, 0, Refused)
	learns(t, table, station(3), 2, 0, Learned)
	learns(t, table, station(3), 1, 0, Refused)
	finds(t, table, station(3), 2, 0)
	learns(t, table, station(1), 2, 0, Moved)
	learns(t, table, station(3), 1, 0, Moved)
	if s := table.Stats(); s.Refused != 2 {
		t.Errorf("%d refused, want 2", s.Refused)
	}
}

func TestStaticEntriesDisplaceDynamicOnesOnly(t *testing.T) {
	table := New(3)
	for n := range 3 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	for n := range 3 {
		if err := table.Add(station(10+n), 2, Static); err != nil {
			t.Fatal(err)
		}
		misses(t, table, station(2-n), 0)
	}
	if err := table.Add(station(13), 2, Static); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth static entry: %v, want ErrFull", err)
	}
	if err := table.Add(station(12), 3, Blackhole); err != nil {
		t.Errorf("replacing in a full table: %v", err)
	}
	learns(t, table, station(1), 1, 0, Refused)
	if s := table.Stats(); s.Evicted != 3 || s.Dynamic+s.Static+s.Blackhole != 3 {
		t.Errorf("stats %+v", s)
	}
}

// TestFullBucketsRefuse fills the two buckets of the smallest table, which a
// capacity of its own size does not keep from being full.
func TestFullBucketsRefuse(t *testing.T) {
	table := New(2)
	table.capacity = 100
	for n := range 2 * slotsPerBucket {
		learns(t, table, station(n), 1, 0, Learned)
	}
	learns(t, table, station(14), 2, 0, Refused)
	if err := table.Add(station(14), 2, Static); !errors.Is(err, ErrFull) {
		t.Errorf("Add: %v, want ErrFull", err)
	}
	if s := table.Stats(); s.Evicted != 0 {
		t.Errorf("%d evicted for nothing", s.Evicted)
	}
}

// TestKnownAndRefusedStationsMeetNoMutex would deadlock otherwise.
func TestKnownAndRefusedStationsMeetNoMutex(t *testing.T) {
	table := New(4)
	table.SetPortLimit(3, 0)
	for n := range 4 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	learns(t, table, station(4), 1, 0, Refused)

	table.mu.Lock()
	defer table.mu.Unlock()
	finds(t, table, station(0), 1, 0)
	misses(t, table, station(5), 0)
	learns(t, table, station(0), 1, 0, Refreshed)
	learns(t, table, station(0), 1, 1, Refreshed)
	learns(t, table, station(5), 1, 0, Refused) // the largest share of a full table
	learns(t, table, station(5), 3, 0, Refused) // a port at its limit
	learns(t, table, station(0), 3, 0, Refused) // likewise, a move
	learns(t, table, 0, 2, 0, Refused)
}

func TestNothingAllocates(t *testing.T) {
	table, keys := filled(t, 1024)
	absent := randomKeys(1024)
	i := 0
	for name, f := range map[string]func(){
		"lookup hit":        func() { table.Lookup(keys[i%1024], 0) },
		"lookup miss":       func() { table.Lookup(absent[i%1024], 0) },
		"refresh or move":   func() { table.Learn(keys[i%1024], 20, Tick(i)) },
		"new, evict, moved": func() { table.Learn(absent[i%1024], frame.PortID(30+i%50), 0) },
	} {
		if n := testing.AllocsPerRun(2000, func() { f(); i++ }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if s := table.Stats(); s.Evicted == 0 || s.Moved == 0 {
		t.Errorf("stats %+v: eviction or move was not exercised", s)
	}
}

func TestHundredThousandSourcesTakeNoMemory(t *testing.T) {
	table := New(1024)
	n := testing.AllocsPerRun(1, func() {
		for i := range 100_000 {
			table.Learn(randomKey(), frame.PortID(i%5), 0)
		}
	})
	s := table.Stats()
	if n != 0 || s.Dynamic != 1024 {
		t.Errorf("%v allocations, %d entries; want 0 and 1024", n, s.Dynamic)
	}
	if s.Learned-s.Evicted != 1024 || s.Learned+s.Refused != 200_000 {
		t.Errorf("stats %+v do not add up", s)
	}
}
