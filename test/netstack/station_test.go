package netstack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/vswitchd/vswitchd/config"
)

const (
	nic      = 1
	mtu      = 1500
	queueLen = 1024 // frames that the stack may be ahead of the socket
)

// wire is the station's end of the port's socket.
type wire interface {
	send(frame []byte) error
	receive() ([]byte, error)
	io.Closer
}

// streamWire has the length of each frame in front of it.
type streamWire struct {
	net.Conn
	in *bufio.Reader
}

func (w *streamWire) send(frame []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	return err
}

func (w *streamWire) receive() ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(w.in, length[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(w.in, frame)
	return frame, err
}

// dgramWire has a frame in each datagram.
type dgramWire struct {
	*net.UnixConn
	to *net.UnixAddr
}

func (w *dgramWire) send(frame []byte) error {
	_, err := w.WriteToUnix(frame, w.to)
	return err
}

func (w *dgramWire) receive() ([]byte, error) {
	frame := make([]byte, 1<<16)
	n, err := w.Read(frame)
	return frame[:n], err
}

// connect returns the other end of a port that is of this kind.
func connect(p config.Port) (wire, error) {
	if p.Kind == config.KindStream {
		c, err := net.Dial("unix", p.Listen)
		return &streamWire{c, bufio.NewReader(c)}, err
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: p.Dial, Net: "unixgram"})
	return &dgramWire{c, &net.UnixAddr{Name: p.Listen, Net: "unixgram"}}, err
}

// newStation makes a TCP/IP stack behind the port, for as long as the test runs.
func newStation(t *testing.T, p config.Port, mac tcpip.LinkAddress, addr netip.Prefix) *stack.Stack {
	t.Helper()
	w, err := connect(p)
	if err != nil {
		t.Fatal(err)
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{arp.NewProtocol, ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	link := channel.New(queueLen, mtu+header.EthernetMinimumSize, mac)
	if err := setUp(s, link, addr); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { receive(w, link) })
	running.Go(func() { transmit(ctx, link, w) })
	t.Cleanup(func() {
		s.Close()
		cancel()
		_ = w.Close()
		running.Wait()
	})
	return s
}

func setUp(s *stack.Stack, link *channel.Endpoint, addr netip.Prefix) error {
	if err := s.CreateNIC(nic, ethernet.New(link)); err != nil {
		return errors.New(err.String())
	}
	a := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(addr.Addr().As4()), PrefixLen: addr.Bits()},
	}
	if err := s.AddProtocolAddress(nic, a, stack.AddressProperties{}); err != nil {
		return fmt.Errorf("address %v: %s", addr, err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: a.AddressWithPrefix.Subnet(), NIC: nic}})
	return nil
}

// receive gives the stack what the switch sends, until the wire is closed.
func receive(w wire, link *channel.Endpoint) {
	for {
		frame, err := w.receive()
		if err != nil {
			return
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
		link.InjectInbound(0, p)
		p.DecRef()
	}
}

// transmit gives the switch what the stack sends, until ctx ends.
func transmit(ctx context.Context, link *channel.Endpoint, w wire) {
	for {
		p := link.ReadContext(ctx)
		if p == nil {
			return
		}
		v := p.ToView()
		p.DecRef()
		err := w.send(v.AsSlice())
		v.Release()
		if err != nil {
			return
		}
	}
}
