package test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Whatever two ports can do, TCP and UDP over IPv4 and IPv6 arrive byte for byte,
// and neither end finds a wrong checksum or header. Super-frames pass whole where
// both ends take them, and nowhere else.
func TestTrafficIsRightBetweenAnyPairOfPorts(t *testing.T) {
	nettest.Need(t)
	for _, c := range []struct {
		name     string
		a, b     bool // offload
		coalesce bool
	}{
		{"offload at both, coalescing", true, true, true},
		{"offload at both", true, true, false},
		{"offload at a", true, false, true},
		{"offload at b", false, true, true},
		{"offload at none", false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a := pair{t, s, "a", c.a, c.coalesce}.plug("10.0.0.1/24", "fd00::1/64")
			b := pair{t, s, "b", c.b, c.coalesce}.plug("10.0.0.2/24", "fd00::2/64")
			crosses(t, s, a, b, c.a && c.b)
			for _, p := range s.Ports() {
				if joins := *p.Config.Offload && *p.Config.Coalesce; !joins && p.Coalesced > 0 {
					t.Errorf("port %s joined %d datagrams although it does not coalesce", p.Config.Name, p.Coalesced)
				}
			}
		})
	}
}

// crosses has TCP and UDP cross between 10.0.0.1 and .2, and fd00::1 and ::2. They go
// in super-frames if whole says so, else in none.
func crosses(t *testing.T, s *vswitch.Switch, a, b *netns.NS, whole bool) {
	t.Helper()
	settled(t, a)
	settled(t, b)
	for _, to := range []string{"10.0.0.2", "fd00::2"} {
		swap(t, a, b, netip.MustParseAddr(to), 4<<20)
		datagrams(t, a, b, netip.MustParseAddr(to))
	}
	for _, p := range s.Ports() {
		longest := p.Stats.Transmit.Bytes / max(1, p.Stats.Transmit.Frames) // in the mean
		if whole != (longest > 1514) {
			t.Errorf("port %s transmitted frames of %d bytes in the mean", p.Config.Name, longest)
		}
	}
}

// settled waits until the namespace's addresses can be used: that there is no need to
// look for duplicates the kernel finds out in a work queue.
func settled(t *testing.T, ns *netns.NS) {
	t.Helper()
	eventually(t, func() error {
		return ns.Do(func() error {
			all, err := netlink.AddrList(nil, netlink.FAMILY_V6)
			for _, a := range all {
				if a.Flags&unix.IFA_F_TENTATIVE != 0 {
					err = fmt.Errorf("%v is tentative", a.IPNet)
				}
			}
			return err
		})
	})
}

// pair is one of the two ports.
type pair struct {
	t                 *testing.T
	s                 *vswitch.Switch
	name              string
	offload, coalesce bool
}

func (p pair) plug(ip ...string) *netns.NS {
	p.t.Helper()
	ns := nettest.New(p.t)
	c := config.Port{Name: p.name, Access: 1, Netns: ns.Path(), Ifname: "eth0", Offload: &p.offload, Coalesce: &p.coalesce}
	for _, text := range ip {
		c.IP = append(c.IP, netip.MustParsePrefix(text))
	}
	err := ns.Do(func() error {
		// nettest turns IPv6 off; and its addresses are used at once here, for which
		// RFC 4862 5.4 would have them wait.
		const conf = "/proc/sys/net/ipv6/conf/default/"
		return errors.Join(os.WriteFile(conf+"disable_ipv6", []byte("0"), 0), os.WriteFile(conf+"accept_dad", []byte("0"), 0))
	})
	if err = errors.Join(err, p.s.Add(c)); err != nil {
		p.t.Fatal(err)
	}
	return ns
}

// swap sends n bytes each way at once over one connection.
func swap(t *testing.T, a, b *netns.NS, to netip.Addr, n int64) {
	t.Helper()
	var l net.Listener
	if err := b.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = bothWays(c, 2, 1, n)
		}
		done <- err
	}()
	var c net.Conn
	err := a.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", l.Addr().String(), 20*time.Second)
		return err
	})
	if err == nil {
		err = bothWays(c, 1, 2, n)
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Errorf("%v: %v", to, err)
	}
}

// bothWays sends the n bytes of one seed and expects those of the other.
func bothWays(c net.Conn, send, expect byte, n int64) error {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan error, 1)
	go func() {
		_, err := io.CopyN(c, rand.NewChaCha8([32]byte{send}), n)
		sent <- err
	}()
	got, want := make([]byte, n), make([]byte, n)
	_, err := io.ReadFull(c, got)
	_, _ = rand.NewChaCha8([32]byte{expect}).Read(want)
	if err == nil && !bytes.Equal(got, want) {
		err = errors.New("other bytes have come than were sent")
	}
	return errors.Join(err, <-sent)
}

// datagrams sends bursts that can and cannot be joined, and expects each of them,
// in order.
func datagrams(t *testing.T, a, b *netns.NS, to netip.Addr) {
	t.Helper()
	var in, out net.Conn
	err := b.Do(func() (err error) {
		in, err = net.ListenUDP("udp", &net.UDPAddr{IP: to.AsSlice()})
		return err
	})
	if err == nil {
		err = a.Do(func() (err error) {
			out, err = net.Dial("udp", in.(*net.UDPConn).LocalAddr().String())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	_ = in.SetDeadline(time.Now().Add(time.Minute))
	buf := make([]byte, 2000)
	for burst := range 20 {
		var sent [][]byte
		for i := range 50 {
			d := bytes.Repeat([]byte{byte(i)}, 4+burst*70)
			if burst%3 == 2 { // Of sizes that differ.
				d = d[:4+i*burst%(burst*70)]
			}
			binary.BigEndian.PutUint32(d, uint32(burst*50+i))
			sent = append(sent, d)
			if _, err := out.Write(d); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range sent {
			n, err := in.Read(buf)
			if err != nil || !bytes.Equal(buf[:n], want) {
				t.Fatalf("%v: datagram %d of burst %d: got %d bytes, %v; want %d", to, i, burst, n, err, len(want))
			}
		}
	}
}
