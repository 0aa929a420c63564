package fdb

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

func TestEntryExpiresAfterTheAgeingTimeExactly(t *testing.T) {
	for _, ageing := range []Tick{1, 300, MaxAgeing} {
		for _, start := range []Tick{0, 1000, 65535 - 300, 65535} {
			table := New(8)
			table.SetAgeing(ageing, start, nil)
			learns(t, table, station(1), 1, start, Learned)
			for passed := Tick(0); passed < ageing; passed += min(4096, ageing-passed) {
				if n := table.Age(start + passed); n != 0 {
					t.Fatalf("removed after %d of %d ticks", passed, ageing)
				}
			}
			finds(t, table, station(1), 1, start+ageing)
			misses(t, table, station(1), start+ageing+1)
			misses(t, table, station(1), start+ageing+4096)
			if n := table.Age(start + ageing); n != 0 {
				t.Error("Age removes an entry as old as the ageing time")
			}
			if n := table.Age(start + ageing + 1); n != 1 {
				t.Error("Age leaves an expired entry")
			}
			if s := table.Stats(); s.Aged != 1 || s.Dynamic != 0 {
				t.Errorf("stats %+v", s)
			}
		}
	}
}

func TestRefreshProlongsLife(t *testing.T) {
	table := New(8)
	table.SetAgeing(10, 0, nil)
	learns(t, table, station(1), 1, 0, Learned)
	learns(t, table, station(1), 1, 10, Refreshed)
	finds(t, table, station(1), 1, 20)
	misses(t, table, station(1), 21)
}

// TestSlowClockExpiresNothing has one worker a tick behind another.
func TestSlowClockExpiresNothing(t *testing.T) {
	table := New(8)
	table.SetAgeing(10, 0, nil)
	learns(t, table, station(1), 1, 1, Learned)
	finds(t, table, station(1), 1, 0)
	if table.Age(0) != 0 {
		t.Error("Age removed the entry")
	}
}

// TestStationHeardMeanwhileIsNotRemoved refreshes an entry between the look at
// it and its removal.
func TestStationHeardMeanwhileIsNotRemoved(t *testing.T) {
	table := New(8)
	learns(t, table, station(1), 1, 0, Learned)
	s, e := table.find(station(1))
	learns(t, table, station(1), 1, 1, Refreshed)
	if table.remove(s, e, CauseAged) {
		t.Error("removed")
	}
	finds(t, table, station(1), 1, 1)
	if table.PortCount(1) != 1 {
		t.Errorf("port 1 has %d entries, want 1", table.PortCount(1))
	}
}

func TestExpiredStationIsLearnedAnew(t *testing.T) {
	table := New(2)
	table.SetAgeing(10, 0, nil)
	table.SetPortLimit(1, 1)
	learns(t, table, station(1), 1, 0, Learned)
	learns(t, table, station(1), 1, 11, Learned) // its own old entry is not in its way
	learns(t, table, station(1), 2, 22, Learned)
	finds(t, table, station(1), 2, 22)
	if s := table.Stats(); s.Aged != 2 || s.Learned != 3 || s.Moved != 0 || s.Dynamic != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestNothingExpiresWithoutAgeing(t *testing.T) {
	table := New(8)
	learns(t, table, station(1), 1, 0, Learned)
	for passed := 0; passed < 300_000; passed += 4096 {
		now := Tick(passed)
		if table.Age(now) != 0 {
			t.Fatal("an entry aged")
		}
		r, ok := table.Get(station(1), now)
		if least := min(Tick(min(passed, 65535)), MaxAgeing); !ok || r.Age < least {
			t.Fatalf("after %d ticks: age %d, %t", passed, r.Age, ok)
		}
	}
	now := Tick(300_000 % 65536)
	table.SetAgeing(10, now, nil)
	misses(t, table, station(1), now)
}

func TestSetAgeingKeepsAges(t *testing.T) {
	table := New(8)
	table.SetAgeing(10, 0, nil)
	learns(t, table, station(1), 1, 0, Learned)
	table.Add(station(2), 2, Static)
	table.SetAgeing(20, 8, nil)
	finds(t, table, station(1), 1, 20)
	misses(t, table, station(1), 21)
	finds(t, table, station(2), 2, 21)
	table.SetAgeing(30, 21, nil)
	misses(t, table, station(1), 21) // had expired by the old time
}

func TestSetAgeingRescalesAges(t *testing.T) {
	table := New(8)
	table.SetAgeing(300, 0, nil)
	learns(t, table, station(1), 1, 0, Learned)
	table.SetAgeing(100, 120, func(age Tick) Tick { return age / 60 })
	finds(t, table, station(1), 1, 120+98)
	misses(t, table, station(1), 120+99)
}

func TestFlushPortRemovesItsDynamicEntriesOnly(t *testing.T) {
	table := New(1000)
	for n := range 600 { // more than two chunks
		learns(t, table, station(n), 1, 0, Learned)
	}
	learns(t, table, station(600), 2, 0, Learned)
	table.Add(station(601), 1, Static)
	if n := table.FlushPort(1); n != 600 {
		t.Errorf("removed %d, want 600", n)
	}
	misses(t, table, station(0), 0)
	finds(t, table, station(600), 2, 0)
	finds(t, table, station(601), 1, 0)
	if s := table.Stats(); s.Flushed != 600 || s.Dynamic != 1 || table.PortCount(1) != 0 {
		t.Errorf("stats %+v", s)
	}
	if n := table.FlushPort(1); n != 0 {
		t.Errorf("removed %d from an empty port", n)
	}
}

// TestFlushActsBeforeItCollects stops FlushPort in the middle.
func TestFlushActsBeforeItCollects(t *testing.T) {
	table := New(16)
	for n := range 6 {
		learns(t, table, station(n), 1, 0, Learned)
	}
	table.generations[1].Store(uint32(table.generation(1).next()))

	for n := range 6 {
		misses(t, table, station(n), 0)
	}
	if table.Remove(station(0)) {
		t.Error("Remove found a flushed entry")
	}
	learns(t, table, station(1), 1, 0, Learned) // takes its own old entry away
	learns(t, table, station(2), 2, 0, Learned) // also at another port
	learns(t, table, station(6), 1, 0, Learned)
	if n := table.collect(1); n != 3 {
		t.Errorf("collected %d, want stations 3, 4 and 5", n)
	}
	finds(t, table, station(1), 1, 0)
	finds(t, table, station(2), 2, 0)
	finds(t, table, station(6), 1, 0)
	if s := table.Stats(); s.Flushed != 6 || s.Dynamic != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestGenerationsMayComeRound(t *testing.T) {
	table := New(8)
	for range 3 * 255 {
		learns(t, table, station(1), 1, 0, Learned)
		finds(t, table, station(1), 1, 0)
		table.FlushPort(1)
		misses(t, table, station(1), 0)
	}
}

func TestFlushRemovesMatchingDynamicEntries(t *testing.T) {
	table := New(64)
	for v := frame.VID(1); v <= 4; v++ {
		for n := range 5 {
			learns(t, table, MakeKey(v, station(n).MAC()), frame.PortID(n), 0, Learned)
		}
		table.Add(MakeKey(v, station(5).MAC()), 1, Static)
	}
	if n := table.Flush(func(r Record) bool { return r.Key.VID() == 3 }); n != 5 {
		t.Errorf("VLAN 3: removed %d, want 5", n)
	}
	if n := table.Flush(func(r Record) bool { return r.Key.VID() == 1 && r.Port == 2 }); n != 1 {
		t.Errorf("VLAN 1, port 2: removed %d, want 1", n)
	}
	if n := table.Flush(func(Record) bool { return true }); n != 14 {
		t.Errorf("all: removed %d, want 14", n)
	}
	if s := table.Stats(); s.Dynamic != 0 || s.Static != 4 || s.Flushed != 20 {
		t.Errorf("stats %+v", s)
	}
}

func TestForgetLeavesNothingOfThePort(t *testing.T) {
	table := New(16)
	table.SetPortLimit(0, 1)
	learns(t, table, station(1), 0, 0, Learned)
	learns(t, table, station(2), 1, 0, Learned)
	table.Add(station(3), 0, Static)
	table.Add(station(4), 1, Static)
	table.Add(station(5), 0, Blackhole)
	table.Forget(0)
	misses(t, table, station(1), 0)
	misses(t, table, station(3), 0)
	finds(t, table, station(2), 1, 0)
	finds(t, table, station(4), 1, 0)
	if e, ok := table.Lookup(station(5), 0); !ok || !e.Blackhole() {
		t.Error("a blackhole belongs to no port and must stay")
	}
	learns(t, table, station(6), 0, 0, Learned)
	learns(t, table, station(7), 0, 0, Learned) // the limit is gone too
}

// TestLongWalksRest: in a bubble the clock goes on only while all goroutines sleep.
func TestLongWalksRest(t *testing.T) {
	for name, walk := range map[string]func(*Table){
		"age":        func(table *Table) { table.Age(10) },
		"flush":      func(table *Table) { table.Flush(func(Record) bool { return true }) },
		"flush port": func(table *Table) { table.FlushPort(0) },
		"no ageing":  func(table *Table) { table.SetAgeing(0, 0, nil); table.Age(0) },
	} {
		synctest.Test(t, func(t *testing.T) {
			table := New(walkChunk)
			table.SetAgeing(3, 0, nil)
			for i := range 4 * walkChunk / removalCost {
				table.Learn(station(i), 0, 0)
			}
			began := time.Now()
			walk(table)
			if time.Since(began) == 0 {
				t.Errorf("%s: never rested", name)
			}
		})
	}
}
