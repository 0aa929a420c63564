package port

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Link is the state of the link behind a port.
type Link struct {
	Ifname string
	// NSID is the id of the network namespace that the link lives in, as
	// `ip netns list-id` shows it; OwnNSID for the daemon's own.
	NSID   int
	Index  int
	MAC    frame.MAC // the station's
	MTU    int       // bytes
	TxQLen int       // frames
	// Up says that frames pass: IFF_UP and IFF_LOWER_UP. AdminUp is IFF_UP alone.
	Up, AdminUp bool
	// KernelDrops is the link's tx_dropped: frames that the kernel dropped in
	// the queue before the switch read them. It counts for as long as the link
	// exists, which for a persistent TAP is longer than the daemon.
	KernelDrops uint64
}

// Link returns the state of the link wherever it lives now, or ErrGone or
// os.ErrClosed. It costs a handful of system calls, some 50 µs of CPU time, and
// may wait for the kernel's RTNL lock.
func (t *TAP) Link() (Link, error) {
	d, err := t.netdev()
	if err != nil {
		return Link{}, err
	}
	return d.Link, nil
}

func (t *TAP) netdev() (d *netdev, err error) {
	closed := t.conn.Control(func(fd uintptr) { d, err = t.find(int(fd)) })
	if closed != nil {
		return nil, os.ErrClosed
	}
	return d, err
}

// find asks for the link, again if it was renamed or moved between the
// questions.
func (t *TAP) find(fd int) (d *netdev, err error) {
	for range 10 {
		err = t.locate(fd, func(name string, _, nsid int) (err error) {
			if d, err = query(nsid, name); err != nil && err != unix.ENODEV {
				err = failed("find the link", name, "ask rtnetlink", err)
			}
			if err == nil && t.lower != 0 {
				d, err = t.behind(d)
			}
			return err
		})
		if err != unix.ENODEV {
			break
		}
	}
	return d, err
}

// behind returns the link that the TAP own stands for. Where it has gone, the TAP
// goes too, so that who reads from it hears of that.
func (t *TAP) behind(own *netdev) (*netdev, error) {
	d, err := queryIndex(own.NSID, t.lower)
	if err == unix.ENODEV {
		_ = deleteLink(own.NSID, own.Index) // It fails only if somebody was faster.
		return nil, ErrGone
	}
	if err != nil {
		return nil, failed("find the link", "behind "+own.Ifname, "ask rtnetlink", err)
	}
	d.KernelDrops = own.KernelDrops // The queue in front of the switch is the TAP's.
	return d, nil
}

// locate calls f with the link's name and its namespace: a descriptor that is
// good until f returns, and its id.
func (t *TAP) locate(fd int, f func(name string, ns, nsid int) error) error {
	name, _, err := getIff(fd)
	if err != nil {
		return err
	}
	ns, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
	switch err {
	case nil:
	case unix.EBADFD, unix.EINVAL:
		// EINVAL: the namespace has no user left and is about to end, and all
		// TAPs in it (get_net_ns, net/core/net_namespace.c).
		return ErrGone
	default:
		return failed("find the link", name, "TUNGETDEVNETNS", err)
	}
	defer unix.Close(ns)
	there, err := identify(ns)
	if err != nil {
		return failed("find the link", name, "compare network namespaces", err)
	}
	if there == t.home {
		return f(name, ns, OwnNSID)
	}
	nsid, err := nsidOf(ns)
	if err != nil {
		return failed("find the link", name, "get an id for its network namespace", err)
	}
	return f(name, ns, nsid)
}

// getIff returns name and flags of the link, or ErrGone if there is none.
func getIff(fd int) (name string, flags uint16, err error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", 0, err
	}
	err = unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr)
	if err == unix.EBADFD {
		err = ErrGone
	}
	return ifr.Name(), ifr.Uint16(), err
}
