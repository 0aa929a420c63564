package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// here is the tests' own namespace, as a place of a station.
type here struct{}

func (here) Do(f func() error) error { return f() }

// Stations behind a netdev, an adopted TAP and the port of a container have
// connections to one another. The daemon is killed in the middle, and after its next
// start they go on and no byte is wrong. In the end nothing is left of any daemon.
func testKilledDaemonCostsNoTransfer(t *testing.T) {
	r := newRig(t)
	far := wire(t, "nd0", "10.9.9.1/24")
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "ad0"}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
	if err := netlink.LinkAdd(tap); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(tap) })
	if err := setUp("ad0", "10.9.9.2/24"); err != nil {
		t.Fatal(err)
	}
	before := r.traces()
	inside, vm := nettest.New(t), filepath.Join(r.dir, "run", "vm")
	for _, p := range []config.Port{
		{Name: "nd0", Kind: config.KindNetdev},
		{Name: "ad0", Adopt: true},
		{Name: "web", Netns: inside.PID(), Ifname: "eth0", MAC: &frame.MAC{2, 9, 9, 9, 9, 3}, IP: []netip.Prefix{netip.MustParsePrefix("10.9.9.3/24")}, Ephemeral: true},
		{Name: "vm", Kind: config.KindStream, Listen: vm},
	} {
		if _, err := r.AddPort(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	steady := r.traces()

	c := newCrew(t)
	var streams []*stream
	for i, p := range []struct {
		from, to place
		address  string
	}{{here{}, far, "10.9.9.1"}, {inside, far, "10.9.9.1"}, {here{}, inside, "10.9.9.3"}} {
		a, b := dial(t, p.from, p.to, netip.MustParseAddr(p.address))
		for _, s := range []*stream{{from: a, to: b, seed: [32]byte{byte(i)}}, {from: b, to: a, seed: [32]byte{byte(i), 1}}} {
			streams = append(streams, s)
			c.start(fmt.Sprintf("send %d", i), func() error { return s.write(c.stop) })
			c.start(fmt.Sprintf("receive %d", i), s.read)
		}
	}
	// flowing waits until each has sent more than the kernel's buffers hold.
	flowing := func() {
		t.Helper()
		for _, s := range streams {
			from := s.received.Load()
			eventually(t, func() error {
				if n := s.received.Load() - from; n < 1<<20 {
					return fmt.Errorf("%d bytes came since the daemon is there", n)
				}
				return nil
			})
		}
	}
	for range 3 {
		flowing()
		time.Sleep(rand.N(20 * time.Millisecond)) // The kill is to come at any moment.
		r.signal(unix.SIGKILL)
		<-r.gone
		r.launch()
		r.ready()
		if now := r.traces(); now != steady {
			t.Errorf("after the next start:\n%s\nbefore:\n%s", now, steady)
		}
		conn, err := net.Dial("unix", vm)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	flowing()
	c.end()
	r.aftermath()

	for _, name := range []string{"nd0", "ad0", "web", "vm"} {
		if _, err := r.RemovePort(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	eventually(t, func() error { // The running configuration is kept once more.
		if now := r.traces(); now != before {
			return fmt.Errorf("after the ports:\n%s\nbefore them:\n%s", now, before)
		}
		return nil
	})
}

// traces is what a daemon leaves on the machine: links with their qdiscs and
// filters, sockets and records.
func (r *rig) traces() string {
	r.t.Helper()
	var all []string
	links, err := netlink.LinkList()
	for _, l := range links {
		a := l.Attrs()
		line := fmt.Sprint("link ", a.Name, " promiscuity ", a.Promisc, " mtu ", a.MTU)
		qdiscs, failure := netlink.QdiscList(l)
		filters, failure2 := netlink.FilterList(l, netlink.MakeHandle(0xffff, 0))
		err = errors.Join(err, failure, failure2)
		for _, q := range qdiscs {
			if q.Type() == "ingress" || q.Type() == "clsact" {
				line += fmt.Sprint(" ", q.Type(), " with filters: ", len(filters))
			}
		}
		all = append(all, line)
	}
	slices.Sort(all) // The TAP beside a netdev gets an index anew.
	entries, failure := os.ReadDir(filepath.Join(r.dir, "run"))
	for _, e := range entries {
		line := "file " + e.Name()
		if e.IsDir() {
			records, failure := os.ReadDir(filepath.Join(r.dir, "run", e.Name()))
			err = errors.Join(err, failure)
			if len(records) == 0 {
				continue
			}
			line += fmt.Sprint(" of ", len(records))
		}
		all = append(all, line)
	}
	if err := errors.Join(err, failure); err != nil {
		r.t.Fatal(err)
	}
	return strings.Join(all, "\n")
}
