package port

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestLinkFollowsTheLink(t *testing.T) {
	a, b := nettest.New(t), nettest.New(t)
	tap := open(t, named("roam0"))
	moveTo := func(path, name string) func(netlink.Link) error {
		return func(l netlink.Link) error {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := netlink.LinkSetDown(l); err != nil {
				return err
			}
			if err := netlink.LinkSetName(l, name); err != nil {
				return err
			}
			return netlink.LinkSetNsFd(l, fd)
		}
	}
	ipLink(t, "roam0", moveTo(a.Path(), "in-a"))
	if l := linkOf(t, tap); l.Ifname != "in-a" || l.NSID == OwnNSID || l.Up {
		t.Errorf("%+v", l)
	}
	first := linkOf(t, tap).NSID
	if err := a.Do(func() error { ipLink(t, "in-a", moveTo(b.Path(), "in-b")); return nil }); err != nil {
		t.Fatal(err)
	}
	if l := linkOf(t, tap); l.Ifname != "in-b" || l.NSID == OwnNSID || l.NSID == first {
		t.Errorf("%+v", l)
	}
	up, mtu := true, 1234
	if err := tap.SetLink(LinkChange{Up: &up, MTU: &mtu}); err != nil {
		t.Fatal(err)
	}
	if l := linkOf(t, tap); !l.Up || l.MTU != 1234 || l.Ifname != "in-b" {
		t.Errorf("%+v", l)
	}
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	if err := b.Do(func() error {
		ipLink(t, "in-b", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, int(home)) })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if l := linkOf(t, tap); l.Ifname != "in-b" || l.NSID != OwnNSID {
		t.Errorf("%+v", l)
	}
}

// The kernel answers for a link's name and then for the link: it may have
// another name by then.
func TestLinkWhileRenamed(t *testing.T) {
	tap := open(t, named("name0"))
	index := linkOf(t, tap).Index
	stop, ended := make(chan bool), make(chan error, 1)
	go func() {
		l := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
		for i := 1; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := netlink.LinkSetName(l, fmt.Sprintf("name%d", i%2)); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 500 {
		if l := linkOf(t, tap); l.Index != index {
			t.Fatalf("%+v", l)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSetLink(t *testing.T) {
	ns := nettest.New(t)
	for _, path := range []string{"", ns.Path()} {
		cfg := named("set0")
		cfg.Netns = path
		tap := open(t, cfg)
		mtu, q, down := 9000, 5, false
		if err := tap.SetLink(LinkChange{MTU: &mtu, MAC: &stationMAC, TxQLen: &q, Up: &down}); err != nil {
			t.Fatal(err)
		}
		got := linkOf(t, tap)
		want := Link{Ifname: "set0", NSID: got.NSID, Index: got.Index, MAC: stationMAC, MTU: 9000, TxQLen: 5}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		bad := 10
		refused(t, tap.SetLink(LinkChange{MTU: &bad}), os.ErrInvalid, `"set0"`, "mtu 10 is out of range")
	}
}

func TestMismatchIsNamed(t *testing.T) {
	mtu, q, up := 1500, 10, true
	l := Link{MTU: 1500, TxQLen: 10, MAC: stationMAC, AdminUp: true}
	c := LinkChange{MTU: &mtu, TxQLen: &q, MAC: &stationMAC, Up: &up}
	if why := c.mismatch(&l); why != "" {
		t.Error(why)
	}
	for want, spoil := range map[string]func(*Link){
		"the mtu is 1400 although 1500 was set":                                   func(l *Link) { l.MTU = 1400 },
		"the txqlen is 11 although 10 was set":                                    func(l *Link) { l.TxQLen = 11 },
		"the MAC address is 02:00:00:00:00:02 although 02:00:00:00:00:01 was set": func(l *Link) { l.MAC = otherMAC },
		"the up flag is false although true was set":                              func(l *Link) { l.AdminUp = false },
	} {
		bad := l
		spoil(&bad)
		if got := c.mismatch(&bad); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKernelDropsAreShown(t *testing.T) {
	ns := nettest.New(t)
	cfg := named("eth0")
	cfg.Netns, cfg.TxQLen = ns.Path(), 4
	tap := open(t, cfg)
	st := nettest.NewStation(t, ns, "eth0")
	const sent = 20
	for range sent {
		// ENOBUFS is what the station sees of a full queue.
		if err := st.Send(untagged(60)); err != nil && !isNoBufs(err) {
			t.Fatal(err)
		}
	}
	got := len(receiveAll(t, tap))
	if drops := linkOf(t, tap).KernelDrops; got+int(drops) != sent || drops == 0 {
		t.Errorf("%d received, %d dropped by the kernel, %d sent", got, drops, sent)
	}
}

func TestInfo(t *testing.T) {
	cfg := named("info0")
	cfg.Owner, cfg.Group = 0, 0
	tap := open(t, cfg)
	info, err := tap.Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Link != linkOf(t, tap) || info.Owner != 0 || info.Group != 0 || info.VnetHdrLen != frame.VnetHdrLen {
		t.Errorf("%+v", info)
	}
	if want := []string{"tap", "no_pi", "vnet_hdr"}; !slices.Equal(info.Flags, want) {
		t.Errorf("flags %v, want %v", info.Flags, want)
	}
	if !slices.Contains(info.Features, "multi_queue") {
		t.Errorf("features %v", info.Features)
	}
	other, err := open(t, named("info1")).Info()
	if err != nil || other.Owner != -1 || other.Group != -1 {
		t.Errorf("%+v, %v", other, err)
	}
}

func BenchmarkLink(b *testing.B) {
	ns := nettest.New(b)
	for name, path := range map[string]string{"own": "", "other": ns.Path()} {
		cfg := named("bench0")
		cfg.Netns = path
		tap := open(b, cfg)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := tap.Link(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
