package nettest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
)

// maxRecv has room for a super-frame of 64 KiB with its addresses and tags.
const maxRecv = 1<<16 + 256

// Station is a raw socket on one interface: it sends and receives frames as
// they are, addresses and tags included. One goroutine may send while another
// receives.
type Station struct {
	// From, if not empty, is how the source address of a frame must begin for
	// Recv to return it; others are passed over. Set it before the first Recv.
	From []byte

	f   *os.File
	raw syscall.RawConn
	buf []byte
	oob []byte
}

// NewStation opens a station on the interface of ns that has the name. It
// receives all that reaches the interface, whatever the destination, and
// nothing that this host sends out of it. It is closed with the test.
func NewStation(t testing.TB, ns *netns.NS, name string) *Station {
	t.Helper()
	s := &Station{buf: make([]byte, maxRecv), oob: make([]byte, 256)}
	if err := ns.Do(func() error { return s.open(name) }); err != nil {
		t.Fatalf("open a station on %s: %v", name, err)
	}
	t.Cleanup(func() { _ = s.f.Close() })
	return s
}

func (s *Station) open(name string) error {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	// Protocol 0 receives nothing: no frame of another interface slips in
	// before bind names the one and only.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	s.f = os.NewFile(uintptr(fd), name)
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		growReceiveBuffer(fd),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifi.Index}),
		s.connect(),
	)
}

// growReceiveBuffer makes room for bursts: the default overflows at some
// hundred small frames. Root of a user namespace gets what net.core.rmem_max
// allows.
func growReceiveBuffer(fd int) error {
	const room = 8 << 20 // bytes
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
	if err == unix.EPERM {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room)
	}
	return err
}

func (s *Station) connect() (err error) {
	s.raw, err = s.f.SyscallConn()
	return err
}

// Send sends the frame out of the interface: to what is at its other end.
func (s *Station) Send(frame []byte) error {
	_, err := s.f.Write(frame)
	return err
}

// Recv returns a copy of the next frame, to the byte as it reached the
// interface. If none comes in time, the error is os.ErrDeadlineExceeded.
func (s *Station) Recv(timeout time.Duration) ([]byte, error) {
	if err := s.f.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	for {
		frame, err := s.recv()
		if err != nil {
			return nil, err
		}
		if len(frame) >= 12 && bytes.HasPrefix(frame[6:12], s.From) {
			return frame, nil
		}
	}
}

func (s *Station) recv() ([]byte, error) {
	var n, oobn, flags int
	var err error
	waitErr := s.raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, err = unix.Recvmsg(int(fd), s.buf, s.oob, 0)
		return err != unix.EAGAIN
	})
	if waitErr != nil {
		return nil, waitErr
	}
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, fmt.Errorf("received more than a frame of %d bytes", maxRecv)
	}
	frame := bytes.Clone(s.buf[:n])
	tag, err := strippedTag(s.oob[:oobn])
	if tag != nil && len(frame) >= 12 {
		frame = slices.Insert(frame, 12, tag...)
	}
	return frame, err
}

// strippedTag returns the outermost VLAN tag of a received frame: the kernel
// takes it out of the bytes (skb_vlan_untag) and reports it beside them.
func strippedTag(oob []byte) ([]byte, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("read the auxiliary data: %w", err)
	}
	for _, m := range msgs {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA {
			continue
		}
		var aux unix.TpacketAuxdata
		if _, err := binary.Decode(m.Data, binary.NativeEndian, &aux); err != nil {
			return nil, fmt.Errorf("read the auxiliary data: %w", err)
		}
		if aux.Status&unix.TP_STATUS_VLAN_VALID == 0 {
			return nil, nil
		}
		tpid := uint16(unix.ETH_P_8021Q)
		if aux.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = aux.Vlan_tpid
		}
		return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), aux.Vlan_tci), nil
	}
	return nil, nil
}

// htons turns a protocol number to the order of sockaddr_ll (packet(7)).
func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}
