package nettest

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
)

// Wire makes a veth pair: one of the name in the calling thread's namespace, and eth0,
// up, in one of its own, as New makes it. Both go with the test.
func Wire(t testing.TB, name string) *netns.NS {
	t.Helper()
	far := New(t)
	fd, err := unix.Open(far.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(fd)}
	if err := netlink.LinkAdd(veth); errors.Is(err, unix.EOPNOTSUPP) {
		Lack(t, "the kernel has no veth")
	} else if err != nil {
		t.Fatal(err)
	}
	// From the far end, for the near one may be in any namespace.
	t.Cleanup(func() { _ = far.Do(func() error { return change("eth0", netlink.LinkDel) }) })
	if err := far.Do(func() error { return change("eth0", netlink.LinkSetUp) }); err != nil {
		t.Fatal(err)
	}
	return far
}

// change does something to a link of the calling thread's namespace.
func change(name string, do func(netlink.Link) error) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return do(l)
}
