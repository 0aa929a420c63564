package port

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// StreamConfig says where a Stream meets its station: one of Listen and Dial.
type StreamConfig struct {
	Listen string // path of a socket to make and wait at, for one station at a time
	Dial   string // path of a socket to connect to, again whenever that is lost
	MTU    int    // bytes; only what Link says, nobody can be told of it
}

// Stream is a Port over a unix socket with the framing of QEMU's `-netdev
// stream`: the length of the frame in four bytes, big-endian, then the frame.
// Its link is up while a station is connected. Frames owe no offload work, in
// either direction.
//
// Transmit copies frames into a queue of fixed size, which a goroutine per
// connection writes to the socket. A frame counts as transmitted once it is in
// there; frames lost with a connection that ends are SocketInfo.Lost.
type Stream struct {
	socket
	listener *net.UnixListener // nil with Dial
	clients  chan net.Conn     // accepted and handed to run
	arrived  chan *connection  // handed to ReadBatch

	rx *connection // ReadBatch's
	in *bufio.Reader

	refused atomic.Uint64
}

var _ Port = (*Stream)(nil)

// End says why a connection has ended.
type End uint8

// The reasons. A connection that Close ends has none.
const (
	EndClosed    End = iota // the station closed it, between two frames
	EndTruncated            // the station closed it within a frame
	EndTooShort             // a length below that of a MAC header
	EndTooLong              // a length above that of the largest frame
	EndError                // reading or writing failed
	NumEnds
)

// String returns the reason's name, such as "too_long".
func (e End) String() string {
	return [NumEnds]string{"closed", "truncated", "too_short", "too_long", "error"}[e]
}

// connection is one meeting with a station.
type connection struct {
	net.Conn
	once sync.Once
	done chan struct{} // closed once it has ended
}

// OpenStream makes a Stream and, if it is to listen, its socket with mode 0660.
// A socket at that path that nobody listens to is replaced. Nobody is connected
// before Start.
func OpenStream(cfg StreamConfig) (*Stream, error) {
	s := &Stream{
		clients: make(chan net.Conn), arrived: make(chan *connection),
		in: bufio.NewReaderSize(nil, 2*frame.MaxTaggedLen),
	}
	if cfg.Listen != "" {
		var err error
		if s.listener, err = listenStream(cfg.Listen); err != nil {
			return nil, err
		}
	}
	s.init(cmp.Or(cfg.Listen, cfg.Dial), cfg.MTU)
	return s, nil
}

// Start lets stations connect, or begins to dial. Whenever the link goes up or
// down it calls report, one call at a time. Called at most once, and not after
// Close.
func (s *Stream) Start(report func(Link)) {
	if s.listener != nil {
		s.running.Go(s.accept)
	}
	s.running.Go(func() { s.run(report) })
}

// Close ends a waiting ReadBatch and the connection, and removes the socket. It
// waits for a report under way. A second Close returns os.ErrClosed.
func (s *Stream) Close() error {
	if s.ctx.Err() != nil {
		return os.ErrClosed
	}
	s.cancel()
	var err error
	if s.listener != nil {
		err = s.listener.Close()
	}
	s.running.Wait()
	return err
}

// Info returns what became of the connections.
func (s *Stream) Info() SocketInfo {
	i := s.info()
	i.Refused = s.refused.Load()
	return i
}

// ReceiveErrors returns how many connections were ended by anything but the
// station's wish.
func (s *Stream) ReceiveErrors() (n uint64) {
	for e := EndClosed + 1; e < NumEnds; e++ {
		n += s.ended[e].Load()
	}
	return n
}

// end closes the connection, once, and counts why.
func (s *Stream) end(c *connection, why End) {
	c.once.Do(func() {
		if s.ctx.Err() == nil {
			s.ended[why].Add(1)
		}
		_ = c.Close() // Nobody is left to be told.
		close(c.done)
	})
}

// ReadBatch is described at Receiver. It waits for a station as it does for a
// frame. The device of a stream never goes away.
func (s *Stream) ReadBatch(b *frame.Batch) error {
	for b.N = 0; b.N == 0; {
		if s.rx == nil {
			select {
			case s.rx = <-s.arrived:
				s.in.Reset(s.rx)
			case <-s.ctx.Done():
				return os.ErrClosed
			}
		}
		if why, ok := s.fill(b); !ok {
			s.end(s.rx, why)
			s.rx = nil
		}
	}
	return nil
}

// fill waits for one frame and takes those that have come with it. False is the
// connection's end.
func (s *Stream) fill(b *frame.Batch) (why End, ok bool) {
	for b.N < frame.BatchSize && (b.N == 0 || s.whole()) {
		header, err := s.in.Peek(lengthLen)
		if err != nil {
			return endOf(err, len(header)), false
		}
		// Nothing is allocated or read by a length before it is known to be good.
		n := binary.BigEndian.Uint32(header)
		if n < frame.HeaderLen {
			return EndTooShort, false
		}
		if n > frame.MaxTaggedLen {
			return EndTooLong, false
		}
		_, _ = s.in.Discard(lengthLen) // They are there.
		slot := b.Slot(b.N)[:n:n]
		if _, err := io.ReadFull(s.in, slot); err != nil {
			return endOf(err, lengthLen), false
		}
		f := &b.Frames[b.N]
		f.Bytes, f.Headroom, f.Offload = slot, 0, frame.Offload{}
		b.N++
	}
	return EndClosed, true
}

// whole reports whether the next frame can be had without waiting.
func (s *Stream) whole() bool {
	have := s.in.Buffered()
	if have < lengthLen {
		return false
	}
	header, _ := s.in.Peek(lengthLen) // They are there.
	return have-lengthLen >= int(binary.BigEndian.Uint32(header))
}

// endOf tells a station that closes the connection from one that breaks off in
// the middle of a frame.
func endOf(err error, got int) End {
	switch {
	case errors.Is(err, io.EOF) && got == 0, errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return EndClosed // With frames on their way to it, that is a reset.
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return EndTruncated
	}
	return EndError
}
