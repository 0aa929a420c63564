package port

import (
	"encoding/binary"
	"sync"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	lengthLen = 4 // of the length before each frame

	// halfQueue is the size of each half of an outQueue in bytes: room for seven
	// super-frames, or some 4 ms at 1 Gbit/s.
	halfQueue = 512 << 10
)

// outQueue holds rendered frames until the station takes them: a half that is
// filled while the other is being written, so that each write to the socket
// takes all that has come since the last one. Full, it drops the newest.
type outQueue struct {
	mu   sync.Mutex // guards open and fill; never held over a system call
	open bool
	fill []byte
	idle []byte        // the writer's
	wake chan struct{} // holds a token if there may be something in fill
}

func newOutQueue() outQueue {
	return outQueue{
		fill: make([]byte, 0, halfQueue), idle: make([]byte, 0, halfQueue),
		wake: make(chan struct{}, 1),
	}
}

// Transmit is described at Transmitter. It waits for other goroutines that
// transmit by the same port to copy their frames, never for the station.
func (s *socket) Transmit(out []Out) {
	q := &s.out
	q.mu.Lock()
	for i := range out {
		out[i].Reason = q.add(&out[i])
	}
	q.mu.Unlock()
	q.wakeUp()
}

// wakeUp has the writer look.
func (q *outQueue) wakeUp() {
	select {
	case q.wake <- struct{}{}:
	default: // It is going to.
	}
}

// Offloads is described at Transmitter: behind a socket there is only the wire.
func (s *socket) Offloads() frame.Offloads { return 0 }

// add renders the frame into the queue, its length in front.
func (q *outQueue) add(o *Out) frame.DropReason {
	n := o.Len()
	switch {
	case !q.open:
		return frame.DropLinkDown
	case len(q.fill)+lengthLen+n > cap(q.fill):
		return frame.DropQueueFull
	}
	q.fill = binary.BigEndian.AppendUint32(q.fill, uint32(n))
	var front [frame.AddressesLen + frame.TagLen]byte
	head, skip := o.front(front[:])
	q.fill = append(q.fill, front[:head]...)
	q.fill = append(q.fill, o.Frame.Bytes[skip:]...)
	return frame.Keep
}

// begin lets frames in.
func (q *outQueue) begin() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = true
}

// finish lets no more frames in and returns how many it throws away. The writer
// has ended.
func (q *outQueue) finish() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := records(q.fill, 0)
	q.open, q.fill = false, q.fill[:0]
	return n
}

// take returns what was added since the last take; it is the caller's until the
// next.
func (q *outQueue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.fill, q.idle = q.idle[:0], q.fill
	return q.idle
}

// write takes frames to the station until the connection ends.
func (s *Stream) write(c *connection) {
	for {
		select {
		case <-c.done:
			return
		case <-s.out.wake:
		}
		b := s.out.take()
		if len(b) == 0 {
			continue
		}
		if n, err := c.Write(b); err != nil {
			s.lost.Add(records(b, n))
			s.end(c, endOf(err, lengthLen))
			return
		}
	}
}

// records counts the frames in b that do not end within the first n bytes.
func records(b []byte, n int) (left uint64) {
	for at := 0; at < len(b); {
		at += lengthLen + int(binary.BigEndian.Uint32(b[at:]))
		if at > n {
			left++
		}
	}
	return left
}
