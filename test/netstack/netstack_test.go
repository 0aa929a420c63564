// Package netstack puts gVisor's TCP/IP stack, which is not the kernel's, behind
// ports of the switch.
package netstack

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const (
	patience = time.Minute
	size     = 4 << 20 // bytes each way
	tcpPort  = 80
	udpPort  = 7 // echo, RFC 862
)

var (
	kernelAddr  = netip.MustParsePrefix("10.0.0.1/24")
	foreignAddr = netip.MustParsePrefix("10.0.0.2/24")
)

func TestForeignStackTalksToTheKernelsThroughASocket(t *testing.T) {
	nettest.Need(t)
	for _, kind := range []string{config.KindStream, config.KindDgram} {
		t.Run(kind, func(t *testing.T) {
			kernel, foreign := newPair(t, kind)
			if _, err := kernel.Ping(foreignAddr.Addr(), patience); err != nil {
				t.Error(err)
			}
			echo(t, kernel, foreign)
			transfer(t, kernel, foreign)
		})
	}
}

// newPair makes a switch with a station in a namespace, on a TAP port, and a
// foreign stack on a port of the kind, both in VLAN 10.
func newPair(t *testing.T, kind string) (*lab.Host, *stack.Stack) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw") // A socket's path must be short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := &lab.Host{Name: "kernel", NS: nettest.New(t), Interface: "eth0", Addr: kernelAddr}
	p := config.Port{Name: "foreign", Kind: kind, Access: 10, Listen: filepath.Join(dir, "s")}
	if kind == config.KindDgram {
		p.Dial = p.Listen + "f"
	}
	for _, add := range []config.Port{
		{Name: h.Name, Netns: h.NS.Path(), Ifname: h.Interface, IP: []netip.Prefix{h.Addr}, Access: 10}, p,
	} {
		if err := s.Add(nettest.Port(t, add)); err != nil {
			t.Fatal(err)
		}
	}
	foreign := newStation(t, p, "\x02\x00\x00\x00\x00\x02", foreignAddr)
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		info, _, err := s.Port(p.Name)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the station did not connect: %v", err)
		}
		if info.State == config.StateForwarding {
			return h, foreign
		}
	}
}

// dial connects from the kernel's stack.
func dial(t *testing.T, h *lab.Host, network string, port uint16) net.Conn {
	t.Helper()
	var c net.Conn
	err := h.NS.Do(func() (err error) {
		d := net.Dialer{Timeout: patience}
		c, err = d.Dial(network, netip.AddrPortFrom(foreignAddr.Addr(), port).String())
		return err
	})
	if err == nil {
		err = c.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func local(port uint16) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(foreignAddr.Addr().As4()), Port: port}
}

// echo has the foreign stack send datagrams of every kind of length back.
func echo(t *testing.T, kernel *lab.Host, foreign *stack.Stack) {
	t.Helper()
	at := local(udpPort)
	server, err := gonet.DialUDP(foreign, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], from) // The client misses it.
		}
	}()
	c := dial(t, kernel, "udp4", udpPort)
	got := make([]byte, 1<<16)
	for n := mtu - 28; n > 0; n -= 61 { // 28 bytes of IPv4 and UDP
		sent := make([]byte, n)
		_, _ = rand.Read(sent)
		if _, err := c.Write(sent); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(got)
		if err != nil || !bytes.Equal(got[:n], sent) {
			t.Fatalf("%d bytes came back of %d: %v", n, len(sent), err)
		}
	}
}

// duplex is a TCP connection of either stack.
type duplex interface {
	io.ReadWriter
	CloseWrite() error
}

type sums struct {
	sent, received [sha256.Size]byte
	err            error
}

// exchange sends random bytes while it receives until the other end is done.
func exchange(c duplex) (s sums) {
	done := make(chan error)
	go func() {
		h := sha256.New()
		_, err := io.CopyN(io.MultiWriter(c, h), rand.Reader, size)
		s.sent = [sha256.Size]byte(h.Sum(nil))
		done <- errors.Join(err, c.CloseWrite())
	}()
	h := sha256.New()
	n, err := io.Copy(h, c)
	if n != size {
		err = errors.Join(err, io.ErrUnexpectedEOF)
	}
	s.received = [sha256.Size]byte(h.Sum(nil))
	s.err = errors.Join(err, <-done)
	return s
}

// transfer moves 4 MiB each way at once, and compares.
func transfer(t *testing.T, kernel *lab.Host, foreign *stack.Stack) {
	t.Helper()
	l, err := gonet.ListenTCP(foreign, local(tcpPort), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	its := make(chan sums, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			its <- sums{err: err}
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience)) // Without it, the test's own ends the test.
		its <- exchange(c.(*gonet.TCPConn))
	}()
	a := exchange(dial(t, kernel, "tcp4", tcpPort).(*net.TCPConn))
	b := <-its
	if err := errors.Join(a.err, b.err); err != nil || a.sent != b.received || b.sent != a.received {
		t.Errorf("sent %x, received %x; sent back %x, received %x: %v", a.sent, b.received, b.sent, a.received, err)
	}
	if n := foreign.Stats().TCP.ChecksumErrors.Value(); n != 0 {
		t.Errorf("the foreign stack counted %d wrong checksums", n)
	}
}
