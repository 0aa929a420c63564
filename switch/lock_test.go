package vswitch

import (
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
)

// TestRelayOfKnownStationsTakesNoLock has workers relay between the same
// stations at once, with more threads than processors, and looks for them in
// the mutex profile.
func TestRelayOfKnownStationsTakesNoLock(t *testing.T) {
	defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	// The collector has locks of its own, which a write barrier may meet.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))

	first := bench(t, true, config.DefaultCapacity, trunk("a", 10), trunk("b", 10))
	for port := range 2 {
		first.table.Learn(fdb.MakeKey(10, sta(port)), first.live.Load().ports[port].id, 0)
	}
	var relaying sync.WaitGroup
	for i := range 8 {
		own := bench(t, true, config.MinCapacity, twoPorts()...)
		own.live, own.tick, own.table = first.live, first.tick, first.table
		own.id, own.counters = first.live.Load().ports[i%2].id, first.live.Load().ports[i%2].counters
		own.load(tagged(eth(sta(1-i%2), sta(i%2)), ctag(0, false, 10)))
		relaying.Go(func() {
			for range 5_000 {
				own.relayBatch()
			}
		})
	}
	relaying.Wait()
	if n := first.live.Load().ports[1].counters.transmit.frames.Load(); n != 4*5_000*uint64(first.batch.N) {
		t.Fatalf("%d frames relayed to b", n)
	}

	records := make([]runtime.BlockProfileRecord, 1000)
	n, ok := runtime.MutexProfile(records)
	if !ok {
		t.Fatalf("the profile has %d records", n)
	}
	for _, r := range records[:n] {
		stack := ""
		for frames := runtime.CallersFrames(r.Stack()); ; {
			f, more := frames.Next()
			stack += f.Function + "\n"
			if !more {
				break
			}
		}
		if strings.Contains(stack, "(*worker).relay") {
			t.Errorf("waited for a lock:\n%s", stack)
		}
	}
}
