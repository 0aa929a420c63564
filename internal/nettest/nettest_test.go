package nettest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
)

func TestMain(m *testing.M) { Main(m) }

func TestMainRunsTestsAsRootInTheirOwnNamespace(t *testing.T) {
	Need(t)
	if unix.Geteuid() != 0 {
		t.Errorf("user id %d, want 0", unix.Geteuid())
	}
	// A machine that runs tests has an interface more than loopback, a new
	// namespace has not.
	checkInterfaces(t)
}

func TestNewHasNothingButLoopback(t *testing.T) {
	if err := New(t).Do(func() error { checkInterfaces(t); return nil }); err != nil {
		t.Fatal(err)
	}
}

func checkInterfaces(t *testing.T) {
	t.Helper()
	ifis, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(ifis) != 1 || ifis[0].Name != "lo" || ifis[0].Flags&net.FlagUp == 0 {
		t.Errorf("interfaces %v, want lo alone, up", ifis)
	}
}

func TestNewTurnsIPv6Off(t *testing.T) {
	ns := New(t)
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/net/ipv6/conf/default/disable_ipv6")
		if errors.Is(err, os.ErrNotExist) {
			Lack(t, "the kernel has no IPv6")
		}
		if got := strings.TrimSpace(string(b)); err == nil && got != "1" {
			t.Errorf("disable_ipv6 is %s, want 1", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newTAP makes a TAP in the namespace, sets it up and returns its device side.
func newTAP(t *testing.T, ns *netns.NS, name string) *os.File {
	t.Helper()
	var f *os.File
	err := ns.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		ifr.SetUint16(unix.IFF_UP)
		return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// makeFrame returns a frame from 02-00-00-00-00-<src> with what follows the
// addresses, padded to the least length of a frame.
func makeFrame(src byte, rest ...byte) []byte {
	f := append([]byte{2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, src}, rest...)
	return append(f, make([]byte, 60-len(f))...)
}

func TestStationIsByteExact(t *testing.T) {
	ns := New(t)
	dev := newTAP(t, ns, "tap0")
	s := NewStation(t, ns, "tap0")
	buf := make([]byte, 2048)
	for name, frame := range map[string][]byte{
		"untagged":        makeFrame(1, 0x88, 0xb5, 1, 2, 3),
		"C-tagged":        makeFrame(1, 0x81, 0, 0x60, 20, 0x88, 0xb5, 1),
		"priority-tagged": makeFrame(1, 0x81, 0, 0xe0, 0, 0x88, 0xb5, 1),
		"S-tagged":        makeFrame(1, 0x88, 0xa8, 0x10, 30, 0x88, 0xb5, 1),
		"double-tagged":   makeFrame(1, 0x88, 0xa8, 0, 30, 0x81, 0, 0, 20, 0x88, 0xb5, 1),
		"LLC":             makeFrame(1, 0, 3, 0x42, 0x42, 3),
	} {
		if err := s.Send(frame); err != nil {
			t.Fatalf("%s: send: %v", name, err)
		}
		n, err := dev.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], frame) {
			t.Errorf("%s: sent %x, the device got %x, error %v", name, frame, buf[:n], err)
		}
		if _, err := dev.Write(frame); err != nil {
			t.Fatalf("%s: write: %v", name, err)
		}
		got, err := s.Recv(5 * time.Second)
		if err != nil || !bytes.Equal(got, frame) {
			t.Errorf("%s: the device gave %x, received %x, error %v", name, frame, got, err)
		}
	}
}

func TestStationDoesNotHearItself(t *testing.T) {
	ns := New(t)
	dev := newTAP(t, ns, "tap0")
	s, other := NewStation(t, ns, "tap0"), NewStation(t, ns, "tap0")
	if err := other.Send(makeFrame(1, 0x88, 0xb5)); err != nil {
		t.Fatal(err)
	}
	// What comes first is then the frame that came in, not the one that went out.
	in := makeFrame(2, 0x88, 0xb5)
	if _, err := dev.Write(in); err != nil {
		t.Fatal(err)
	}
	for _, st := range []*Station{s, other} {
		if got, err := st.Recv(5 * time.Second); err != nil || !bytes.Equal(got, in) {
			t.Errorf("received %x, error %v, want %x", got, err, in)
		}
	}
}

func TestStationPassesOverOtherSources(t *testing.T) {
	ns := New(t)
	dev := newTAP(t, ns, "tap0")
	s := NewStation(t, ns, "tap0")
	s.From = []byte{2, 0, 0, 0, 0, 2}
	for _, src := range []byte{1, 2} {
		if _, err := dev.Write(makeFrame(src, 0x88, 0xb5)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Recv(5 * time.Second); err != nil || !bytes.Equal(got, makeFrame(2, 0x88, 0xb5)) {
		t.Errorf("received %x, error %v", got, err)
	}
	if got, err := s.Recv(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("received %x, error %v, want os.ErrDeadlineExceeded", got, err)
	}
}

// listener is a test that says why it has failed.
type listener struct {
	testing.TB
	failed string
}

func (l *listener) Errorf(format string, args ...any) { l.failed = fmt.Sprintf(format, args...) }

func TestSpoiledFrameFailsTheTest(t *testing.T) {
	Need(t)
	ns, err := netns.New() // Of New the test itself would fail.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	dev := newTAP(t, ns, "tap0")
	said := &listener{TB: t}
	if checkStack(said, ns); said.failed != "" {
		t.Fatal(said.failed)
	}
	frame := makeFrame(1, 8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0xde, 0xad, 10, 0, 0, 1, 10, 0, 0, 2)
	copy(frame, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	if _, err := dev.Write(frame); err != nil {
		t.Fatal(err)
	}
	if checkStack(said, ns); !strings.Contains(said.failed, `["Ip InHdrErrors=1"]`) {
		t.Errorf("the test would have failed with %q", said.failed)
	}
}
