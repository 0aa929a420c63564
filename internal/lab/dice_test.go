package lab

import (
	"slices"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
)

func rolls(m config.Impair, wire string, n int) []fate {
	d := newDice(m, wire)
	fates := make([]fate, n)
	for i := range fates {
		fates[i] = d.roll(make([]byte, 60))
	}
	return fates
}

func lost(fates []fate) (which []int) {
	for i, f := range fates {
		if f.lost {
			which = append(which, i)
		}
	}
	return which
}

func TestSameSeedIsTheSameFate(t *testing.T) {
	m := config.Impair{Loss: 10, Duplicate: 10, Corrupt: 10, Delay: config.Duration(time.Second), Jitter: config.Duration(time.Second), Seed: 7}
	first := rolls(m, "web receive", 1000)
	if !slices.Equal(first, rolls(m, "web receive", 1000)) {
		t.Error("a second run is another")
	}
	for what, other := range map[string][]fate{
		"another seed": rolls(config.Impair{Loss: 10, Seed: 8}, "web receive", 1000),
		"another wire": rolls(config.Impair{Loss: 10, Seed: 7}, "web transmit", 1000),
	} {
		if slices.Equal(lost(first), lost(other)) {
			t.Errorf("%s loses the same frames", what)
		}
	}
}

// So that one thing can be changed without another run being incomparable.
func TestLossDoesNotDependOnTheRest(t *testing.T) {
	all := rolls(config.Impair{Loss: 10, Duplicate: 50, Corrupt: 50, Jitter: config.Duration(time.Second), Seed: 7}, "w", 1000)
	if alone := rolls(config.Impair{Loss: 10, Seed: 7}, "w", 1000); !slices.Equal(lost(all), lost(alone)) {
		t.Error("other frames are lost")
	}
}

func TestFatesHaveTheirShares(t *testing.T) {
	const n = 10_000
	m := config.Impair{Loss: 10, Duplicate: 20, Corrupt: 30, Delay: config.Duration(10 * time.Millisecond), Jitter: config.Duration(5 * time.Millisecond)}
	var lost, duplicated, corrupted int
	least, most := time.Hour, time.Duration(0)
	for _, f := range rolls(m, "w", n) {
		if f.lost {
			lost++
		}
		if f.duplicated {
			duplicated++
		}
		if f.flip >= 0 {
			corrupted++
		}
		least, most = min(least, f.delay), max(most, f.delay)
	}
	// Six standard deviations of a binomial distribution are below 300 here.
	for _, s := range []struct {
		what      string
		got, want int
	}{{"lost", lost, n / 10}, {"duplicated", duplicated, n / 5}, {"corrupted", corrupted, n * 3 / 10}} {
		if s.got < s.want-300 || s.got > s.want+300 {
			t.Errorf("%d frames %s, want some %d", s.got, s.what, s.want)
		}
	}
	if least < 5*time.Millisecond || least > 6*time.Millisecond || most > 15*time.Millisecond || most < 14*time.Millisecond {
		t.Errorf("delays from %v to %v, want 5ms to 15ms", least, most)
	}
}

func TestNeverAndAlways(t *testing.T) {
	for _, f := range rolls(config.Impair{Seed: 1}, "w", 1000) {
		if f != (fate{flip: -1}) {
			t.Fatalf("%+v on a perfect link", f)
		}
	}
	for _, f := range rolls(config.Impair{Loss: 100, Duplicate: 100, Corrupt: 100}, "w", 1000) {
		if !f.lost || !f.duplicated || f.flip < 0 {
			t.Fatalf("%+v where it is always", f)
		}
	}
}

func TestCorruptionSparesTheMACHeader(t *testing.T) {
	tagged := make([]byte, 60)
	tagged[12], tagged[13] = 0x81, 0
	for _, tt := range []struct {
		frame []byte
		from  int
	}{{make([]byte, 60), 14}, {tagged, 18}} {
		d := newDice(config.Impair{Corrupt: 100}, "w")
		hit := map[int]bool{}
		for range 10_000 {
			f := d.roll(tt.frame)
			hit[f.flip] = true
			if f.flip < tt.from*8 || f.flip >= 60*8 {
				t.Fatalf("bit %d of a frame with a header of %d bytes", f.flip, tt.from)
			}
		}
		if want := (60 - tt.from) * 8; len(hit) != want {
			t.Errorf("%d bits were ever wrong, want %d", len(hit), want)
		}
	}
	d := newDice(config.Impair{Corrupt: 100}, "w")
	if f := d.roll(make([]byte, 14)); f.flip != -1 {
		t.Errorf("bit %d of a frame without payload", f.flip)
	}
}
