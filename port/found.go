package port

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// found is how an adopted TAP, or a link of OpenNetdev, was before the switch changed it.
type found struct {
	// Link is what the switch has changed, as it was, and IP what it has added.
	Link LinkChange     `json:"link"`
	IP   []netip.Prefix `json:"ip,omitempty"`
	// What the kernel keeps of the last user of a TAP: the flags, the length of
	// the offload header (0: not changed yet), the offloads that are negotiated,
	// and the features that ethtool shows as requested.
	Flags      uint16          `json:"flags"`
	VnetHdrLen int             `json:"vnet_hdr_len"`
	Offload    int             `json:"offload"`
	Wanted     map[string]bool `json:"wanted"`
	// Netdev is nil unless the link became a port by OpenNetdev. Then the kernel
	// keeps nothing of a last user.
	Netdev *foundNetdev `json:"netdev,omitempty"`
}

// adoption is found with what belongs to it. It is kept in a file so that the
// TAP can be put back also by the next process.
type adoption struct {
	index int
	path  string // of the file; empty for none

	mu    sync.Mutex
	found found
}

// note adds what c is about to change of d, and the addresses ip that it is to
// get, unless the switch has changed it before, and keeps it before that happens.
func (a *adoption) note(c *LinkChange, d *netdev, ip []netip.Prefix) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := &a.found.Link
	if was.MTU == nil && c.MTU != nil && *c.MTU != d.MTU {
		was.MTU = new(d.MTU)
	}
	if was.MAC == nil && c.MAC != nil && *c.MAC != d.MAC {
		was.MAC = new(d.MAC)
	}
	if was.TxQLen == nil && c.TxQLen != nil && *c.TxQLen != d.TxQLen {
		was.TxQLen = new(d.TxQLen)
	}
	if was.Up == nil && c.Up != nil && *c.Up != d.AdminUp {
		was.Up = new(d.AdminUp)
	}
	if len(ip) > 0 {
		var has []netlink.Addr
		_, err := whole(func() (err error) {
			has, err = netlink.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}, netlink.FAMILY_ALL)
			return err
		})
		if err != nil {
			return failed(setUpLink, d.Ifname, "list its addresses", err)
		}
		for _, p := range ip {
			is := func(old netlink.Addr) bool { return old.IPNet.String() == address(p).IPNet.String() }
			if !slices.ContainsFunc(has, is) {
				a.found.IP = append(a.found.IP, p)
			}
		}
	}
	return a.keep(d.Ifname)
}

// noteHdrLen keeps the length of the offload header before it is changed.
func (a *adoption) noteHdrLen(n int, ifname string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.found.VnetHdrLen = n
	return a.keep(ifname)
}

// putBackLink undoes what was changed of the link now.
func (f *found) putBackLink(h *netlink.Handle, now *netdev) (err error) {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: now.Index}}
	for _, p := range f.IP {
		failure := h.AddrDel(link, address(p))
		if !errors.Is(failure, unix.EADDRNOTAVAIL) { // Somebody else has removed it.
			err = errors.Join(err, failure)
		}
	}
	_, failure := change(h, now, &f.Link, nil)
	return errors.Join(err, failure)
}

// putBack leaves the TAP, which is in the own namespace and which this process
// has closed, as it was found and returns its name. One that is gone is as good as
// put back, and has none.
func (a *adoption) putBack() (name string, err error) {
	if a.found.Netdev != nil {
		return a.putBackNetdev()
	}
	const op = "leave TAP as it was found"
	d, err := queryIndex(OwnNSID, a.index)
	if err == unix.ENODEV || err == nil && (!d.tap || !d.persistent) {
		a.forget()
		return "", nil
	}
	if err != nil {
		return "", failed(op, strconv.Itoa(a.index), "look for the link", err)
	}
	fd, err := reopen(d, a.found.Flags)
	if err != nil {
		return "", failed(op, d.Ifname, "open it with the flags it had", err)
	}
	defer unix.Close(fd)
	a.mu.Lock()
	defer a.mu.Unlock()
	f := &a.found
	if f.VnetHdrLen != 0 {
		err = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, f.VnetHdrLen)
	}
	err = errors.Join(err, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, f.Offload), want(a.index, f.Wanted),
		f.putBackLink(&netlink.Handle{}, d))
	if err != nil {
		return "", failed(op, d.Ifname, "put it back", err)
	}
	a.forget()
	return d.Ifname, nil
}

// reopen opens the TAP d with these flags, which the kernel keeps until its next
// user. A process that has just ended may still be at closing it.
func reopen(d *netdev, flags uint16) (fd int, err error) {
	fd, err = unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	for try := 0; ; try++ {
		if err = setIff(fd, d.Ifname, flags); err != unix.EBUSY || try == dyingTries {
			break
		}
		time.Sleep(dyingPause)
	}
	if err == nil {
		err = sameLink(fd, d.Index)
	}
	if err != nil {
		_ = unix.Close(fd) // Should it have made a link, that goes with it.
		return -1, err
	}
	return fd, nil
}

// sameLink tells whether the TAP fd, opened by name, is the link of the own
// namespace with that index. Had that been renamed or deleted just before, the
// kernel would have made another one.
func sameLink(fd, index int) error {
	name, _, err := getIff(fd)
	if err != nil {
		return err
	}
	d, err := query(OwnNSID, name)
	if err == nil && d.Index != index {
		err = unix.ENODEV
	}
	return err
}
