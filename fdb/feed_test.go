package fdb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/vswitchd/vswitchd/frame"
)

// changes reads what has changed, and fails the test if something was lost.
func changes(t *testing.T, w *Watch) []Change {
	t.Helper()
	buf := make([]Change, feedLen)
	n, lost := w.Read(buf)
	if lost != 0 {
		t.Fatalf("%d changes lost", lost)
	}
	return buf[:n]
}

func TestEachChangeIsToldWithItsCauseInOrder(t *testing.T) {
	table := New(3)
	table.SetAgeing(10, 0, nil)
	w := table.Watch()
	a, b, c, d, e := station(1), station(2), station(3), station(4), station(5)
	for _, step := range []struct {
		do   func()
		want []Change
	}{
		{func() { table.Learn(a, 1, 0) }, []Change{{Key: a, Port: 1, Cause: CauseLearned}}},
		{func() { table.Learn(a, 1, 1) }, nil},
		{func() { table.Learn(a, 2, 1) }, []Change{{Key: a, Port: 2, From: 1, Cause: CauseMoved}}},
		{func() { table.Learn(b, 2, 5) }, []Change{{Key: b, Port: 2, Cause: CauseLearned}}},
		{func() { table.Learn(c, 2, 5) }, []Change{{Key: c, Port: 2, Cause: CauseLearned}}},
		{func() { table.Learn(d, 2, 5) }, nil}, // refused
		{func() { table.Learn(d, 1, 5) }, []Change{{Key: c, Port: 2, Cause: CauseEvicted}, {Key: d, Port: 1, Cause: CauseLearned}}},
		{func() { table.Age(12) }, []Change{{Key: a, Port: 2, Cause: CauseAged}}},
		{func() { table.Learn(b, 3, 16) }, []Change{{Key: b, Port: 2, Cause: CauseAged}, {Key: b, Port: 3, Cause: CauseLearned}}},
		{func() { table.FlushPort(3) }, []Change{{Key: b, Port: 3, Cause: CauseFlushed}}},
		{func() { table.Flush(func(Record) bool { return true }) }, []Change{{Key: d, Port: 1, Cause: CauseFlushed}}},
		{func() { table.Add(e, 4, Static) }, []Change{{Key: e, Port: 4, Cause: CauseAdded, Kind: Static}}},
		{func() { table.Add(e, 4, Blackhole) }, []Change{{Key: e, Cause: CauseAdded, Kind: Blackhole}}},
		{func() { table.Learn(e, 4, 16) }, nil}, // pinned
		{func() { table.Remove(e) }, []Change{{Key: e, Cause: CauseRemoved, Kind: Blackhole}}},
		{func() { table.Add(a, 4, Static) }, []Change{{Key: a, Port: 4, Cause: CauseAdded, Kind: Static}}},
		{func() { table.Forget(4) }, []Change{{Key: a, Port: 4, Cause: CauseRemoved, Kind: Static}}},
	} {
		step.do()
		if got := changes(t, w); !slices.Equal(got, step.want) {
			t.Errorf("changes %+v, want %+v", got, step.want)
		}
	}
}

func TestLateWatchIsToldExactlyHowMuchItMissed(t *testing.T) {
	for _, n := range []int{feedLen - 1, feedLen, feedLen + 1, 3*feedLen + 5} {
		table := New(8)
		late, seen := table.Watch(), table.Watch()
		some := make([]Change, 10)
		for i := range n {
			table.Learn(station(1), frame.PortID(i%1000), 0)
			if i%10 == 9 {
				if got, lost := seen.Read(some); got != 10 || lost != 0 {
					t.Fatalf("a watch that keeps up reads %d and loses %d", got, lost)
				}
			}
		}
		missed := max(0, n-feedLen)
		got, lost := late.Read(some)
		if got != 10 || lost != uint64(missed) || some[0].Port != frame.PortID(missed%1000) {
			t.Errorf("after %d changes %d read from port %d on and %d lost, want %d lost", n, got, some[0].Port, lost, missed)
		}
		if rest := len(changes(t, late)); rest != n-missed-10 {
			t.Errorf("then %d read, want %d", rest, n-missed-10)
		}
	}
}

func TestNothingIsRecordedUnlessSomebodyWatches(t *testing.T) {
	table := New(8)
	learns(t, table, station(1), 1, 0, Learned)
	w, other := table.Watch(), table.Watch()
	if got := changes(t, w); len(got) != 0 {
		t.Errorf("told of what was before: %+v", got)
	}
	w.Close()
	learns(t, table, station(2), 1, 0, Learned)
	if got := changes(t, other); len(got) != 1 {
		t.Errorf("the end of one watch ends another: %+v", got)
	}
	other.Close()
	if table.feed.ring != nil {
		t.Error("the ring stays when nobody watches")
	}
}

func TestRefusalsAreCountedByPort(t *testing.T) {
	table := New(8)
	table.SetPortLimit(3, 0)
	for range 5 {
		learns(t, table, station(1), 3, 0, Refused)
	}
	learns(t, table, 0, 4, 0, Refused)
	if table.Refused(3) != 5 || table.Refused(4) != 1 || table.Refused(1) != 0 || table.Stats().Refused != 6 {
		t.Errorf("refused %d at port 3, %d at port 4, %d in all", table.Refused(3), table.Refused(4), table.Stats().Refused)
	}
}

func TestNothingAllocatesWhileWatched(t *testing.T) {
	table := New(64)
	defer table.Watch().Close()
	i := 0
	n := testing.AllocsPerRun(2*feedLen, func() {
		table.Learn(randomKey(), frame.PortID(i%5), Tick(i))
		i++
	})
	if s := table.Stats(); n != 0 || s.Evicted == 0 {
		t.Errorf("%v allocations, stats %+v", n, s)
	}
}

// replay applies what has changed to a map and compares that with the table.
func (m *model) replay(t *rapid.T) {
	var changes [7]Change
	for n := len(changes); n == len(changes); {
		var lost uint64
		if n, lost = m.watch.Read(changes[:]); lost != 0 {
			t.Fatalf("%d changes lost", lost)
		}
		for _, c := range changes[:n] {
			apply(t.Fatalf, m.replayed, c)
		}
	}
	if len(m.replayed) != len(m.entries) {
		t.Fatalf("the changes make %d entries, want %d", len(m.replayed), len(m.entries))
	}
	for k, e := range m.entries {
		c := m.replayed[k]
		if c.Cause.Gone() || c.Kind != e.kind || e.kind != Blackhole && c.Port != e.port {
			t.Fatalf("the changes make %v of station %v, want %+v", c, k.MAC(), e)
		}
	}
}

// apply does a change to the map, which must be one that the map allows.
func apply(fail func(string, ...any), to map[Key]Change, c Change) {
	was, known := to[c.Key]
	switch {
	case c.Cause == CauseAdded:
	case known != (c.Cause != CauseLearned),
		c.Cause == CauseMoved && (was.Port != c.From || c.Port == c.From),
		c.Cause.Gone() && (was.Port != c.Port || was.Kind != c.Kind):
		fail("%+v after %+v, known %t", c, was, known)
	}
	if c.Cause.Gone() {
		delete(to, c.Key)
		return
	}
	to[c.Key] = c
}

// TestReplayUnderContentionEqualsTheTable has several goroutines change the
// table while one reads the changes. They
// are too few for the ring to overflow, however late that one is.
func TestReplayUnderContentionEqualsTheTable(t *testing.T) {
	table := New(50)
	w := table.Watch()
	replayed := map[Key]Change{}
	read := func() {
		for _, c := range changes(t, w) {
			apply(t.Errorf, replayed, c)
		}
	}
	var writing atomic.Int32
	writing.Store(3)
	together(4, func(i int) {
		if i == 0 {
			for writing.Load() > 0 {
				read()
			}
			return
		}
		defer writing.Add(-1)
		for range feedLen / 7 {
			k, p := station(rand.N(100)), frame.PortID(rand.N(4))
			switch rand.N(32) {
			case 0:
				table.Remove(k)
			case 1:
				table.Add(k, p, Static)
			case 2:
				table.FlushPort(p)
			default:
				table.Learn(k, p, 0)
			}
		}
	})
	read()
	listed := map[Key]string{}
	for r := range table.All(0) {
		listed[r.Key] = fmt.Sprint(r.Port, r.Kind)
	}
	for k, c := range replayed {
		if listed[k] != fmt.Sprint(c.Port, c.Kind) {
			t.Errorf("%+v, but the table has %q", c, listed[k])
		}
	}
	if len(listed) != len(replayed) {
		t.Errorf("the changes make %d entries, the table has %d", len(replayed), len(listed))
	}
}
