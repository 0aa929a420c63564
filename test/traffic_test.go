package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// crew is goroutines that work until they are told to stop.
type crew struct {
	t    *testing.T
	stop chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

func newCrew(t *testing.T) *crew {
	t.Helper()
	c := &crew{t: t, stop: make(chan struct{})}
	t.Cleanup(c.end)
	return c
}

func (c *crew) start(what string, f func() error) {
	c.wg.Go(func() {
		if err := f(); err != nil {
			c.t.Errorf("%s: %v", what, err)
		}
	})
}

// end may be called more than once.
func (c *crew) end() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}

// place is where a station is: a namespace.
type place interface{ Do(f func() error) error }

// dial connects two stations by TCP.
func dial(t *testing.T, client, server place, to netip.Addr) (c, s net.Conn) {
	t.Helper()
	var l net.Listener
	err := server.Do(func() (err error) {
		l, err = net.Listen("tcp4", netip.AddrPortFrom(to, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = client.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second)
		return err
	})
	if err == nil {
		s, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{c, s} {
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(*churnTime + time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	return c, s
}

// stream is one direction of a connection: a sequence of random bytes that both
// ends know.
type stream struct {
	from, to       net.Conn
	seed           [32]byte
	sent, received atomic.Int64
}

func (s *stream) write(stop <-chan struct{}) error {
	random, buf := rand.NewChaCha8(s.seed), make([]byte, 16<<10)
	for pace := time.NewTicker(2 * time.Millisecond); ; {
		select {
		case <-stop:
			pace.Stop()
			return s.from.(*net.TCPConn).CloseWrite()
		case <-pace.C:
		}
		_, _ = random.Read(buf) // Never fails.
		n, err := s.from.Write(buf)
		s.sent.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

func (s *stream) read() error {
	random, buf, want := rand.NewChaCha8(s.seed), make([]byte, 16<<10), make([]byte, 16<<10)
	for {
		n, err := io.ReadFull(s.to, buf)
		_, _ = random.Read(want) // Never fails.
		if !bytes.Equal(buf[:n], want[:n]) {
			return fmt.Errorf("wrong bytes among those from %d on", s.received.Load())
		}
		received := s.received.Add(int64(n))
		if err == io.EOF && received == s.sent.Load() {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", received, s.sent.Load(), err)
		}
	}
}

// sequence is a paced stream of numbered frames between two stations, every
// eighth a broadcast.
type sequence struct {
	from, to *nettest.Station
	src, dst frame.MAC
	sent     atomic.Uint32
}

const endOfSequence = ^uint32(0)

func (s *sequence) send(stop <-chan struct{}) error {
	for pace := time.NewTicker(time.Millisecond); ; s.sent.Add(1) {
		select {
		case <-stop:
			pace.Stop()
			return s.from.Send(numbered(s.dst, s.src, endOfSequence))
		case <-pace.C:
		}
		to := s.dst
		if s.sent.Load()%8 == 0 {
			to = frame.Broadcast
		}
		if err := s.from.Send(numbered(to, s.src, s.sent.Load())); err != nil {
			return err
		}
	}
}

// receive fails at the first frame that is lost, doubled or out of order.
func (s *sequence) receive() error {
	for next := uint32(0); ; next++ {
		f, err := s.to.Recv(10 * time.Second)
		if err != nil {
			return fmt.Errorf("frame %d: %w", next, err)
		}
		got := binary.BigEndian.Uint32(f[14:])
		if got == endOfSequence && next == s.sent.Load() {
			return nil
		}
		if got != next {
			return fmt.Errorf("frame %d came where %d of %d was due", got, next, s.sent.Load())
		}
	}
}

func numbered(dst, src frame.MAC, n uint32) []byte {
	b := binary.BigEndian.AppendUint32(slices.Concat(dst[:], src[:], []byte{0x88, 0xb5}), n)
	return append(b, make([]byte, 60-len(b))...)
}
