package lab

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// fate is what becomes of one frame.
type fate struct {
	lost, duplicated bool
	delay            time.Duration
	flip             int // number of the bit that comes out wrong; -1 for none
}

// dice decide the fate of the frames of one direction of a link, one after the
// other.
type dice struct {
	config.Impair
	random *rand.Rand
}

// newDice makes those of a wire, whose name keeps two wires with one seed from
// losing the same frames.
func newDice(m config.Impair, wire string) dice {
	h := fnv.New64a()
	_, _ = io.WriteString(h, wire) // A hash takes all.
	source := rand.NewPCG(uint64(m.Seed), h.Sum64())
	return dice{m, rand.New(source)} //nolint:gosec // It is to be foreseen.
}

// roll draws as much for each frame whatever the outcome, so that the fate of the
// n-th frame depends on nothing but seed, wire and n, and on the frame's length
// which of its bits is wrong.
func (d *dice) roll(b []byte) fate {
	loss, duplicate, corrupt := d.random.Float64(), d.random.Float64(), d.random.Float64()
	bit, jitter := d.random.Float64(), d.random.Float64()
	f := fate{lost: loss*100 < float64(d.Loss), duplicated: duplicate*100 < float64(d.Duplicate), flip: -1}
	f.delay = max(0, time.Duration(d.Delay)+time.Duration((2*jitter-1)*float64(d.Jitter)))
	if from := payload(b); corrupt*100 < float64(d.Corrupt) && from < len(b) {
		f.flip = from*8 + int(bit*float64(8*(len(b)-from)))
	}
	return f
}

// payload is where the part of a frame begins that may be wrong: behind addresses,
// C-TAG and EtherType, so that it still goes where it should and it is the
// station's checksum that is put to the test.
func payload(b []byte) int {
	f := frame.Frame{Bytes: b}
	if f.Parse(); f.Tagged {
		return frame.TaggedLen
	}
	return frame.HeaderLen
}
