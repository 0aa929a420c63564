package fdb

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/vswitchd/vswitchd/frame"
)

// together runs f in n goroutines and waits for them. It has more threads than
// processors, so that the kernel interrupts them between any two instructions
// for long enough that others get far.
func together(n int, f func(i int)) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	var wg sync.WaitGroup
	var begin sync.WaitGroup
	begin.Add(1)
	for i := range n {
		wg.Go(func() { begin.Wait(); f(i) })
	}
	begin.Done()
	wg.Wait()
}

// TestOneSlotPassesFromStationToStation has two stations take turns in one
// slot, each at a port of its own, so that a pair of one's key and the other's
// value shows.
func TestOneSlotPassesFromStationToStation(t *testing.T) {
	table := New(1)
	var keys [2]Key
	for n, found := 0, 0; found < len(keys); n++ {
		if first, _ := table.hash(station(n)); first == 0 {
			keys[found] = station(n)
			found++
		}
	}
	learns(t, table, keys[0], 0, 0, Learned)
	occupied, _ := table.find(keys[0])
	verify := func(k Key, p frame.PortID) {
		if k != keys[p] {
			t.Errorf("%v is behind port %d", k.MAC(), p)
		}
	}
	whileChanging(func(round int) {
		table.Remove(keys[round%2])
		table.Learn(keys[1-round%2], frame.PortID(1-round%2), 0)
	}, func() {
		for _, k := range [...]Key{keys[0], keys[1], 0} {
			if e, ok := table.Lookup(k, 0); ok {
				verify(k, e.Port())
			}
		}
		if k, e := table.read(occupied); e != 0 {
			verify(k, e.Port())
		}
	})
}

// TestMovingStationIsNeverMissed flushes the port that the station has left
// while others look it up. It is there all the time.
func TestMovingStationIsNeverMissed(t *testing.T) {
	table := New(4)
	learns(t, table, station(1), 0, 0, Learned)
	whileChanging(func(round int) {
		table.Learn(station(1), frame.PortID(round+1)%2, 0)
		table.FlushPort(frame.PortID(round) % 2)
	}, func() {
		if _, ok := table.Lookup(station(1), 0); !ok {
			t.Error("missed")
		}
	})
}

// whileChanging calls change in one goroutine and look in several, as often as
// a second allows.
func whileChanging(change func(round int), look func()) {
	var done atomic.Bool
	defer time.AfterFunc(time.Second, func() { done.Store(true) }).Stop()
	together(5, func(i int) {
		for round := 0; !done.Load(); round++ {
			if i == 0 {
				change(round)
			} else {
				look()
			}
		}
	})
}

// TestCountsSurviveContention compares the counts with the entries when all is
// quiet again.
func TestCountsSurviveContention(t *testing.T) {
	table := New(50)
	table.SetAgeing(3, 0, nil)
	together(4, func(i int) {
		for round := range 20_000 {
			k, p, now := station(rand.N(200)), frame.PortID(rand.N(4)), Tick(round>>7)
			switch rand.N(64) {
			case 0:
				table.Remove(k)
			case 1:
				table.Add(k, p, Static)
			case 2:
				table.FlushPort(p)
			case 3:
				table.Age(now)
			case 4:
				table.SetAgeing(3, now, nil)
			case 5:
				table.Flush(func(r Record) bool { return r.Key == k })
			default:
				table.Learn(k, p, now)
			}
		}
	})
	table.SetAgeing(0, 0, nil) // lists the expired ones too
	var s Stats
	var ports [4]int
	for r := range table.All(0) {
		if r.Kind == Static {
			s.Static++
			continue
		}
		s.Dynamic++
		ports[r.Port]++
	}
	got := table.Stats()
	if got.Dynamic != s.Dynamic || got.Static != s.Static || got.Dynamic+got.Static > got.Capacity {
		t.Errorf("%+v, want %d dynamic and %d static of 50", got, s.Dynamic, s.Static)
	}
	for p, n := range ports {
		if table.PortCount(frame.PortID(p)) != n || table.FlushPort(frame.PortID(p)) != n {
			t.Errorf("port %d: count %d or ring does not match %d entries", p, table.PortCount(frame.PortID(p)), n)
		}
	}
}

// Operations of a history. Those of FlushPort stand for every station.
const (
	opLearn = iota
	opLookup
	opRemove
	opAdd
	opFlushPort
	ops
)

type input struct {
	op   int
	key  Key
	port frame.PortID
}

type output struct {
	outcome Outcome
	ok      bool
	port    frame.PortID
}

// stationState is what there is to know of one station.
type stationState struct {
	present, static bool
	port            frame.PortID
}

// step is the sequential specification: it reports whether out is what in must
// yield, and the state behind it.
func (s stationState) step(in input, out output) (bool, stationState) {
	switch in.op {
	case opLearn:
		want := Moved
		switch {
		case s.static:
			return out.outcome == Pinned, s
		case !s.present:
			want = Learned
		case s.port == in.port:
			want = Refreshed
		}
		return out.outcome == want, stationState{present: true, port: in.port}
	case opLookup:
		return out.ok == s.present && (!out.ok || out.port == s.port), s
	case opRemove:
		return out.ok == s.present, stationState{}
	case opAdd:
		return out.ok, stationState{present: true, static: true, port: in.port}
	}
	if s.present && !s.static && s.port == in.port {
		return true, stationState{}
	}
	return true, s
}

// apply does an operation on the table.
func (in input) apply(t *Table, now Tick) (out output) {
	switch in.op {
	case opLearn:
		out.outcome = t.Learn(in.key, in.port, now)
	case opLookup:
		var e Entry
		e, out.ok = t.Lookup(in.key, now)
		out.port = e.Port()
	case opRemove:
		out.ok = t.Remove(in.key)
	case opAdd:
		out.ok = t.Add(in.key, in.port, Static) == nil
	case opFlushPort:
		t.FlushPort(in.port)
	}
	return out
}

// TestEachStationIsLinearizable records what four goroutines see of three
// stations that share 14 slots, and has porcupine look for an order of the
// operations that explains it, station by station.
func TestEachStationIsLinearizable(t *testing.T) {
	const histories, clients, length, stations = 300, 4, 24, 3
	spec := porcupine.Model{
		Init: func() any { return stationState{} },
		Step: func(state, in, out any) (bool, any) {
			return state.(stationState).step(in.(input), out.(output))
		},
	}
	for range histories {
		table := New(7)
		var clock atomic.Int64
		var recorded [clients][]porcupine.Operation
		together(clients, func(c int) {
			for i := range length {
				in := input{op: rand.N(ops), key: station(rand.N(stations)), port: frame.PortID(rand.N(3))}
				op := porcupine.Operation{ClientId: c, Input: in, Call: clock.Add(1)}
				op.Output = in.apply(table, Tick(i))
				op.Return = clock.Add(1)
				recorded[c] = append(recorded[c], op)
			}
		})
		history := slices.Concat(recorded[:]...)
		for n := range stations {
			var of []porcupine.Operation
			for _, op := range history {
				if in := op.Input.(input); in.key == station(n) || in.op == opFlushPort {
					of = append(of, op)
				}
			}
			if !porcupine.CheckOperations(spec, of) {
				t.Fatalf("no order explains what was seen of station %d: %+v", n, of)
			}
		}
	}
}
