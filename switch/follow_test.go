package vswitch

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/port"
)

// believed is the link of a port as the switch itself remembers it.
func (r *autoRig) believed(name string) port.Link {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.ports[name]; a != nil {
		return a.link
	}
	return port.Link{}
}

func TestLinksAreFollowedWhereverTheyLive(t *testing.T) {
	for _, where := range []string{"own namespace", "container"} {
		t.Run(where, func(t *testing.T) {
			r := newAutoRig(t)
			there, other := nettest.New(t), nettest.New(t)
			p := config.Port{Name: "p", Ifname: "eth9", Access: 10}
			in := func(f func() error) { try(t, f()) }
			if where == "container" {
				p.Netns = there.Path()
				in = func(f func() error) { try(t, there.Do(f)) }
			}
			try(t, r.Add(p))
			name := "eth9"
			change := func(f func(netlink.Link) error) {
				t.Helper()
				in(func() error {
					l, err := netlink.LinkByName(name)
					if err != nil {
						return err
					}
					return f(l)
				})
			}
			becomes := func(what string, is func(port.Link) bool) {
				t.Helper()
				eventually(t, what, func() bool { return is(r.believed("p")) })
			}

			learn := func() { r.table.Learn(fdb.MakeKey(10, sta(1)), r.believedID("p"), 0) }
			learn()
			change(netlink.LinkSetDown)
			becomes("down", func(l port.Link) bool { return !l.Up && !l.AdminUp })
			if n := r.table.PortCount(r.believedID("p")); n != 0 {
				t.Errorf("%d stations of a link that is down are known", n)
			}
			change(func(l netlink.Link) error { return netlink.LinkSetName(l, "eth8") })
			name = "eth8"
			becomes("renamed", func(l port.Link) bool { return l.Ifname == "eth8" })
			change(netlink.LinkSetUp)
			becomes("up", func(l port.Link) bool { return l.Up })
			change(func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1300) })
			becomes("mtu", func(l port.Link) bool { return l.MTU == 1300 && r.live.Load().ports[r.believedID("p")].mtu == 1300 })

			before := r.believed("p").NSID
			fd, err := unix.Open(other.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			try(t, err)
			defer unix.Close(fd)
			change(func(l netlink.Link) error { return netlink.LinkSetNsFd(l, fd) })
			becomes("moved", func(l port.Link) bool { return l.NSID != before && l.NSID != port.OwnNSID && l.Ifname == "eth8" })
			in = func(f func() error) { try(t, other.Do(f)) }
			if n := len(r.told(PortRemoved, "p")); n != 0 {
				t.Error("a moved TAP was taken for a removed one")
			}
			if n := len(r.told(LinkUp, "p")); n != 1 {
				t.Errorf("%d events of link up", n)
			}
			change(netlink.LinkDel)
			eventually(t, "removal", func() bool { return len(r.told(PortRemoved, "p")) == 1 && len(r.Ports()) == 0 })
			if len(r.told(PortGone, "p")) != 1 {
				t.Error("that the port is gone was not told")
			}
		})
	}
}

// However short it is: by the time of the look the link is up again.
func TestLinkThatIsDownForAMomentForgetsItsStations(t *testing.T) {
	r := newAutoRig(t)
	ns := nettest.New(t)
	try(t, r.Add(config.Port{Name: "p", Ifname: "eth0", Access: 10, Netns: ns.Path()}))
	eventually(t, "up", func() bool { return r.believed("p").Up })
	id, key := r.believedID("p"), fdb.MakeKey(10, sta(1))
	flap := func() {
		try(t, ns.Do(func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return errors.Join(netlink.LinkSetDown(l), netlink.LinkSetUp(l))
		}))
	}
	// Only from its first look on the monitor knows what is news.
	eventually(t, "the first look", func() bool { flap(); return len(r.told(LinkDown, "p")) > 0 })
	eventually(t, "up", func() bool { return len(r.told(LinkUp, "p")) > 0 && r.believed("p").Up })
	for range 100 {
		r.table.Learn(key, id, 0)
		flap()
		eventually(t, "flush", func() bool { return r.table.PortCount(id) == 0 && r.believed("p").Up })
	}
	// Nor may the switch be too busy to look.
	before := len(r.told(LinkDown, "p"))
	r.table.Learn(key, id, 0)
	r.mu.Lock()
	flap()
	r.mu.Unlock()
	eventually(t, "flush", func() bool { return r.table.PortCount(id) == 0 && r.believed("p").Up })
	eventually(t, "events", func() bool { return len(r.told(LinkDown, "p")) > before })
	if down, up := len(r.told(LinkDown, "p")), len(r.told(LinkUp, "p")); down != up {
		t.Errorf("%d events of link down, %d of link up", down, up)
	}
}

// The kernel's events are lost for real: nobody reads while more of them come
// than the socket has room for.
func TestLostEventsEndInTheKernelsTruth(t *testing.T) {
	const stay = 8
	r := newAutoRig(t, named("vm*", 10))
	ns := nettest.New(t)
	for i := range stay + 1 {
		try(t, r.Add(config.Port{Name: fmt.Sprint("p", i), Ifname: fmt.Sprint("eth", i), Access: 10, Netns: ns.Path()}))
	}
	eventually(t, "quiet", func() bool { return r.believed("p0").Up })

	r.mu.Lock() // Whoever is told of a link waits here.
	err := ns.Do(func() error {
		var links []netlink.Link
		for i := range stay + 1 {
			l, err := netlink.LinkByName(fmt.Sprint("eth", i))
			if err != nil {
				return err
			}
			links = append(links, l)
		}
		// 4 MiB of room, twice that as the kernel counts it, and more than 1 KiB an
		// event. What happens to the other links then is not heard of.
		for i := range 8_000 {
			if err := netlink.LinkSetMTU(links[0], 1000+i%400); err != nil {
				return err
			}
		}
		for i, l := range links[:stay] {
			if err := netlink.LinkSetMTU(l, 1400+i); err != nil {
				return err
			}
		}
		if err := netlink.LinkDel(links[stay]); err != nil {
			return err
		}
		if err := netlink.LinkSetDown(links[1]); err != nil {
			return err
		}
		if err := netlink.LinkSetDown(links[2]); err != nil {
			return err
		}
		return netlink.LinkSetName(links[2], "renamed0")
	})
	tuntap(t, "vm0")
	r.mu.Unlock()
	try(t, err)

	eventually(t, "the kernel's truth", func() bool {
		for i := range stay {
			l := r.believed(fmt.Sprint("p", i))
			name := fmt.Sprint("eth", i)
			if i == 2 {
				name = "renamed0"
			}
			if l.Ifname != name || l.MTU != 1400+i || l.Up != (i != 1 && i != 2) || r.live.Load().ports[i].mtu != l.MTU {
				return false
			}
		}
		return len(r.told(PortRemoved, fmt.Sprint("p", stay))) == 1 && r.believed("vm0").Up
	})
	if r.Resyncs() == 0 {
		t.Error("no events were lost, or it was not counted")
	}
}

func (r *autoRig) believedID(name string) frame.PortID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ports[name].id
}
