package port

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// adopt opens the persistent TAP of that name, which is nobody's, and keeps how
// it was before it changes anything.
func adopt(cfg *TAPConfig) (*TAP, error) {
	const op = "adopt TAP"
	d, err := query(OwnNSID, cfg.Ifname)
	if err == unix.ENODEV {
		return nil, &Error{
			Op: op, Name: cfg.Ifname, Why: "there is no such link", Err: os.ErrNotExist,
			Fix: "make it with: ip tuntap add " + cfg.Ifname + " mode tap; or leave out adopt, and the switch makes a TAP of its own",
		}
	}
	if err != nil {
		return nil, failed(op, cfg.Ifname, "look for the link", err)
	}
	if !d.tap || !d.persistent || d.Ifname != cfg.Ifname || d.inUse() {
		return nil, occupied(cfg.Ifname, d, -1)
	}
	a, err := cfg.adoption(d)
	if err != nil {
		return nil, err
	}
	t, err := a.open(cfg, d)
	if err != nil {
		a.forget()
		return nil, err
	}
	return t, nil
}

// adoption notes how d was found, as far as the kernel tells before d is opened.
func (c *TAPConfig) adoption(d *netdev) (*adoption, error) {
	a := &adoption{index: d.Index}
	a.found.Flags = d.flags()
	var err error
	if a.found.Wanted, a.found.Offload, err = features(d.Index); err != nil {
		return nil, failed("adopt TAP", c.Ifname, "ask for its offloads", err)
	}
	if c.FoundDir != "" {
		if a.path, err = recordPath(c.FoundDir, 0, d.Index); err != nil {
			return nil, failed("adopt TAP", c.Ifname, "name the record of how it was found", err)
		}
	}
	return a, a.keep(c.Ifname)
}

// open opens d and makes it the switch's. On an error of a late step it is put
// back.
func (a *adoption) open(cfg *TAPConfig, d *netdev) (*TAP, error) {
	const op = "adopt TAP"
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, deviceError(cfg.Ifname, err)
	}
	flags := uint16(tapFlags)
	if d.multiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if err := setIff(fd, cfg.Ifname, flags); err != nil {
		_ = unix.Close(fd) // It has no link yet: nothing can be lost.
		return nil, setIffError(cfg, err)
	}
	n, err := a.check(fd, cfg.Ifname)
	if err == nil {
		err = a.noteHdrLen(n, cfg.Ifname)
	}
	if err == nil {
		var t *TAP
		if t, err = newTAP(fd); err == nil {
			t.adopted = a
			return t, nil
		}
		fd = -1 // newTAP has closed it.
		err = failed(op, cfg.Ifname, "prepare", err)
	}
	if fd >= 0 {
		_ = unix.Close(fd) // The error at hand says more.
	}
	if _, left := a.putBack(); left != nil {
		return nil, fmt.Errorf("%w; %w", err, left)
	}
	return nil, err
}

// check makes sure that fd is the only user of the link that was found, and
// returns the length of its offload header.
func (a *adoption) check(fd int, ifname string) (hdrLen int, err error) {
	const op = "adopt TAP"
	if err := sameLink(fd, a.index); err != nil {
		return 0, &Error{Op: op, Name: ifname, Why: "the link was replaced just now", Fix: "try again", Err: ErrBusy}
	}
	now, err := queryIndex(OwnNSID, a.index)
	if err != nil {
		return 0, failed(op, ifname, "look at the link again", err)
	}
	if now.queues > 1 {
		// Whoever else has a queue gets a part of the frames.
		return 0, &Error{Op: op, Name: ifname, Why: "another process has just opened a queue of it", Fix: "end that process", Err: ErrBusy}
	}
	size, err := unix.IoctlGetUint32(fd, unix.TUNGETVNETHDRSZ)
	if err != nil {
		return 0, failed(op, ifname, "TUNGETVNETHDRSZ", err)
	}
	return int(size), nil
}

// flags are those with which the last user opened the TAP.
func (d *netdev) flags() uint16 {
	flags := uint16(unix.IFF_TAP)
	for _, f := range []struct {
		flag uint16
		set  bool
	}{{unix.IFF_NO_PI, !d.pi}, {unix.IFF_VNET_HDR, d.vnetHdr}, {unix.IFF_MULTI_QUEUE, d.multiQueue}} {
		if f.set {
			flags |= f.flag
		}
	}
	return flags
}

// inUse tells whether somebody has the TAP open.
func (d *netdev) inUse() bool { return d.attached || d.queues > 0 }

// release closes an adopted TAP and leaves it, or the link behind it, as it was found. Of one that lives
// in another namespace by now, where it cannot be opened again, that is the link
// alone.
func (t *TAP) release() error {
	if t.lower != 0 {
		return t.unplumb()
	}
	a := t.adopted
	d, err := t.netdev()
	if err == nil && d.NSID != OwnNSID {
		a.mu.Lock()
		defer a.mu.Unlock()
		defer a.forget()
		err = t.enter(d.Ifname, func(h *netlink.Handle, _ int) error { return a.found.putBackLink(h, d) })
		return errors.Join(err, t.file.Close())
	}
	if err := t.file.Close(); err != nil {
		return err
	}
	if err == nil {
		a.index = d.Index // It may have been away and come back under another.
	}
	_, err = a.putBack()
	return err
}
