package fdb

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

// filled returns a table with n random stations and the stations, shuffled.
func filled(tb testing.TB, n int) (*Table, []Key) {
	tb.Helper()
	t, keys := New(n), randomKeys(n)
	for i, k := range keys {
		if got := t.Learn(k, frame.PortID(i%16), 0); got != Learned {
			tb.Fatalf("station %d of %d: %d, want Learned", i, n, got)
		}
	}
	rand.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	return t, keys
}

// randomKey returns a station of a random VLAN with a random address.
func randomKey() Key {
	return MakeKey(rand.N(frame.VIDMax)+1, frame.MACFromUint64(rand.Uint64()&^uint64(groupBit)|2<<40))
}

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{1_000, 16_384, 1_048_576} {
		t, keys := filled(b, n)
		absent := randomKeys(n)
		b.Run(fmt.Sprintf("hit/entries=%d", n), func(b *testing.B) { benchmarkLookup(b, t, keys, true) })
		b.Run(fmt.Sprintf("miss/entries=%d", n), func(b *testing.B) { benchmarkLookup(b, t, absent, false) })
	}
}

func benchmarkLookup(b *testing.B, t *Table, keys []Key, want bool) {
	b.Helper()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := t.Lookup(keys[i], 0); ok != want {
			b.Fatal("wrong answer")
		}
		if i++; i == len(keys) {
			i = 0
		}
	}
}

func BenchmarkLearn(b *testing.B) {
	const n = 16_384
	known := func(i int) (frame.PortID, Tick) { return 1, Tick(i / n) }
	for name, c := range map[string]struct {
		want Outcome
		at   func(i int) (frame.PortID, Tick)
	}{
		"refresh/same-tick": {Refreshed, func(int) (frame.PortID, Tick) { return 1, 0 }},
		"refresh/new-tick":  {Refreshed, known},
		"move":              {Moved, func(i int) (frame.PortID, Tick) { return frame.PortID(i/n) & 1, 0 }},
	} {
		b.Run(name, func(b *testing.B) {
			t := New(n)
			benchmarkLearn(b, t, learnAll(t, n, 1), c.want, c.at)
		})
	}
	b.Run("refused", func(b *testing.B) {
		t := New(n)
		learnAll(t, n, 1)
		benchmarkLearn(b, t, randomKeys(n), Refused, known)
	})
	b.Run("new", func(b *testing.B) {
		t, keys := New(n), randomKeys(n)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i == n {
				b.StopTimer()
				t.FlushPort(1)
				i = 0
				b.StartTimer()
			}
			if t.Learn(keys[i], 1, 0) != Learned {
				b.Fatal("not learned")
			}
			i++
		}
	})
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprintf("new-evicting-then-move/watched=%t", watched), func(b *testing.B) { benchmarkEviction(b, n, watched) })
	}
}

// benchmarkEviction has stations take the place of one of port 1, and a move
// give port 1 its share back.
func benchmarkEviction(b *testing.B, n int, watched bool) {
	b.Helper()
	t, keys := New(n), randomKeys(4*n)
	learnAll(t, n, 1)
	if watched {
		defer t.Watch().Close()
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		k := keys[i%len(keys)]
		if t.Learn(k, 2, 0) != Learned || t.Learn(k, 1, 0) != Moved {
			b.Fatal("not learned and moved")
		}
		i++
	}
}

// learnAll learns n random stations at port p.
func learnAll(t *Table, n int, p frame.PortID) []Key {
	keys := randomKeys(n)
	for _, k := range keys {
		t.Learn(k, p, 0)
	}
	return keys
}

func randomKeys(n int) []Key {
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = randomKey()
	}
	return keys
}

func benchmarkLearn(b *testing.B, t *Table, keys []Key, want Outcome, at func(i int) (frame.PortID, Tick)) {
	b.Helper()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p, now := at(i)
		if got := t.Learn(keys[i%len(keys)], p, now); got != want {
			b.Fatalf("outcome %d, want %d", got, want)
		}
		i++
	}
}
