package vswitch

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// null is a port that takes every frame and keeps none.
type null struct{ port.Receiver }

func (null) Transmit(out []port.Out) {
	for i := range out {
		out[i].Reason = frame.Keep
	}
}

func (null) Offloads() frame.Offloads { return porttest.AllOffloads }

func (null) Close() error { return nil }

// bench is one worker without its goroutine, on a switch whose ports take
// everything.
func bench(tb testing.TB, aware bool, capacity int, ports ...config.Port) *worker {
	tb.Helper()
	s := &Switch{vlanAware: aware, table: fdb.New(capacity)}
	s.table.SetAgeing(300, 0, nil)
	s.live.Store(&snapshot{vlanAware: aware})
	for i, p := range ports {
		a := &attached{id: frame.PortID(i), cfg: p.Resolved(), link: upLink, counters: &counters{}, port: null{}}
		s.publish(a.id, s.compile(a))
	}
	w := &worker{live: &s.live, tick: &s.tick, table: s.table, counters: s.live.Load().ports[0].counters}
	w.batch = frame.NewBatch(make([]byte, frame.BatchSize*frame.SlotLen))
	w.batch.N = frame.BatchSize
	return w
}

func (w *worker) load(frames ...[]byte) {
	for i := range w.batch.N {
		w.batch.Frames[i] = frame.Frame{Bytes: frames[i%len(frames)]}
	}
}

func (w *worker) perFrame(b *testing.B) {
	b.Helper()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		w.relayBatch()
		n += w.batch.N
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/frame")
	b.ReportMetric(0, "ns/op")
}

func twoPorts() []config.Port { return []config.Port{{Name: "a"}, {Name: "b"}} }

func BenchmarkRelay(b *testing.B) {
	b.Run("unicast", func(b *testing.B) {
		w := bench(b, false, config.DefaultCapacity, twoPorts()...)
		w.table.Learn(fdb.MakeKey(0, sta(2)), 1, 0)
		w.load(eth(sta(2), sta(1)))
		w.perFrame(b)
	})
	b.Run("tagged", func(b *testing.B) {
		w := bench(b, true, config.DefaultCapacity, trunk("t", 10), access("a", 10))
		w.table.Learn(fdb.MakeKey(10, sta(2)), 1, 0)
		w.load(tagged(eth(sta(2), sta(1)), ctag(0, false, 10)))
		w.perFrame(b)
	})
	for _, n := range []int{4, 64, 1024} {
		b.Run(fmt.Sprintf("flood/ports=%d", n), func(b *testing.B) {
			var ports []config.Port
			for i := range n {
				ports = append(ports, config.Port{Name: fmt.Sprintf("p%d", i)})
			}
			w := bench(b, false, config.DefaultCapacity, ports...)
			w.load(eth(frame.Broadcast, sta(1)))
			w.perFrame(b)
		})
	}
}

// BenchmarkPublish is what a change of one port costs the rest: a snapshot.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{10, 100, frame.MaxPorts} {
		b.Run(fmt.Sprintf("ports=%d", n), func(b *testing.B) {
			s := &Switch{}
			s.live.Store(&snapshot{})
			var last *attached
			for id := range frame.PortID(n) {
				last = &attached{id: id, cfg: config.Port{Name: fmt.Sprint("p", id)}.Resolved(), link: upLink, counters: &counters{}, port: null{}}
				s.publish(id, s.compile(last))
			}
			b.ReportAllocs()
			for b.Loop() {
				s.publish(last.id, s.compile(last))
			}
		})
	}
}

// BenchmarkDecide takes frames between stations spread over the whole table
// through everything but the delivery: parse, decide, tables and learning. The
// batches lie in one piece, as what a worker has just read does.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("addresses=%d", n), func(b *testing.B) {
			w := bench(b, true, max(n, config.DefaultCapacity), trunk("a", 10), trunk("b", 10))
			station := func(i int) frame.MAC { return frame.MACFromUint64(0x020000000000 | uint64(i)) }
			for i := range n {
				w.table.Learn(fdb.MakeKey(10, station(i)), frame.PortID(i%2), 0)
			}
			const size = 64
			memory := make([]byte, n*size)
			for i := range n {
				copy(memory[i*size:], tagged(eth(station(rand.IntN(n/2)*2+1), station(rand.IntN(n/2)*2)), ctag(0, false, 10)))
			}
			s := w.live.Load()
			b.ReportAllocs()
			done, next := 0, 0
			for b.Loop() {
				for i := range w.batch.N {
					w.batch.Frames[i] = frame.Frame{Bytes: memory[next*size : next*size+size]}
					if next++; next == n {
						next = 0
					}
				}
				if w.table.Large() {
					w.foresee(s, s.ports[0])
				}
				for i := range w.batch.Live() {
					f := &w.batch.Frames[i]
					f.Parse()
					decide(s, w.table, s.ports[0], f, 0, &w.verdict)
					if w.verdict.Learn {
						w.table.Learn(fdb.MakeKey(w.verdict.VID, f.Src), 0, 0)
					}
					if w.verdict.Reason != frame.Keep {
						b.Fatal(w.verdict.Reason)
					}
				}
				done += w.batch.N
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(done), "ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func TestRelayDoesNotAllocate(t *testing.T) {
	w := bench(t, true, config.DefaultCapacity, trunk("t", 10), access("a", 10), access("b", 10))
	w.table.Learn(fdb.MakeKey(10, sta(2)), 1, 0)
	for name, f := range map[string][]byte{
		"unicast": tagged(eth(sta(2), sta(1)), ctag(0, false, 10)),
		"flood":   tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 10)),
		"drop":    eth(sta(2), sta(1)),
	} {
		w.load(f)
		if n := testing.AllocsPerRun(100, w.relayBatch); n != 0 {
			t.Errorf("%s: %v allocations a batch", name, n)
		}
	}
}

func TestRelayOverALargeTableIsTheSame(t *testing.T) {
	w := bench(t, true, config.DefaultCapacity, trunk("t", 10), access("a", 10))
	for i := range 8192 {
		w.table.Learn(fdb.MakeKey(10, frame.MACFromUint64(0x020000000000|uint64(i))), 1, 0)
	}
	if !w.table.Large() {
		t.Fatal("8192 stations are not a large table")
	}
	known := tagged(eth(frame.MACFromUint64(0x020000000007), sta(1)), ctag(0, false, 10))
	w.load(known, known[:9], tagged(eth(frame.Broadcast, sta(1)), ctag(0, false, 11)), nil)
	if n := testing.AllocsPerRun(10, w.relayBatch); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	w.id = 7 // as if its port were being removed
	w.relayBatch()
	c := w.counters
	quarter := uint64(frame.BatchSize / 4)
	if short, foreign, gone := c.dropped[frame.DropTooShort].Load(), c.dropped[frame.DropIngressFilter].Load(), c.dropped[frame.DropIngressState].Load(); short != 22*quarter || foreign != 11*quarter || gone != frame.BatchSize {
		t.Errorf("dropped %d as too short, %d of a foreign VLAN, %d of no port; want %d, %d, %d", short, foreign, gone, 22*quarter, 11*quarter, frame.BatchSize)
	}
}

func TestRelayOfNewStationsDoesNotAllocate(t *testing.T) {
	for _, watched := range []bool{false, true} {
		w := bench(t, false, config.MinCapacity, twoPorts()...)
		if watched {
			defer w.table.Watch().Close()
		}
		src := uint64(2 << 40)
		f := eth(frame.Broadcast, sta(1))
		if n := testing.AllocsPerRun(10*config.MinCapacity, func() {
			src++
			mac := frame.MACFromUint64(src)
			copy(f[6:], mac[:])
			w.batch.Frames[0] = frame.Frame{Bytes: f}
			w.batch.N = 1
			w.relayBatch()
		}); n != 0 {
			t.Errorf("watched %t: %v allocations a station", watched, n)
		}
		if s := w.table.Stats(); s.Learned == 0 || s.Refused == 0 {
			t.Errorf("%+v: learning or refusing was not exercised", s)
		}
	}
}
