package fdb

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/vswitchd/vswitchd/frame"
)

// station returns the n-th station of VLAN 1.
func station(n int) Key { return MakeKey(1, frame.MACFromUint64(2<<40|uint64(n))) }

// learns fails the test unless learning k at p has the outcome want.
func learns(t *testing.T, table *Table, k Key, p frame.PortID, now Tick, want Outcome) {
	t.Helper()
	if got := table.Learn(k, p, now); got != want {
		t.Fatalf("Learn(%v, %d, %d) = %d, want %d", k.MAC(), p, now, got, want)
	}
}

// finds fails the test unless k is behind p.
func finds(t *testing.T, table *Table, k Key, p frame.PortID, now Tick) {
	t.Helper()
	if e, ok := table.Lookup(k, now); !ok || e.Port() != p {
		t.Fatalf("Lookup(%v, %d) = port %d, %t; want port %d", k.MAC(), now, e.Port(), ok, p)
	}
}

// misses fails the test if k is in the table.
func misses(t *testing.T, table *Table, k Key, now Tick) {
	t.Helper()
	if e, ok := table.Lookup(k, now); ok {
		t.Fatalf("Lookup(%v, %d) = port %d, want a miss", k.MAC(), now, e.Port())
	}
}

func TestKeyHoldsVIDAndMAC(t *testing.T) {
	m := frame.MAC{0x02, 0x11, 0x22, 0x33, 0x44, 0x55}
	k := MakeKey(4094, m)
	if k != 0xffe_021122334455 || k.VID() != 4094 || k.MAC() != m {
		t.Errorf("key %#x of VID %d and MAC %v", uint64(k), k.VID(), k.MAC())
	}
}

func TestEntryLayout(t *testing.T) {
	e := makeEntry(0xffff, 0, 0)
	if e != 0xffff || e.Port() != 0xffff {
		t.Errorf("port: %#x", uint64(e))
	}
	if e = makeEntry(0, 0xffff, 0); e != 0xffff<<36 || e.tick() != 0xffff {
		t.Errorf("tick: %#x", uint64(e))
	}
	if e = makeEntry(0, 0, 0xff); e != 0xff<<52 || e.generation() != 0xff {
		t.Errorf("generation: %#x", uint64(e))
	}
	if e = flagStatic | flagBlackhole; e>>60 != 0b101 || !e.Static() || !e.Blackhole() {
		t.Errorf("flags: %#x", uint64(e))
	}
	const all = ^Entry(0)
	if e = all.withTick(0); e != all&^tickMask {
		t.Errorf("withTick(0) of all ones: %#x", uint64(e))
	}
}

func TestBucketIsTwoAlignedCacheLines(t *testing.T) {
	var b bucket
	if unsafe.Sizeof(b) != 128 || unsafe.Offsetof(b.cells) != 8 {
		t.Errorf("size %d, cells at %d; want 128 and 8, which puts the keys that search tries first into one line", unsafe.Sizeof(b), unsafe.Offsetof(b.cells))
	}
	for _, capacity := range []int{1, 8, 100, 1024, 16384} {
		if at := uintptr(unsafe.Pointer(&New(capacity).buckets[0])); at%128 != 0 {
			t.Errorf("capacity %d: buckets at %#x", capacity, at)
		}
	}
}

func TestStationIsLearnedRefreshedAndMoved(t *testing.T) {
	table := New(8)
	misses(t, table, station(1), 0)
	learns(t, table, station(1), 3, 0, Learned)
	finds(t, table, station(1), 3, 0)
	learns(t, table, station(1), 3, 0, Refreshed)
	learns(t, table, station(1), 3, 1, Refreshed)
	learns(t, table, station(1), 4, 1, Moved)
	finds(t, table, station(1), 4, 1)
	if table.PortCount(3) != 0 || table.PortCount(4) != 1 {
		t.Errorf("ports 3 and 4 have %d and %d entries, want 0 and 1", table.PortCount(3), table.PortCount(4))
	}
	want := Stats{Learned: 1, Moved: 1, Dynamic: 1, Capacity: 8, Limit: -1}
	if got := table.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestVLANsLearnIndependently(t *testing.T) {
	table := New(8)
	m := frame.MAC{2, 0, 0, 0, 0, 1}
	learns(t, table, MakeKey(1, m), 1, 0, Learned)
	misses(t, table, MakeKey(2, m), 0)
	learns(t, table, MakeKey(2, m), 2, 0, Learned)
	finds(t, table, MakeKey(1, m), 1, 0)
}

func TestGroupAndZeroAreNeverEntered(t *testing.T) {
	table := New(8)
	for _, k := range []Key{0, MakeKey(1, frame.MAC{}), MakeKey(1, frame.Broadcast), MakeKey(1, frame.MAC{1})} {
		learns(t, table, k, 1, 0, Refused)
		if err := table.Add(k, 1, Static); !errors.Is(err, ErrGroup) {
			t.Errorf("Add(%v): %v, want ErrGroup", k.MAC(), err)
		}
		misses(t, table, k, 0)
		if table.Remove(k) {
			t.Errorf("Remove(%v) found an entry", k.MAC())
		}
	}
}

func TestStaticEntryNeitherMovesNorAges(t *testing.T) {
	table := New(8)
	table.SetAgeing(10, 0, nil)
	learns(t, table, station(1), 1, 0, Learned)
	for k, kind := range map[Key]Kind{station(1): Static, station(2): Static, station(3): Blackhole} {
		if err := table.Add(k, 2, kind); err != nil {
			t.Fatal(err)
		}
		learns(t, table, k, 2, 0, Pinned)
		learns(t, table, k, 1, 0, Pinned)
	}
	for now := Tick(0); now < 40_000; now += 4_000 {
		table.Age(now)
		finds(t, table, station(1), 2, now)
		finds(t, table, station(2), 2, now)
		if e, ok := table.Lookup(station(3), now); !ok || !e.Blackhole() {
			t.Errorf("the blackhole is gone at tick %d", now)
		}
	}
	if s := table.Stats(); s.Dynamic != 0 || s.Static != 2 || s.Blackhole != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestAddReplacesKindAndPort(t *testing.T) {
	table := New(8)
	for _, kind := range []Kind{Static, Blackhole, Static} {
		if err := table.Add(station(1), 5, kind); err != nil {
			t.Fatal(err)
		}
		if r, ok := table.Get(station(1), 0); !ok || r.Key != station(1) || r.Kind != kind {
			t.Errorf("record %+v, want kind %d", r, kind)
		}
	}
	if s := table.Stats(); s.Static != 1 || s.Blackhole != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestRemoveTakesAnyKind(t *testing.T) {
	table := New(8)
	learns(t, table, station(1), 1, 0, Learned)
	table.Add(station(2), 1, Static)
	table.Add(station(3), 1, Blackhole)
	for n := 1; n <= 3; n++ {
		if !table.Remove(station(n)) || table.Remove(station(n)) {
			t.Errorf("station %d: want it removed once", n)
		}
		misses(t, table, station(n), 0)
	}
	if s := table.Stats(); s.Dynamic+s.Static+s.Blackhole != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestListingTellsAgeAndOmitsTheDead(t *testing.T) {
	table := New(8)
	table.SetAgeing(10, 0, nil)
	learns(t, table, station(1), 1, 65530, Learned) // age 9 at tick 3
	learns(t, table, station(2), 2, 65528, Learned) // expired
	learns(t, table, station(3), 3, 3, Learned)
	table.Add(station(4), 4, Static)
	table.generations[3].Store(2) // flushed, not collected

	want := []Record{{Key: station(1), Port: 1, Age: 9}, {Key: station(4), Port: 4, Kind: Static}}
	got := slices.SortedFunc(table.All(3), func(a, b Record) int { return int(a.Key) - int(b.Key) })
	if !slices.Equal(got, want) {
		t.Errorf("All: %+v, want %+v", got, want)
	}
	if r, ok := table.Get(station(1), 3); !ok || r != want[0] {
		t.Errorf("Get: %+v, %t", r, ok)
	}
	if _, ok := table.Get(station(2), 3); ok {
		t.Error("Get found an expired entry")
	}
	for range table.All(3) {
		break // must end the listing
	}
}

// TestFullTableRefusesNobody fills tables to the last entry with addresses as
// they are given out: at random, one after the other, one in each VLAN.
func TestFullTableRefusesNobody(t *testing.T) {
	addresses := map[string]func(int) Key{
		"random":     func(int) Key { return randomKey() },
		"sequential": station,
		"per VLAN":   func(i int) Key { return MakeKey(frame.VID(i%4094+1), frame.MACFromUint64(2<<40|uint64(i/4094))) },
	}
	for name, address := range addresses {
		for _, capacity := range []int{1, 2, 16_384, 65_536} {
			table, keys := New(capacity), make([]Key, capacity)
			for i := range keys {
				keys[i] = address(i)
				if got := table.Learn(keys[i], frame.PortID(i%frame.MaxPorts), 0); got != Learned {
					t.Fatalf("%s: entry %d of %d: outcome %d", name, i, capacity, got)
				}
			}
			for i, k := range keys {
				finds(t, table, k, frame.PortID(i%frame.MaxPorts), 0)
			}
		}
	}
}
