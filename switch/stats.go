package vswitch

import (
	"sync/atomic"

	"github.com/vswitchd/vswitchd/frame"
)

// counters of one port. The receive side is written by the port's worker, once
// a batch; the transmit side by every worker that sends by the port, once a
// run. A super-frame counts as one frame; bytes leave out FCS and offload
// header.
type counters struct {
	receive traffic
	relayed atomic.Uint64 // frames received and sent on to at least one port
	copies  atomic.Uint64 // copies made of them
	flooded [NumCauses]atomic.Uint64
	_       [64]byte // keeps other ports' workers off the receive side's cache lines

	transmit traffic
	dropped  [frame.NumDropReasons]atomic.Uint64
	sampled  sampled // what transmitting has cost
}

type traffic struct{ frames, bytes, multicast, broadcast atomic.Uint64 }

func (c *traffic) add(t *tally) {
	if t.frames == 0 {
		return
	}
	c.frames.Add(t.frames)
	c.bytes.Add(t.bytes)
	if t.multicast != 0 {
		c.multicast.Add(t.multicast)
	}
	if t.broadcast != 0 {
		c.broadcast.Add(t.broadcast)
	}
}

// tally is what one batch adds up before it touches an atomic.
type tally struct {
	frames, bytes, multicast, broadcast uint64
	relayed, copies                     uint64
	flooded                             [NumCauses]uint64
}

func (t *tally) received(f *frame.Frame) {
	t.frames++
	t.bytes += uint64(len(f.Bytes))
}

func (t *tally) class(dst frame.MAC) {
	if !dst.IsGroup() {
		return
	}
	if dst == frame.Broadcast {
		t.broadcast++
		return
	}
	t.multicast++
}

// settle moves the tally to the ingress port's counters.
func (t *tally) settle(c *counters) {
	c.receive.add(t)
	if t.relayed != 0 {
		c.relayed.Add(t.relayed)
		c.copies.Add(t.copies)
	}
	for i, n := range t.flooded {
		if n != 0 {
			c.flooded[i].Add(n)
		}
	}
	*t = tally{}
}

// Traffic counts frames in one direction of a port, as the switch sees it:
// received from the station, or transmitted to it.
type Traffic struct {
	Frames    uint64 `json:"frames"`
	Bytes     uint64 `json:"bytes"`
	Multicast uint64 `json:"multicast"` // broadcast not included
	Broadcast uint64 `json:"broadcast"`
}

// PortStats are the counters of one port. At rest the books balance:
// Receive.Frames = Relayed + ingress drops, and, over all ports and what has
// departed, the Copies = Transmit.Frames + egress drops.
type PortStats struct {
	Receive  Traffic
	Transmit Traffic
	Relayed  uint64
	Copies   uint64
	Flooded  [NumCauses]uint64
	Dropped  [frame.NumDropReasons]uint64
}

// load reads the counters. Those of a later stage are read first, so that a
// reading under load never shows more frames relayed than received.
func (c *counters) load() (s PortStats) {
	for i := range s.Dropped {
		s.Dropped[i] = c.dropped[i].Load()
	}
	s.Transmit = c.transmit.load()
	for i := range s.Flooded {
		s.Flooded[i] = c.flooded[i].Load()
	}
	s.Copies = c.copies.Load()
	s.Relayed = c.relayed.Load()
	s.Receive = c.receive.load()
	return s
}

func (c *traffic) load() Traffic {
	return Traffic{c.frames.Load(), c.bytes.Load(), c.multicast.Load(), c.broadcast.Load()}
}

// Add sums two ports' figures.
func (s *PortStats) Add(o PortStats) {
	s.Receive.add(o.Receive)
	s.Transmit.add(o.Transmit)
	s.Relayed += o.Relayed
	s.Copies += o.Copies
	for i, n := range o.Flooded {
		s.Flooded[i] += n
	}
	for i, n := range o.Dropped {
		s.Dropped[i] += n
	}
}

func (t *Traffic) add(o Traffic) {
	t.Frames += o.Frames
	t.Bytes += o.Bytes
	t.Multicast += o.Multicast
	t.Broadcast += o.Broadcast
}

// DroppedAt sums the drops counted at one side of the port, without the
// kernel's, which were never received.
func (s *PortStats) DroppedAt(d frame.Direction) (n uint64) {
	for r := frame.Keep + 1; r < frame.NumDropReasons; r++ {
		if r.Direction() == d && r != frame.DropKernelQueue {
			n += s.Dropped[r]
		}
	}
	return n
}
