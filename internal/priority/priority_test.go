package priority

import (
	"testing"
	"time"
)

func TestPriorityIsRaisedWhileStarved(t *testing.T) {
	k := newKeeper()
	if k.look(50*time.Millisecond, 90*time.Millisecond) || k.raised {
		t.Fatal("raised without need")
	}
	if !k.look(10*time.Millisecond, 90*time.Millisecond) || !k.raised {
		t.Fatal("not raised although starved")
	}
	n := 1
	for !k.look(90*time.Millisecond, 0) {
		n++
	}
	if k.raised || time.Duration(n)*period != minRaise {
		t.Fatalf("%d periods later: %+v", n, k)
	}
}

func TestPriorityStaysLongerIfStarvedAgainAtOnce(t *testing.T) {
	k := newKeeper()
	for want := minRaise; want <= maxRaise; want *= 2 {
		for !k.look(1, 100) {
		}
		if k.pause != want {
			t.Fatalf("stays %v, want %v", k.pause, want)
		}
		for !k.look(100, 0) {
		}
	}
	for range 2 * maxRaise / period {
		k.look(100, 0)
	}
	if k.pause != minRaise {
		t.Errorf("after a long rest it stays %v", k.pause)
	}
}

func TestThreadsHaveRun(t *testing.T) {
	run, _ := threads()
	if run <= 0 || cpuTime() <= 0 {
		t.Errorf("run %v, CPU time %v", run, cpuTime())
	}
}
