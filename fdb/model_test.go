package fdb

import (
	"errors"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	modelPorts    = 4
	modelStations = 20
)

// modelEntry is an entry of the model; heard and order only count up.
type modelEntry struct {
	port  frame.PortID
	kind  Kind
	heard int // tick
	order int // when it came to its port
}

// model is the table as a map, with time that does not wrap. Its capacity is
// below 14, so that no two buckets can be full.
type model struct {
	table      *Table
	entries    map[Key]modelEntry
	capacity   int
	limit      int
	portLimits [modelPorts]int
	ageing     int
	now        int
	swept      int // tick of the last Age
	order      int
	stats      Stats

	watch    *Watch
	replayed map[Key]Change
}

func (m *model) tick() Tick { return Tick(m.now) }

func (m *model) expired(e modelEntry) bool {
	return m.ageing != 0 && e.kind == Dynamic && m.now-e.heard > m.ageing
}

// dynamic returns how many dynamic entries each port has, and all together.
func (m *model) dynamic() (ports [modelPorts]int, all int) {
	for _, e := range m.entries {
		if e.kind == Dynamic {
			ports[e.port]++
			all++
		}
	}
	return ports, all
}

func (m *model) portFull(p frame.PortID) bool {
	ports, _ := m.dynamic()
	return m.portLimits[p] >= 0 && ports[p] >= m.portLimits[p]
}

// learn returns what Learn has to do, and does it but for an eviction, which it
// announces.
func (m *model) learn(k Key, p frame.PortID) (want Outcome, evicts bool) {
	fresh := modelEntry{port: p, heard: m.now, order: m.order}
	e, known := m.entries[k]
	switch {
	case known && e.kind != Dynamic:
		return Pinned, false
	case known && m.expired(e):
		delete(m.entries, k)
		m.stats.Aged++
	case known && e.port == p:
		e.heard = m.now
		m.entries[k] = e
		return Refreshed, false
	case known && m.portFull(p):
		return Refused, false
	case known:
		m.entries[k] = fresh
		return Moved, false
	}
	ports, all := m.dynamic()
	full := len(m.entries) >= m.capacity || m.limit >= 0 && all >= m.limit
	most := 0
	for _, n := range ports {
		most = max(most, n)
	}
	if m.portFull(p) || full && (m.limit == 0 || ports[p] >= most) {
		return Refused, false
	}
	return Learned, full
}

// evicted finds out who was, and fails unless it was the newest entry of a port
// with the largest share.
func (m *model) evicted(t *rapid.T) {
	ports, _ := m.dynamic()
	var gone []Key
	for k := range m.entries {
		if !m.holds(k) {
			gone = append(gone, k)
		}
	}
	if len(gone) != 1 {
		t.Fatalf("%d entries evicted, want 1", len(gone))
	}
	victim := m.entries[gone[0]]
	for p, n := range ports {
		if n > ports[victim.port] {
			t.Fatalf("evicted from port %d with %d entries; port %d has %d", victim.port, ports[victim.port], p, n)
		}
	}
	for _, e := range m.entries {
		if e.kind == Dynamic && e.port == victim.port && e.order > victim.order {
			t.Fatalf("evicted an entry of port %d that is not its newest", victim.port)
		}
	}
	delete(m.entries, gone[0])
	m.stats.Evicted++
}

// holds reports whether the table has an entry, expired or not.
func (m *model) holds(k Key) bool {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	_, e := m.table.locate(k)
	return e != 0
}

// remove removes the entries for which f returns true, and returns how many.
func (m *model) remove(f func(Key, modelEntry) bool) int {
	before := len(m.entries)
	maps.DeleteFunc(m.entries, f)
	return before - len(m.entries)
}

func (m *model) age(t *rapid.T) {
	m.swept = m.now
	want := m.remove(func(_ Key, e modelEntry) bool { return m.expired(e) })
	m.stats.Aged += uint64(want)
	if got := m.table.Age(m.tick()); got != want {
		t.Fatalf("Age removed %d, want %d", got, want)
	}
	if m.ageing == 0 { // The table knows ages up to MaxAgeing only.
		m.retick(func(age int) int { return min(age, int(MaxAgeing)) })
	}
}

// retick gives each dynamic entry another age.
func (m *model) retick(f func(age int) int) {
	for k, e := range m.entries {
		if e.kind == Dynamic {
			e.heard = m.now - f(m.now-e.heard)
			m.entries[k] = e
		}
	}
}

// check compares all that can be asked.
func (m *model) check(t *rapid.T) {
	listed := map[Key]Record{}
	for r := range m.table.All(m.tick()) {
		listed[r.Key] = r
	}
	present := 0
	for n := range modelStations {
		k := station(n)
		e, known := m.entries[k]
		if got := m.holds(k); got != known {
			t.Fatalf("station %d held: %t, want %t", n, got, known)
		}
		known = known && !m.expired(e)
		r, got := m.table.Get(k, m.tick())
		if got != known {
			t.Fatalf("station %d found: %t, want %t", n, got, known)
		}
		if !known {
			continue
		}
		present++
		if listed[k] != r {
			t.Fatalf("station %d listed as %+v, found as %+v", n, listed[k], r)
		}
		if r.Kind != e.kind || r.Kind != Blackhole && r.Port != e.port {
			t.Fatalf("station %d is %+v, want %+v", n, r, e)
		}
		if age := m.now - e.heard; r.Kind == Dynamic && age <= int(MaxAgeing) && int(r.Age) != age {
			t.Fatalf("station %d has age %d, want %d", n, r.Age, age)
		}
	}
	if present != len(listed) {
		t.Fatalf("%d entries listed, want %d", len(listed), present)
	}
	m.checkStats(t)
	m.replay(t)
}

func (m *model) checkStats(t *rapid.T) {
	ports, all := m.dynamic()
	want := m.stats
	want.Dynamic, want.Static, want.Blackhole = all, 0, 0
	want.Capacity, want.Limit = m.capacity, m.limit
	for _, e := range m.entries {
		if e.kind == Static {
			want.Static++
		}
		if e.kind == Blackhole {
			want.Blackhole++
		}
	}
	if got := m.table.Stats(); got != want {
		t.Fatalf("stats %+v, want %+v", got, want)
	}
	for p, n := range ports {
		if got := m.table.PortCount(frame.PortID(p)); got != n {
			t.Fatalf("port %d has %d entries, want %d", p, got, n)
		}
	}
}

// TestTableDoesAsAMap drives the table and the model alike.
func TestTableDoesAsAMap(t *testing.T) {
	ports := rapid.Map(rapid.IntRange(0, modelPorts-1), func(p int) frame.PortID { return frame.PortID(p) })
	stations := rapid.Map(rapid.IntRange(0, modelStations-1), station)
	limits := rapid.IntRange(-1, 6)

	rapid.Check(t, func(t *rapid.T) {
		m := &model{entries: map[Key]modelEntry{}, limit: -1, portLimits: [modelPorts]int{-1, -1, -1, -1}}
		m.capacity = rapid.IntRange(0, 13).Draw(t, "capacity")
		m.now = rapid.IntRange(0, 65535).Draw(t, "now")
		m.swept = m.now
		m.table = New(m.capacity)
		m.watch, m.replayed = m.table.Watch(), map[Key]Change{}
		learn := func(t *rapid.T) {
			k, p := stations.Draw(t, "station"), ports.Draw(t, "port")
			m.order++
			want, evicts := m.learn(k, p)
			if got := m.table.Learn(k, p, m.tick()); got != want {
				t.Fatalf("outcome %d, want %d", got, want)
			}
			switch want {
			case Learned:
				if evicts {
					m.evicted(t)
				}
				m.entries[k] = modelEntry{port: p, heard: m.now, order: m.order}
				m.stats.Learned++
			case Moved:
				m.stats.Moved++
			case Refused:
				m.stats.Refused++
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"learn":      learn,
			"learn more": learn, // most frequent, as in life
			"warp": func(t *rapid.T) {
				m.now += rapid.IntRange(1, 4096).Draw(t, "ticks")
				if m.now-m.swept > 4096 {
					m.now = m.swept + 4096
					m.age(t)
				}
			},
			"age": m.age,
			"ageing": func(t *rapid.T) {
				m.age(t)
				m.ageing = rapid.SampledFrom([]int{0, 1, 100, 5000, int(MaxAgeing)}).Draw(t, "ageing")
				unit := rapid.SampledFrom([]int{1, 2, 7}).Draw(t, "unit")
				rescale := func(age Tick) Tick { return age / Tick(unit) }
				if unit == 1 {
					rescale = nil
				}
				m.retick(func(age int) int { return min(age/unit, int(MaxAgeing)) })
				m.table.SetAgeing(Tick(m.ageing), m.tick(), rescale)
			},
			"limit": func(t *rapid.T) {
				m.limit = limits.Draw(t, "limit")
				m.table.SetLimit(m.limit)
			},
			"port limit": func(t *rapid.T) {
				p, n := ports.Draw(t, "port"), limits.Draw(t, "limit")
				m.portLimits[p] = n
				m.table.SetPortLimit(p, n)
			},
			"add": func(t *rapid.T) {
				k, p := stations.Draw(t, "station"), ports.Draw(t, "port")
				kind := rapid.SampledFrom([]Kind{Static, Blackhole}).Draw(t, "kind")
				_, all := m.dynamic()
				_, known := m.entries[k]
				full := !known && len(m.entries) >= m.capacity
				err := m.table.Add(k, p, kind)
				if want := full && all == 0; errors.Is(err, ErrFull) != want {
					t.Fatalf("Add: %v, want ErrFull %t", err, want)
				}
				if err != nil {
					return
				}
				if full {
					m.evicted(t)
				}
				m.entries[k] = modelEntry{port: p, kind: kind}
			},
			"remove": func(t *rapid.T) {
				k := stations.Draw(t, "station")
				_, known := m.entries[k]
				delete(m.entries, k)
				if got := m.table.Remove(k); got != known {
					t.Fatalf("Remove: %t, want %t", got, known)
				}
			},
			"flush port": func(t *rapid.T) {
				p := ports.Draw(t, "port")
				want := m.remove(func(_ Key, e modelEntry) bool { return e.kind == Dynamic && e.port == p })
				m.stats.Flushed += uint64(want)
				if got := m.table.FlushPort(p); got != want {
					t.Fatalf("FlushPort removed %d, want %d", got, want)
				}
			},
			"flush": func(t *rapid.T) {
				k := stations.Draw(t, "station")
				want := m.remove(func(l Key, e modelEntry) bool { return e.kind == Dynamic && l <= k })
				m.stats.Flushed += uint64(want)
				if got := m.table.Flush(func(r Record) bool { return r.Key <= k }); got != want {
					t.Fatalf("Flush removed %d, want %d", got, want)
				}
			},
			"forget": func(t *rapid.T) {
				p := ports.Draw(t, "port")
				m.stats.Flushed += uint64(m.remove(func(_ Key, e modelEntry) bool { return e.kind == Dynamic && e.port == p }))
				m.remove(func(_ Key, e modelEntry) bool { return e.kind == Static && e.port == p })
				m.portLimits[p] = -1
				m.table.Forget(p)
			},
			"": m.check,
		})
	})
}
