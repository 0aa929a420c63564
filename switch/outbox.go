package vswitch

import (
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// outboxSize is how many copies are held before an early flush.
const outboxSize = 256

// outbox gathers the copies that one batch makes, so that each egress port
// gets them in one Transmit and its counters one addition. Copies for a port
// stay in the order they were added: the order of a flow is kept.
type outbox struct {
	n       int
	copies  [outboxSize]port.Out
	next    [outboxSize]uint16       // the following copy for the same port, 1 + index; 0 ends
	first   [frame.MaxPorts]uint16   // by port, 1 + index; 0 if it has none
	last    [frame.MaxPorts]uint16   // by port, 1 + index; valid if first is
	touched [outboxSize]frame.PortID // ports that have copies
	nPorts  int
	run     [outboxSize]port.Out
	sampler sampler
	samples *samples // nil if nobody wants any
}

// add queues o for port id, flushing first if there is no room left.
func (b *outbox) add(s *snapshot, id frame.PortID, o port.Out) {
	if b.n == outboxSize {
		b.flush(s)
	}
	b.copies[b.n], b.next[b.n] = o, 0
	b.n++
	at := uint16(b.n)
	if b.first[id] == 0 {
		b.first[id] = at
		b.touched[b.nPorts] = id
		b.nPorts++
	} else {
		b.next[b.last[id]-1] = at
	}
	b.last[id] = at
}

// flush hands every port its copies and counts what became of them.
func (b *outbox) flush(s *snapshot) {
	for _, id := range b.touched[:b.nPorts] {
		p, n := s.ports[id], 0
		for at := b.first[id]; at != 0; at = b.next[at-1] {
			b.run[n] = b.copies[at-1]
			n++
		}
		b.transmit(p, b.run[:n])
		b.first[id] = 0
	}
	b.n, b.nPorts = 0, 0
}

// transmit sends a run of copies by one port: one atomic addition per counter
// and run, whatever the number of workers that send by the port.
func (b *outbox) transmit(p *portConfig, run []port.Out) {
	b.sampler.transmit(p, run)
	var t tally
	for i := range run {
		o := &run[i]
		if o.Reason != frame.Keep {
			b.lose(p, o, o.Reason)
			continue
		}
		t.frames++
		t.bytes += uint64(o.Len())
		t.class(o.Frame.Dst)
	}
	p.counters.transmit.add(&t)
}

// lose counts a copy that port p does not send.
func (b *outbox) lose(p *portConfig, o *port.Out, why frame.DropReason) {
	p.counters.dropped[why].Add(1)
	b.samples.take(o.Frame, why, p.id, StageEgress, o.TCI.VID())
}
