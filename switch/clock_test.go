package vswitch

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// knownAfter reports whether, after the time, a frame to station 2 at port b is
// sent to b alone.
func knownAfter(r *rig, d time.Duration) bool {
	r.Helper()
	time.Sleep(d)
	r.send("a", eth(sta(2), sta(1)))
	r.cables["b"].Taken()
	return len(r.cables["c"].Taken()) == 0
}

func TestAgeing(t *testing.T) {
	for _, seconds := range []int{config.MinAgeing, config.DefaultAgeing, 50_000, config.MaxAgeing} {
		synctest.Test(t, func(t *testing.T) {
			r := plain(t)
			if err := r.SetFDB(FDBSettings{Ageing: &seconds}); err != nil {
				t.Fatal(err)
			}
			ageing, unit := time.Duration(seconds)*time.Second, r.clock.unit
			r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
			if !knownAfter(r, ageing-2*unit) {
				t.Errorf("ageing %v: forgotten early", ageing)
			}
			r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c") // it speaks again
			if !knownAfter(r, ageing-2*unit) {
				t.Errorf("ageing %v: not refreshed by its own frame", ageing)
			}
			if knownAfter(r, 4*unit) {
				t.Errorf("ageing %v: still known later, though only spoken to", ageing)
			}
			time.Sleep(ageing / 4) // a sweep
			if s, _ := r.FDBStats(); s.Aged == 0 {
				t.Errorf("ageing %v: nothing was counted as aged", ageing)
			}
		})
	}
}

func TestAgeingZeroIsNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := plain(t)
		never := 0
		if err := r.SetFDB(FDBSettings{Ageing: &never}); err != nil {
			t.Fatal(err)
		}
		r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
		for range 4 {
			if !knownAfter(r, 20*time.Hour) { // the tick wraps after 18
				t.Fatal("forgotten")
			}
		}
	})
}

func TestChangedAgeingTimeKeepsAges(t *testing.T) {
	for _, between := range [][]int{{config.DefaultAgeing}, {20_000, config.DefaultAgeing}, {config.MaxAgeing, config.DefaultAgeing}} {
		synctest.Test(t, func(t *testing.T) {
			r := plain(t)
			r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
			if !knownAfter(r, 200*time.Second) {
				t.Error("forgotten early")
			}
			for _, seconds := range between {
				if err := r.SetFDB(FDBSettings{Ageing: &seconds}); err != nil {
					t.Fatal(err)
				}
			}
			// An age is rounded down to the longer unit, 62 s for the longest time.
			if knownAfter(r, (104+62)*time.Second) {
				t.Errorf("ageing set to %v made the station young again", between)
			}
		})
	}
}

func TestClockThatJumpsMakesNobodyYoung(t *testing.T) {
	for _, hours := range []time.Duration{1, 9, 18, 19, 100} {
		synctest.Test(t, func(t *testing.T) {
			r := plain(t)
			r.flooded("b", eth(frame.Broadcast, sta(2)), "a", "c")
			r.mu.Lock()
			r.clock.start = r.clock.start.Add(-hours * time.Hour) // as if stopped for so long
			r.mu.Unlock()
			if knownAfter(r, 2*time.Second) {
				t.Errorf("known after %d hours", hours)
			}
		})
	}
}

func TestAgeingOutOfRangeIsRefused(t *testing.T) {
	r := plain(t)
	for _, seconds := range []int{-1, 1, 9, 1_000_001} {
		if r.SetFDB(FDBSettings{Ageing: &seconds}) == nil {
			t.Errorf("%d s accepted", seconds)
		}
	}
}
