package port

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachLink is the Op of errors here.
const attachLink = "attach link"

// NetdevConfig is what OpenNetdev makes a port of.
type NetdevConfig struct {
	// Ifname is the link, and Netns where it lives, as for TAPConfig.
	Ifname, Netns string
	MTU           int // of the link, 68 to 65521 bytes; 0 leaves it
	Up            bool
	// FoundDir is that of TAPConfig, for the link.
	FoundDir string
}

// OpenNetdev makes a port of a link that somebody else owns: what comes in by the
// link is redirected to a TAP beside it, and what the switch writes to that TAP
// out of the link. All methods are about the link, but for Link.KernelDrops. The
// host itself hears nothing by the link any more, and does not speak of its own
// accord: the link is promiscuous and without link-local IPv6 addresses. Close
// leaves it as it was found. If the link is deleted or moved, the port is gone.
func OpenNetdev(cfg NetdevConfig) (*TAP, error) {
	if err := CheckIfname(cfg.Ifname); err != nil {
		return nil, err
	}
	change := cfg.change()
	if err := change.validate(attachLink, cfg.Ifname); err != nil {
		return nil, err
	}
	at, err := openPlace(attachLink, cfg.Ifname, cfg.Netns)
	if err != nil {
		return nil, err
	}
	defer at.close()
	d, err := cfg.find(at)
	if err != nil {
		return nil, err
	}
	a, err := cfg.adoption(at, d)
	if err != nil {
		return nil, err
	}
	t, err := openAt(&TAPConfig{Ifname: besideOf(d), Netns: cfg.Netns, MTU: besideMTU, Owner: -1, Group: -1}, at.fd)
	if err != nil {
		a.forget()
		return nil, fmt.Errorf("%s %q: %w", attachLink, cfg.Ifname, err)
	}
	if err = t.plumb(at, a, d); err == nil {
		err = t.SetLink(cfg.change())
	}
	if err != nil {
		if left := t.Close(); left != nil {
			return nil, fmt.Errorf("%w; %w", err, left)
		}
		return nil, err
	}
	return t, nil
}

// besideMTU is one with which the kernel has no IPv6 on the TAP (IPV6_MIN_MTU): a
// router would say there which groups it listens to. Nothing else asks for the MTU
// of a TAP to which frames are redirected, of whatever length.
const besideMTU = 1279

// besideOf names the TAP beside a link, which no other link has in common.
func besideOf(d *netdev) string { return fmt.Sprintf("vsw-%d", d.Index) }

func (c *NetdevConfig) change() LinkChange {
	change := LinkChange{Up: &c.Up}
	if c.MTU != 0 {
		change.MTU = &c.MTU
	}
	return change
}

// find returns the link if it can be a port.
func (c *NetdevConfig) find(at *place) (*netdev, error) {
	d, err := query(at.nsid, c.Ifname)
	if err == unix.ENODEV {
		e := &Error{Op: attachLink, Name: c.Ifname, Why: "there is no such link", Err: os.ErrNotExist, Fix: "see: ip link"}
		if c.Netns != "" {
			e.Why += " in network namespace " + c.Netns
		}
		return nil, e
	}
	if err != nil {
		return nil, failed(attachLink, c.Ifname, "look for the link", err)
	}
	if err := d.refusal(c.Ifname); err != nil {
		return nil, err
	}
	return d, nil
}

// refusal says why a link, asked for by name, cannot be a port, as far as the link
// itself tells.
func (d *netdev) refusal(name string) error {
	e := &Error{Op: attachLink, Name: name, Err: ErrNotSupported}
	switch {
	case d.Ifname != name:
		e.Why = name + " is another name of link " + d.Ifname
		e.Fix = "use that one"
	case !d.ethernet:
		e.Why = "it carries no Ethernet frames"
		e.Fix = "choose an Ethernet link: a TAP, a veth, a NIC, a vxlan or the like"
	case d.master != 0:
		e.Err = ErrBusy
		e.Why = fmt.Sprintf("it belongs to a %s, link index %d", d.slaveKind, d.master)
		if master, err := queryIndex(d.NSID, d.master); err == nil {
			e.Why = fmt.Sprintf("it belongs to %s %s", d.slaveKind, master.Ifname)
		}
		e.Fix = "take it out with: ip link set " + name + " nomaster"
	case d.kind == KindTUN && d.isOurs():
		e.Err = ErrBusy
		e.Why = "it is the TAP of a port of this switch"
		e.Fix = "choose another link"
	default:
		return nil
	}
	return e
}

// isOurs tells whether this process has the TAP d open.
func (d *netdev) isOurs() bool {
	for _, fd := range descriptorsOf("/proc/self", d.Ifname) {
		if there, err := nsidOfTAP(fd); err == nil && there == d.NSID {
			return true
		}
	}
	return false
}

// nsidOfTAP returns where the link of a TAP lives. The descriptor may be somebody
// else's file by now: the question does that no harm.
func nsidOfTAP(fd int) (int, error) {
	ns, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
	if err != nil {
		return 0, err
	}
	defer unix.Close(ns)
	if own, err := isOwn(ns); err != nil || own {
		return OwnNSID, err
	}
	return nsidOf(ns)
}

// plumb joins the TAP t, which is down, and the link d. Whatever comes of it, Close
// puts back what was changed.
func (t *TAP) plumb(at *place, a *adoption, d *netdev) error {
	own, err := t.netdev()
	if err != nil {
		a.forget()
		return err
	}
	t.adopted, t.beside, t.lower = a, own.Index, d.Index
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"name the link in the alias of " + own.Ifname, func() error { return at.LinkSetAlias(device(own), "vswitchd: "+d.Ifname) }},
		{"redirect " + own.Ifname, func() error { return redirect(at.Handle, own.Index, d.Index) }},
		{"set " + own.Ifname + " up", func() error { return at.LinkSetUp(device(own)) }},
		{"silence the host", func() error { return a.found.Netdev.silence(at.Handle, d) }},
		{"set it promiscuous", func() error { return at.SetPromiscOn(device(d)) }},
		{"redirect it", func() error { return redirect(at.Handle, d.Index, own.Index) }},
	} {
		if err := step.do(); err != nil {
			return plumbError(d.Ifname, step.what, err)
		}
	}
	return nil
}

// Beside returns the index of the TAP's link if that is not the port's, see
// OpenNetdev; else 0. It lives where the port's link does.
func (t *TAP) Beside() int { return t.beside }

func plumbError(name, step string, err error) error {
	e := failed(attachLink, name, step, err)
	if errors.Is(err, errNoRedirect) {
		e.Err, e.Fix = ErrNotSupported, "load them: modprobe -a act_mirred cls_matchall"
	}
	return e
}

func device(d *netdev) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.Index}}
}

// modeNone is IN6_ADDR_GEN_MODE_NONE (linux/if_link.h).
const modeNone = 1

// silence keeps the host's IPv6 stack from speaking on the link of its own accord,
// which it needs a link-local address for.
func (f *foundNetdev) silence(h *netlink.Handle, d *netdev) error {
	if d.genMode >= 0 && d.genMode != modeNone {
		if err := h.LinkSetIP6AddrGenMode(device(d), modeNone); err != nil {
			return err
		}
	}
	for _, p := range f.LinkLocal {
		if err := h.AddrDel(device(d), address(p)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
	}
	return nil
}

// adoption notes how the link was found.
func (c *NetdevConfig) adoption(at *place, d *netdev) (*adoption, error) {
	qdisc, ours, err := ingressOf(at.Handle, d.Index)
	if err != nil {
		return nil, failed(attachLink, c.Ifname, "list its qdiscs and filters", err)
	}
	if ours {
		return nil, &Error{
			Op: attachLink, Name: c.Ifname, Why: "it is a port of a switch already", Err: ErrBusy,
			Fix: "see: vswitchctl port list; if no switch has it, free it with: tc qdisc del dev " + c.Ifname + " ingress",
		}
	}
	if qdisc != nil {
		return nil, &Error{
			Op: attachLink, Name: c.Ifname, Why: "somebody has filters for what comes in by it: it has the qdisc " + qdisc.Type(), Err: ErrBusy,
			Fix: "remove that, if it is of no use any more, with: tc qdisc del dev " + c.Ifname + " " + qdisc.Type(),
		}
	}
	local, err := linkLocal(at.Handle, d)
	if err != nil {
		return nil, failed(attachLink, c.Ifname, "list its addresses", err)
	}
	a := &adoption{index: d.Index}
	a.found.Netdev = &foundNetdev{Netns: at.netns, Inode: at.inode, Promisc: d.promisc, AddrGenMode: d.genMode, LinkLocal: local}
	if d.TxQLen == 0 {
		a.found.Link.TxQLen = new(0) // Which the kernel takes for an oversight, and makes 1000, with any qdisc.
	}
	if c.FoundDir != "" {
		if a.path, err = recordPath(c.FoundDir, at.inode, d.Index); err != nil {
			return nil, failed(attachLink, c.Ifname, "name the record of how it was found", err)
		}
	}
	return a, a.keep(c.Ifname)
}

// linkLocal lists the link-local IPv6 addresses of a link.
func linkLocal(h *netlink.Handle, d *netdev) (local []netip.Prefix, err error) {
	var addrs []netlink.Addr
	_, err = whole(func() (err error) {
		addrs, err = h.AddrList(device(d), netlink.FAMILY_V6)
		return err
	})
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP)
		if bits, _ := a.Mask.Size(); ip.IsLinkLocalUnicast() {
			local = append(local, netip.PrefixFrom(ip, bits))
		}
	}
	return local, err
}
