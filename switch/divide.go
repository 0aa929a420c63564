package vswitch

import (
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

const (
	// segmentsHeld is how many segments are rendered before a flush: a TCP
	// super-frame of 64 KiB has 45.
	segmentsHeld = 64
	// segmentRoom is the memory for them: more than the longest frame, and all
	// segments of an ordinary super-frame.
	segmentRoom = 2 * frame.SlotLen
)

// divider cuts super-frames for the ports that do not take them, once for all of
// those: each segment is rendered into memory of the worker's and from there sent
// like any frame.
type divider struct {
	wanted   bool
	ports    PortSet // that want the frame at hand; empty unless wanted
	segments [segmentsHeld]frame.Frame
	n        int
	memory   []byte // segmentRoom bytes
	free     []byte // the rest of it
}

// want notes that port id needs the frame at hand divided.
func (d *divider) want(id frame.PortID) {
	d.wanted = true
	d.ports.Add(id)
}

// reuse forgets the segments, which have been sent.
func (d *divider) reuse() { d.n, d.free = 0, d.memory }

// next renders the next segment, or returns nil if there is no room.
func (d *divider) next(from *frame.Segments) *frame.Frame {
	if d.n == segmentsHeld {
		return nil
	}
	f := &d.segments[d.n]
	rest, ok := from.Next(f, d.free)
	if !ok {
		return nil
	}
	d.n++
	d.free = rest
	return f
}

// divide sends the segments of f to the ports that want it divided.
func (w *worker) divide(s *snapshot, f *frame.Frame) {
	defer w.divider.served()
	segments, ok := frame.SegmentsOf(f)
	if !ok {
		for id := range w.divider.ports.All() {
			w.tally.copies++
			w.outbox.lose(s.ports[id], &port.Out{Frame: f, TCI: w.verdict.TCI}, frame.DropTransmitError)
		}
		return
	}
	for !segments.Done() {
		segment := w.divider.next(&segments)
		if segment == nil {
			w.flush(s)
			continue
		}
		for id := range w.divider.ports.All() {
			w.add(s, id, port.Out{Frame: segment, TCI: w.verdict.TCI, Tag: tagAction(s, id, segment, &w.verdict)})
		}
	}
}

// served empties the set of ports for the next frame.
func (d *divider) served() { d.wanted, d.ports = false, PortSet{} }
