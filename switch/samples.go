package vswitch

import (
	"sync/atomic"
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	// A worker keeps so many dropped frames until they are fetched, so many of one
	// reason and so many bytes of each: whoever makes it drop millions costs no more.
	samplesHeld     = 16
	samplesOfReason = 4
	sampleBytes     = 128
)

// samples are some of the frames that a worker has dropped. They belong to the
// worker as long as it points at them: Switch.fetchSamples puts others in their place.
type samples struct {
	any  atomic.Bool // read while the worker has them
	n    int
	of   [frame.NumDropReasons]uint8
	list [samplesHeld]sample
}

// sample is a dropped frame as it was received.
type sample struct {
	at     time.Time
	port   frame.PortID // at which the drop is counted
	reason frame.DropReason
	stage  Stage
	vid    frame.VID
	length int
	off    frame.Offload
	bytes  [sampleBytes]byte
}

// take keeps f, which is dropped at a port, if there is room.
func (s *samples) take(f *frame.Frame, why frame.DropReason, at frame.PortID, stage Stage, vid frame.VID) {
	if s == nil || s.n == samplesHeld || s.of[why] == samplesOfReason {
		return
	}
	x := &s.list[s.n]
	x.at, x.port, x.reason, x.stage, x.vid, x.length, x.off = time.Now(), at, why, stage, vid, len(f.Bytes), f.Offload
	copy(x.bytes[:], f.Bytes)
	s.n++
	s.of[why]++
	s.any.Store(true)
}

// empty makes room.
func (s *samples) empty() {
	s.n, s.of = 0, [frame.NumDropReasons]uint8{}
	s.any.Store(false)
}
