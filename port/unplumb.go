package port

import (
	"errors"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// foundNetdev is how a link that became a port by OpenNetdev was, beside what
// found has of it.
type foundNetdev struct {
	// Netns is where the link lives, as TAPConfig has it, and Inode the number of
	// that namespace: by the time it is asked for, the name may be another's.
	Netns string `json:"netns,omitempty"`
	Inode uint64 `json:"inode,omitempty"`

	Promisc     bool           `json:"promisc,omitempty"`
	AddrGenMode int            `json:"addr_gen_mode"` // -1: the link has no IPv6
	LinkLocal   []netip.Prefix `json:"link_local,omitempty"`
}

// unplumb undoes plumb, but for the TAP.
func (t *TAP) unplumb() error {
	a := t.adopted
	err := t.enter("", func(h *netlink.Handle, nsid int) error {
		_, err := a.freeNetdev(h, nsid)
		return err
	})
	if errors.Is(err, ErrGone) {
		// Somebody has deleted the TAP, so it does not tell where the link is.
		_, err = a.putBack()
	}
	return errors.Join(err, t.file.Close())
}

// putBackNetdev is putBack of a link that became a port by OpenNetdev.
func (a *adoption) putBackNetdev() (name string, err error) {
	f := a.found.Netdev
	at, err := openPlace("leave link as it was found", strconv.Itoa(a.index), f.Netns)
	if errors.Is(err, os.ErrNotExist) {
		a.forget()
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer at.close()
	if at.inode != f.Inode {
		a.forget() // The namespace has ended, and the link with it.
		return "", nil
	}
	if redirected(at.Handle, a.index) {
		a.forget() // Another switch has taken it over since.
		return "", nil
	}
	return a.freeNetdev(at.Handle, at.nsid)
}

// freeNetdev leaves the link as it was found and returns its name; it has none if
// it is gone.
func (a *adoption) freeNetdev(h *netlink.Handle, nsid int) (name string, err error) {
	const op = "leave link as it was found"
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := queryIndex(nsid, a.index)
	if err == unix.ENODEV {
		a.forget()
		return "", nil
	}
	if err != nil {
		return "", failed(op, "", "look for the link", err)
	}
	f := a.found.Netdev
	err = unredirect(h, d.Index)
	if d.promisc && !f.Promisc {
		err = errors.Join(err, h.SetPromiscOff(device(d)))
	}
	if d.genMode >= 0 && f.AddrGenMode >= 0 && d.genMode != f.AddrGenMode {
		err = errors.Join(err, h.LinkSetIP6AddrGenMode(device(d), f.AddrGenMode))
	}
	err = errors.Join(err, a.found.putBackLink(h, d))
	for _, p := range f.LinkLocal {
		failure := h.AddrAdd(device(d), address(p))
		// EACCES: IPv6 has been turned off meanwhile.
		if !errors.Is(failure, unix.EEXIST) && !errors.Is(failure, unix.EACCES) {
			err = errors.Join(err, failure)
		}
	}
	if err != nil {
		return "", failed(op, d.Ifname, "put it back", err)
	}
	a.forget()
	return d.Ifname, nil
}
