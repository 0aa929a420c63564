package port

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// setUpLink is the Op of errors here.
const setUpLink = "set up the link"

// LinkChange is what to change about a link; what is nil stays. Ranges are
// those of TAPConfig.
type LinkChange struct {
	MTU    *int       `json:"mtu,omitempty"`
	MAC    *frame.MAC `json:"mac,omitempty"`
	TxQLen *int       `json:"txqlen,omitempty"`
	Up     *bool      `json:"up,omitempty"`
}

func (c *LinkChange) validate(op, name string) error {
	switch {
	case c.MTU != nil && (*c.MTU < frame.MinMTU || *c.MTU > frame.MaxMTU):
		return invalid(op, name, fmt.Sprintf("mtu %d is out of range", *c.MTU), fmt.Sprintf("choose %d to %d", frame.MinMTU, frame.MaxMTU))
	case c.MAC != nil && (c.MAC.IsGroup() || c.MAC.IsZero()):
		return invalid(op, name, "no station can have the MAC address "+c.MAC.String(), "choose one such as 02:00:5e:10:00:01")
	case c.TxQLen != nil && *c.TxQLen < 1:
		return invalid(op, name, fmt.Sprintf("txqlen %d is out of range", *c.TxQLen), "choose 1 or more")
	}
	return nil
}

// SetLink changes the link wherever it lives now, and checks that it has
// become as it should. On an error what was changed is put back; the error says
// so if that failed too. What the kernel drops on the way, such as the routes
// of a link that goes down, is lost.
func (t *TAP) SetLink(c LinkChange) error {
	return t.setLink(c, nil, func(*netdev) error { return nil })
}

// setLink is SetLink, which also gives addresses to the link. The caller's
// confirm checks more of what is read back.
func (t *TAP) setLink(c LinkChange, ip []netip.Prefix, confirm func(*netdev) error) error {
	before, err := t.netdev()
	if err != nil {
		return err
	}
	if err := c.validate(setUpLink, before.Ifname); err != nil {
		return err
	}
	if t.adopted != nil {
		if err := t.adopted.note(&c, before, ip); err != nil {
			return err
		}
	}
	var added []netip.Prefix
	err = t.enter(before.Ifname, func(h *netlink.Handle, _ int) (err error) {
		added, err = change(h, before, &c, ip)
		return err
	})
	if err == nil {
		err = t.check(&c, confirm)
	}
	if err == nil {
		return nil
	}
	if left := t.putBack(before, added); left != nil {
		return fmt.Errorf("%w; the link could not be put back: %w", err, left)
	}
	return err
}

func (t *TAP) check(c *LinkChange, confirm func(*netdev) error) error {
	got, err := t.netdev()
	if err != nil {
		return err
	}
	if why := c.mismatch(&got.Link); why != "" {
		return &Error{
			Op: setUpLink, Name: got.Ifname, Why: why, Err: ErrNotSupported,
			Fix: "see whether another program (NetworkManager, udev) sets up this link, and let it leave it alone",
		}
	}
	return confirm(got)
}

func (t *TAP) putBack(before *netdev, added []netip.Prefix) error {
	now, err := t.netdev()
	if err != nil {
		return err
	}
	return t.enter(now.Ifname, func(h *netlink.Handle, _ int) error {
		link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: now.Index}}
		for _, p := range added {
			failure := h.AddrDel(link, address(p))
			if !errors.Is(failure, unix.EADDRNOTAVAIL) { // gone with an MTU below 1280, say
				err = errors.Join(err, failure)
			}
		}
		old := LinkChange{MTU: &before.MTU, MAC: &before.MAC, TxQLen: &before.TxQLen, Up: &before.AdminUp}
		_, failure := change(h, now, &old, nil)
		return errors.Join(err, failure)
	})
}

// enter calls f with netlink sockets of the namespace that the link lives in, and
// its id.
func (t *TAP) enter(ifname string, f func(h *netlink.Handle, nsid int) error) (err error) {
	closed := t.conn.Control(func(fd uintptr) {
		err = t.locate(int(fd), func(_ string, ns, nsid int) error {
			if nsid == OwnNSID {
				return f(&netlink.Handle{}, nsid) // a socket for each request
			}
			h, err := netlink.NewHandleAt(netns.NsHandle(ns), unix.NETLINK_ROUTE)
			if err != nil {
				return failed(setUpLink, ifname, "enter its network namespace", err)
			}
			defer h.Close()
			return f(h, nsid)
		})
	})
	if closed != nil {
		return os.ErrClosed
	}
	return err
}

// change sends what differs from d, addresses before up so that the station has
// them when the link comes up. It returns those that were not there before.
func change(h *netlink.Handle, d *netdev, c *LinkChange, ip []netip.Prefix) (added []netip.Prefix, err error) {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}
	what := ""
	if c.MAC != nil && *c.MAC != d.MAC {
		what, err = "MAC address "+c.MAC.String(), h.LinkSetHardwareAddr(link, c.MAC[:])
	}
	if err == nil && c.MTU != nil && *c.MTU != d.MTU {
		what, err = fmt.Sprintf("mtu %d", *c.MTU), h.LinkSetMTU(link, *c.MTU)
	}
	if err == nil && c.TxQLen != nil && *c.TxQLen != d.TxQLen {
		what, err = fmt.Sprintf("txqlen %d", *c.TxQLen), h.LinkSetTxQLen(link, *c.TxQLen)
	}
	for i := 0; i < len(ip) && err == nil; i++ {
		what, err = "address "+ip[i].String(), h.AddrAdd(link, address(ip[i]))
		switch {
		case err == nil:
			added = append(added, ip[i])
		case errors.Is(err, unix.EEXIST):
			err = nil
		case errors.Is(err, unix.EACCES) && ip[i].Addr().Is6():
			return added, &Error{
				Op: setUpLink, Name: d.Ifname, Why: "cannot set " + what + ": IPv6 is off there", Err: ErrNotSupported,
				Fix: "in its network namespace set the sysctl net.ipv6.conf.default.disable_ipv6=0, and net.ipv6.conf." + d.Ifname + ".disable_ipv6=0 if the link was there before",
			}
		}
	}
	if err == nil && c.Up != nil && *c.Up != d.AdminUp {
		what, err = "up or down", setUp(h, link, *c.Up)
	}
	if err != nil {
		return added, failed(setUpLink, d.Ifname, "cannot set "+what, err)
	}
	return added, nil
}

func setUp(h *netlink.Handle, link netlink.Link, up bool) error {
	if up {
		return h.LinkSetUp(link)
	}
	return h.LinkSetDown(link)
}

func address(p netip.Prefix) *netlink.Addr {
	ip := p.Addr().Unmap()
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(p.Bits(), ip.BitLen())}}
}

// mismatch names the first difference between what was asked for and what is.
func (c *LinkChange) mismatch(l *Link) string {
	differs := func(what string, want, got any) string {
		return fmt.Sprintf("the %s is %v although %v was set", what, got, want)
	}
	switch {
	case c.MTU != nil && *c.MTU != l.MTU:
		return differs("mtu", *c.MTU, l.MTU)
	case c.MAC != nil && *c.MAC != l.MAC:
		return differs("MAC address", *c.MAC, l.MAC)
	case c.TxQLen != nil && *c.TxQLen != l.TxQLen:
		return differs("txqlen", *c.TxQLen, l.TxQLen)
	case c.Up != nil && *c.Up != l.AdminUp:
		return differs("up flag", *c.Up, l.AdminUp)
	}
	return ""
}

// addGateways adds the default routes, once the link is up.
func (t *TAP) addGateways(c *TAPConfig) error {
	d, err := t.netdev()
	if err != nil {
		return err
	}
	return t.enter(d.Ifname, func(h *netlink.Handle, _ int) error {
		for _, g := range c.Gateway {
			all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if g.Is6() {
				all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			err := h.RouteAdd(&netlink.Route{LinkIndex: d.Index, Dst: address(all).IPNet, Gw: g.AsSlice()})
			if errors.Is(err, unix.EEXIST) {
				return &Error{
					Op: setUpLink, Name: d.Ifname, Why: "cannot add a default route by " + g.String() + ": network namespace " + c.Netns + " has one", Err: ErrExists,
					Fix: "leave out gateway, or delete that route first",
				}
			}
			if err != nil {
				return failed(setUpLink, d.Ifname, "cannot add a default route by "+g.String(), err)
			}
		}
		return nil
	})
}
