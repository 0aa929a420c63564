package port

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// place is a network namespace that links are changed in.
type place struct {
	netns string // as TAPConfig has it; empty for the own one
	fd    int    // -1 for the own one
	nsid  int
	inode uint64 // number of the namespace; 0 for the own one
	*netlink.Handle
}

// openPlace opens a network namespace for op on the link ifname. The caller closes
// it.
func openPlace(op, ifname, spec string) (*place, error) {
	p := &place{fd: -1, nsid: OwnNSID, Handle: &netlink.Handle{}} // a socket for each request
	fd, err := openTarget(spec, ifname)
	if err != nil || fd < 0 {
		return p, err
	}
	p.netns, p.fd = spec, fd
	id, err := identify(fd)
	if err == nil {
		p.inode = id.ino
		p.nsid, err = nsidOf(fd)
	}
	if err == nil {
		p.Handle, err = netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	}
	if err != nil {
		_ = unix.Close(fd) // Opened to be read: nothing can be lost.
		return nil, failed(op, ifname, "enter network namespace "+spec, err)
	}
	return p, nil
}

func (p *place) close() {
	if p.fd >= 0 {
		p.Close()
		_ = unix.Close(p.fd)
	}
}
