package vswitch

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// host is a namespace with a port of the switch in it as eth0.
type host struct {
	*nettest.Station
	ns *netns.NS
}

func plugHost(t *testing.T, s *Switch, p config.Port) host {
	t.Helper()
	ns := nettest.New(t)
	p.Netns, p.Ifname = ns.Path(), "eth0"
	if err := s.Add(nettest.Port(t, p)); err != nil {
		t.Fatal(err)
	}
	st := nettest.NewStation(t, ns, "eth0")
	return host{st, ns}
}

func (h host) set(t *testing.T, change func(netlink.Link) error) {
	t.Helper()
	err := h.ns.Do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return change(l)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h host) gets(t *testing.T, want []byte) {
	t.Helper()
	got, err := h.Recv(2 * time.Second)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got % x, %v; want % x", got, err, want)
	}
}

func (h host) getsNothing(t *testing.T) {
	t.Helper()
	if got, err := h.Recv(100 * time.Millisecond); err == nil {
		t.Fatalf("got % x, want nothing", got)
	}
}

func realSwitch(t *testing.T, aware bool) *Switch {
	t.Helper()
	nettest.Need(t)
	s, err := New(&config.Config{VLANAware: &aware}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits for what another process or the kernel brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 5 s", what)
		}
	}
}

func TestRealTAPsForwardBetweenNamespaces(t *testing.T) {
	s := realSwitch(t, true)
	a := plugHost(t, s, config.Port{Name: "a", Access: 10, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	b := plugHost(t, s, config.Port{Name: "b", Trunk: config.VIDsOf(10, 20)})
	c := plugHost(t, s, config.Port{Name: "c", Access: 20})
	f := eth(frame.Broadcast, sta(1), 0x88, 0xb5)
	if err := a.Send(f); err != nil {
		t.Fatal(err)
	}
	b.gets(t, tagged(f, ctag(0, false, 10)))
	c.getsNothing(t)
	g := eth(sta(1), sta(2), 0x88, 0xb5)
	if err := b.Send(tagged(g, ctag(3, false, 10))); err != nil {
		t.Fatal(err)
	}
	a.gets(t, g)
	info, device, err := s.Port("a")
	if err != nil || info.Link.Ifname != "eth0" || device == nil {
		t.Errorf("port a: %+v %+v %v", info.Link, device, err)
	}
}

func TestLinkOfAContainerGoingDownForgetsItsStations(t *testing.T) {
	s := realSwitch(t, false)
	a, b, c := plugHost(t, s, config.Port{Name: "a"}), plugHost(t, s, config.Port{Name: "b"}), plugHost(t, s, config.Port{Name: "c"})
	known := func() bool { e, err := s.FDB(FDBFilter{Port: "b"}); return err == nil && len(e) == 1 }
	if err := b.Send(eth(frame.Broadcast, sta(2), 0x88, 0xb5)); err != nil {
		t.Fatal(err)
	}
	a.gets(t, eth(frame.Broadcast, sta(2), 0x88, 0xb5))
	c.gets(t, eth(frame.Broadcast, sta(2), 0x88, 0xb5))
	eventually(t, "learning", known)

	b.set(t, netlink.LinkSetDown)
	eventually(t, "forgetting", func() bool { return !known() })
	f := eth(sta(2), sta(1), 0x88, 0xb5)
	if err := a.Send(f); err != nil {
		t.Fatal(err)
	}
	c.gets(t, f)

	b.set(t, netlink.LinkSetUp)
	eventually(t, "link up", func() bool { p, _, err := s.Port("b"); return err == nil && p.State == config.StateForwarding })
}

func TestMTUOfALinkIsFollowed(t *testing.T) {
	s := realSwitch(t, false)
	a, b := plugHost(t, s, config.Port{Name: "a"}), plugHost(t, s, config.Port{Name: "b"})
	b.set(t, func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1000) })
	eventually(t, "the MTU", func() bool { return s.live.Load().ports[1].mtu == 1000 })
	long := append(eth(frame.Broadcast, sta(1), 0x88, 0xb5), make([]byte, 1015-60)...)
	if err := a.Send(long); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drop", func() bool {
		p, _, err := s.Port("b")
		return err == nil && p.Stats.Dropped[frame.DropOversize] == 1
	})
	b.getsNothing(t)
	if err := s.Set("b", func(p config.Port) (config.Port, error) { p.MTU = 1400; return p, nil }); err != nil {
		t.Fatal(err)
	}
	if err := a.Send(long); err != nil {
		t.Fatal(err)
	}
	b.gets(t, long)
}

func TestPortOfADeadNamespaceLeaves(t *testing.T) {
	s := realSwitch(t, false)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add(config.Port{Name: "a", Netns: ns.Path(), Ifname: "eth0"}); err != nil {
		t.Fatal(err)
	}
	ns.Close()
	eventually(t, "leaving", func() bool { return len(s.Ports()) == 0 })
	eventually(t, "using the name again", func() bool { return s.Add(config.Port{Name: "a"}) == nil })
}

// stuck is a port that keeps the worker that sends by it until it is let go.
type stuck struct {
	*porttest.Cable
	entered, release chan struct{}
}

func (p stuck) Transmit(out []port.Out) {
	p.entered <- struct{}{}
	<-p.release
	p.Cable.Transmit(out)
}

func TestFramesThatTheKernelDroppedAreShown(t *testing.T) {
	s := realSwitch(t, false)
	a := plugHost(t, s, config.Port{Name: "a", TxQLen: 2})
	slow := stuck{porttest.NewCable(1), make(chan struct{}, 16), make(chan struct{})}
	if err := s.Attach(config.Port{Name: "slow"}, slow, upLink); err != nil {
		t.Fatal(err)
	}
	f := eth(frame.Broadcast, sta(1), 0x88, 0xb5)
	for i := range 11 {
		if err := a.Send(f); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-slow.entered // The worker has read one frame and reads no more.
		}
	}
	close(slow.release)
	eventually(t, "the reason", func() bool {
		p, _, err := s.Port("a")
		return err == nil && p.Stats.Dropped[frame.DropKernelQueue] == 8 && p.Stats.Receive.Frames == 3
	})
}

func TestLinkNamesThatCollideAreRefused(t *testing.T) {
	s := realSwitch(t, false)
	if err := s.Add(config.Port{Name: "a", Ifname: "vsw7"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Add(config.Port{Name: "b", Ifname: "vsw7"}); err == nil {
		t.Error("a second port got the link of the first")
	}
	if _, err := net.InterfaceByName("vsw7"); err != nil {
		t.Error("the refused port took the first one's link along")
	}
	if n := len(s.Ports()); n != 1 {
		t.Errorf("%d ports", n)
	}
}

func TestPersistentTAPThatNobodyCameToUseIsGone(t *testing.T) {
	s := realSwitch(t, false)
	a, err := s.reserve(config.Port{Name: "kept0", Persistent: true, Owner: "0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.open(a) == nil {
		t.Error("a closed switch took a port")
	}
	if _, err := net.InterfaceByName("kept0"); err == nil {
		t.Error("the link of the port that was not added is still there")
	}
}

func TestForeignTxQLenIsLeftAlone(t *testing.T) {
	s := realSwitch(t, false)
	a := plugHost(t, s, config.Port{Name: "a"})
	for _, n := range []int{0, 100_001, 7} {
		a.set(t, func(l netlink.Link) error { return netlink.LinkSetTxQLen(l, n) })
		if err := s.Set("a", func(p config.Port) (config.Port, error) { p.Learning = new(false); return p, nil }); err != nil {
			t.Errorf("txqlen %d: %v", n, err)
		}
		if p, _, err := s.Port("a"); err != nil || p.Link.TxQLen != n {
			t.Errorf("txqlen %d became %d, %v", n, p.Link.TxQLen, err)
		}
	}
}
