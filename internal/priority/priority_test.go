package priority

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPriorityIsRaisedWhileStarved(t *testing.T) {
	k := newKeeper()
	if k.look(50*time.Millisecond, 90*time.Millisecond, 0) || k.raised {
		t.Fatal("raised without need")
	}
	if !k.look(10*time.Millisecond, 90*time.Millisecond, 0) || !k.raised {
		t.Fatal("not raised although starved")
	}
	n := 1
	for !k.look(90*time.Millisecond, 0, 0) {
		n++
	}
	if k.raised || time.Duration(n)*period != minRaise {
		t.Fatalf("%d periods later: %+v", n, k)
	}
}

func TestGoroutinesThatQueueAreStarvedToo(t *testing.T) {
	k := newKeeper()
	if k.look(100, 10, queued-1) || !k.look(100, 10, queued) {
		t.Error("not raised from the length of the queue on")
	}
}

func TestQueueIsOfThoseThatCouldRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var started sync.WaitGroup
	var end atomic.Bool
	defer end.Store(true)
	for range queued + 1 {
		started.Add(1)
		go func() {
			for started.Done(); !end.Load(); {
			}
		}()
	}
	started.Wait()
	if n := queue(); n < queued {
		t.Errorf("%d of %d goroutines are in the queue", n, queued+1)
	}
	runtime.GOMAXPROCS(2)
	if n := queue(); n >= queued {
		t.Errorf("%d in the queue for each of two", n)
	}
}

func TestPriorityStaysLongerIfStarvedAgainAtOnce(t *testing.T) {
	k := newKeeper()
	for want := minRaise; want <= maxRaise; want *= 2 {
		for !k.look(1, 100, 0) {
		}
		if k.pause != want {
			t.Fatalf("stays %v, want %v", k.pause, want)
		}
		for !k.look(100, 0, 0) {
		}
	}
	for range 2 * maxRaise / period {
		k.look(100, 0, 0)
	}
	if k.pause != minRaise {
		t.Errorf("after a long rest it stays %v", k.pause)
	}
}

func TestAllCPUsWhileBusyOrStarved(t *testing.T) {
	if os.Getenv("GOMAXPROCS") != "" {
		t.Skip("GOMAXPROCS is set")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	Half()
	defer func() { cpus.few = 0 }()
	on := func(want int, when string) {
		t.Helper()
		if got := runtime.GOMAXPROCS(0); got != want {
			t.Errorf("%s: on %d CPUs, want %d", when, got, want)
		}
	}
	on(2, "by itself")
	one, two := Busy(), Busy()
	on(4, "busy")
	one()
	on(4, "still busy")
	two()
	on(2, "no longer")
	settle(func() { cpus.starved = true })
	Busy()()
	on(4, "starved")
	settle(func() { cpus.starved = false })
	on(2, "at the end")
}

func TestThreadsHaveRun(t *testing.T) {
	run, _ := threads()
	if run <= 0 || cpuTime() <= 0 {
		t.Errorf("run %v, CPU time %v", run, cpuTime())
	}
}
