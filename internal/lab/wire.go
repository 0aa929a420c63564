package lab

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// wireLen is how many frames a wire holds: as many as tc-netem(8) does.
const wireLen = 1000

// wire is one direction of a link on which things go wrong. Frames come out in
// the order in which they went in.
type wire struct {
	from  port.Receiver
	to    port.Transmitter
	dice  dice
	until time.Time // from when on nothing goes wrong; zero is never
	under chan underWay
	counts
}

// underWay is a frame on a wire.
type underWay struct {
	bytes []byte
	due   time.Time
}

type counts struct {
	frames, lost, duplicated, corrupted, overflow, refused atomic.Uint64
}

// WireStats counts frames of one direction of an impaired link.
type WireStats struct {
	Frames     uint64 `json:"frames"` // that came
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Corrupted  uint64 `json:"corrupted"`
	QueueFull  uint64 `json:"queue_full"` // found no room on the wire
	Refused    uint64 `json:"refused"`    // not taken at the far end
}

func newWire(from port.Receiver, to port.Transmitter, d dice, until time.Time) *wire {
	return &wire{from: from, to: to, dice: d, until: until, under: make(chan underWay, wireLen)}
}

func (c *counts) load() WireStats {
	return WireStats{
		Frames: c.frames.Load(), Lost: c.lost.Load(), Duplicated: c.duplicated.Load(),
		Corrupted: c.corrupted.Load(), QueueFull: c.overflow.Load(), Refused: c.refused.Load(),
	}
}

// receive puts frames on the wire until its near end is closed or gone.
func (w *wire) receive() {
	b := frame.NewBatch(make([]byte, frame.BatchSize*frame.SlotLen))
	for w.from.ReadBatch(b) == nil {
		now := time.Now()
		for i := range b.Live() {
			w.take(b.Frames[i].Bytes, now)
		}
	}
}

// take lets the frame meet its fate. It does not keep it.
func (w *wire) take(b []byte, now time.Time) {
	w.frames.Add(1)
	f := fate{flip: -1}
	if w.until.IsZero() || now.Before(w.until) {
		f = w.dice.roll(b)
	}
	if f.lost {
		w.lost.Add(1)
		return
	}
	b = bytes.Clone(b)
	if f.flip >= 0 {
		w.corrupted.Add(1)
		b[f.flip/8] ^= 1 << (f.flip % 8)
	}
	w.put(underWay{b, now.Add(f.delay)})
	if f.duplicated {
		w.duplicated.Add(1)
		w.put(underWay{b, now.Add(f.delay)})
	}
}

func (w *wire) put(f underWay) {
	select {
	case w.under <- f:
	default:
		w.overflow.Add(1)
	}
}

// deliver takes frames off the wire when they are due, until ctx ends. A frame
// waits for those in front of it: the wire does not reorder.
func (w *wire) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-w.under:
			if !waitUntil(ctx, f.due) {
				return
			}
			out := [1]port.Out{{Frame: &frame.Frame{Bytes: f.bytes}}}
			w.to.Transmit(out[:])
			if out[0].Reason != frame.Keep {
				w.refused.Add(1)
			}
		}
	}
}

// waitUntil returns false if ctx ends first.
func waitUntil(ctx context.Context, due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
