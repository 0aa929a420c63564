package lab

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
)

// Host is one station of the switch: a namespace with one interface, which is put
// there together with its address, and which sends and answers with the kernel's
// own IPv4. Ping needs all of the fields.
type Host struct {
	Name      string
	NS        *netns.NS
	Interface string
	Addr      netip.Prefix // IPv4
}

// ICMP messages, RFC 792.
const (
	icmpReply   = 0
	icmpRequest = 8
	icmpHeader  = 8
	payloadLen  = 56 // as ping(8)
)

// Ping sends one ICMP echo request to dst, by IPv4, and waits for the reply,
// which must bring every byte back. It returns the round-trip time or, after
// the timeout, an error that wraps os.ErrDeadlineExceeded.
func (h *Host) Ping(dst netip.Addr, timeout time.Duration) (rtt time.Duration, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("host %s: ping %s from %s: %w", h.Name, dst, h.Interface, err)
		}
	}()
	if !dst.Is4() {
		return 0, errors.New("not an IPv4 address")
	}
	s, err := h.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	start := time.Now()
	if err := s.SetDeadline(start.Add(timeout)); err != nil {
		return 0, err
	}
	request := newRequest()
	if err := send(s, dst, request); err != nil {
		return 0, err
	}
	if err := await(s, dst, request); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, fmt.Errorf("no answer within %v: %w", timeout, os.ErrDeadlineExceeded)
		}
		return 0, err
	}
	return time.Since(start), nil
}

// open makes a raw ICMP socket inside the namespace. It is not bound to the
// interface: the kernel would then take any address for its neighbour, where
// "network is unreachable" tells that the host has no address yet.
func (h *Host) open() (s *os.File, err error) {
	err = h.NS.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return fmt.Errorf("open a raw socket: %w", err)
		}
		s = os.NewFile(uintptr(fd), h.Interface)
		return nil
	})
	return s, err
}

// newRequest returns an echo request whose identifier, sequence number and
// payload are random, so that no reply to another one can be taken for its own.
func newRequest() []byte {
	m := make([]byte, icmpHeader+payloadLen)
	_, _ = rand.Read(m[4:]) // Never fails: see crypto/rand.
	m[0] = icmpRequest
	binary.BigEndian.PutUint16(m[2:], checksum(m))
	return m
}

func send(s *os.File, dst netip.Addr, request []byte) error {
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = c.Write(func(fd uintptr) bool {
		sendErr = unix.Sendto(int(fd), request, 0, &unix.SockaddrInet4{Addr: dst.As4()})
		return sendErr != unix.EAGAIN
	})
	if err != nil {
		return err
	}
	if sendErr != nil {
		return fmt.Errorf("send: %w", sendErr)
	}
	return nil
}

// await reads until the reply to the request comes in from dst.
func await(s *os.File, dst netip.Addr, request []byte) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return err
		}
		if from, m, ok := splitIPv4(buf[:n]); ok && from == dst && answers(m, request) {
			return nil
		}
	}
}

// splitIPv4 returns the source address and the payload of a datagram, whose
// header the kernel has checked (raw(7)).
func splitIPv4(b []byte) (from netip.Addr, payload []byte, ok bool) {
	if len(b) < 20 {
		return from, nil, false
	}
	headerLen := int(b[0]&0xf) * 4
	if headerLen < 20 || headerLen > len(b) {
		return from, nil, false
	}
	return netip.AddrFrom4([4]byte(b[12:16])), b[headerLen:], true
}

// answers tells whether m is the reply to the request: the same bytes but for
// the type and the checksum, which must be right, since a raw socket gets
// messages before the kernel looks at it.
func answers(m, request []byte) bool {
	return len(m) == len(request) && m[0] == icmpReply && m[1] == 0 && checksum(m) == 0 &&
		bytes.Equal(m[4:], request[4:])
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes: 0
// over a message that carries the right one.
func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
