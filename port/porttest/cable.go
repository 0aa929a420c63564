// Package porttest has ports that need no kernel: the two ends of a cable in
// memory, for tests and benchmarks of what lies between ports.
package porttest

import (
	"bytes"
	"os"
	"sync"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// Cable is a port whose station is the test: frames given to Send are received
// by the switch, frames that the switch transmits are kept for Taken.
type Cable struct {
	in     chan Sent
	takes  frame.Offloads
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex
	taken  []Sent
	refuse frame.DropReason
	gone   bool
}

// Sent is a frame in one direction, with the offload work it owes.
type Sent struct {
	Bytes   []byte
	Offload frame.Offload
}

// AllOffloads is every kind of offload work.
const AllOffloads = frame.OffloadCsum | frame.OffloadTSO4 | frame.OffloadTSO6 | frame.OffloadECN | frame.OffloadUSO

// NewCable makes a cable that holds up to queue frames on their way in, to a
// station that takes over all offload work.
func NewCable(queue int) *Cable { return NewCableOf(queue, AllOffloads) }

// NewCableOf makes one whose station takes over this work.
func NewCableOf(queue int, takes frame.Offloads) *Cable {
	return &Cable{in: make(chan Sent, queue), takes: takes, closed: make(chan struct{})}
}

// Offloads implements port.Transmitter.
func (c *Cable) Offloads() frame.Offloads { return c.takes }

// Send puts a frame on the cable; it waits for room.
func (c *Cable) Send(b []byte) { c.SendOffload(b, frame.Offload{}) }

// SendOffload puts a frame that owes offload work on the cable.
func (c *Cable) SendOffload(b []byte, o frame.Offload) {
	select {
	case c.in <- Sent{bytes.Clone(b), o}:
	case <-c.closed:
	}
}

// Refuse makes every later Transmit fail with the reason; Keep ends that.
func (c *Cable) Refuse(why frame.DropReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = why
}

// Break makes the device go away: ReadBatch returns port.ErrGone.
func (c *Cable) Break() {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.once.Do(func() { close(c.closed) })
}

// Taken returns the frames transmitted since the last call, as they were sent.
func (c *Cable) Taken() []Sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.taken
	c.taken = nil
	return t
}

// ReadBatch implements port.Receiver.
func (c *Cable) ReadBatch(b *frame.Batch) error {
	b.N = 0
	select {
	case s := <-c.in:
		c.fill(b, s)
	case <-c.closed:
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.gone {
			return port.ErrGone
		}
		return os.ErrClosed
	}
	for b.N < frame.BatchSize {
		select {
		case s := <-c.in:
			c.fill(b, s)
		default:
			return nil
		}
	}
	return nil
}

func (c *Cable) fill(b *frame.Batch, s Sent) {
	n := copy(b.Slot(b.N), s.Bytes)
	f := &b.Frames[b.N]
	f.Bytes, f.Offload = b.Slot(b.N)[:n], s.Offload
	b.N++
}

// Transmit implements port.Transmitter.
func (c *Cable) Transmit(out []port.Out) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range out {
		o := &out[i]
		if o.Reason = c.refuse; o.Reason == frame.Keep {
			c.taken = append(c.taken, Sent{Render(o), o.Frame.Offload.Shifted(o.Tag.Growth())})
		}
	}
}

// Render returns the bytes that a port puts on the wire for o.
func Render(o *port.Out) []byte {
	f := o.Frame.Bytes
	tag := []byte{0x81, 0x00, byte(o.TCI >> 8), byte(o.TCI)}
	switch o.Tag {
	case port.TagPush:
		return bytes.Join([][]byte{f[:12], tag, f[12:]}, nil)
	case port.TagPop:
		return bytes.Join([][]byte{f[:12], f[16:]}, nil)
	case port.TagReplace:
		return bytes.Join([][]byte{f[:12], tag, f[16:]}, nil)
	}
	return bytes.Clone(f)
}

// Close implements port.Port.
func (c *Cable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}
