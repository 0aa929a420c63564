package port

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// TAPConfig is what OpenTAP makes.
type TAPConfig struct {
	Ifname string
	// Netns is where the link is moved to: a name under /run/netns, an absolute
	// path or, if there is no such name, the decimal pid of a process in it, or
	// what PinProcess makes of one.
	// Empty leaves the link in the daemon's own namespace.
	Netns string
	// Ephemeral refuses a Netns that is the own one: a link there outlives a
	// container.
	Ephemeral bool
	MAC       *frame.MAC // of the link, so the station's; nil leaves it to the kernel
	MTU       int        // 68 to 65521 bytes; 0 leaves the kernel's 1500
	TxQLen    int        // frames; 0 leaves the kernel's 1000. The switch's receive queue
	Up        bool
	IP        []netip.Prefix // given to the link
	// Gateway are the next hops of default routes that are added to Netns, which
	// must have none of their families, if Up. They end with the link, or when it
	// goes down.
	Gateway []netip.Addr
	// Persistent makes the link outlive the daemon, or attaches to the
	// persistent TAP of that name that nobody uses, if its owner and group are
	// those below. It needs an Owner.
	Persistent bool
	// Owner and Group are the ids of who may open the TAP without
	// CAP_NET_ADMIN; -1 is nobody in particular.
	Owner, Group int
	// Adopt takes the persistent TAP of that name that nobody uses, whoever may
	// open it, instead of making one. Of the link only what is set above is
	// changed, and Up, and when the TAP is closed it is left as it was found. It
	// excludes Netns, Persistent, Owner and Group.
	Adopt bool
	// FoundDir is a directory for this use alone, where it is kept how adopted
	// TAPs were found; see PutBack. If it is empty, a process that is killed
	// leaves them as they are.
	FoundDir string
}

func (c *TAPConfig) validate() error {
	if err := CheckIfname(c.Ifname); err != nil {
		return err
	}
	const op = "open TAP"
	if c.Persistent && c.Netns != "" {
		return invalid(op, c.Ifname, "a persistent TAP cannot be moved to another network namespace: "+
			"to attach to it again, "+tunDevice+" would have to be opened there, and the descriptor would keep that namespace alive",
			"leave out persistent or netns")
	}
	if c.Persistent && c.Owner < 0 {
		return invalid(op, c.Ifname, "a persistent TAP without an owner can be opened by every local user", "set owner")
	}
	if c.Adopt && c.Netns != "" {
		return invalid(op, c.Ifname, "a TAP in another network namespace cannot be adopted: "+
			tunDevice+" would have to be opened there, and the descriptor would keep that namespace alive",
			"leave out adopt or netns")
	}
	if c.Adopt && (c.Persistent || c.Owner >= 0 || c.Group >= 0) {
		return invalid(op, c.Ifname, "an adopted TAP is persistent and stays with its owner and group", "leave out adopt, or persistent, owner and group")
	}
	if len(c.Gateway) > 0 && c.Netns == "" {
		return invalid(op, c.Ifname, "a gateway is for another network namespace: routes of the host are not the switch's", "leave out gateway")
	}
	change := c.change()
	return change.validate(op, c.Ifname)
}

func (c *TAPConfig) change() LinkChange {
	change := LinkChange{MAC: c.MAC, Up: &c.Up}
	if c.MTU != 0 {
		change.MTU = &c.MTU
	}
	if c.TxQLen != 0 {
		change.TxQLen = &c.TxQLen
	}
	return change
}

// OpenTAP makes a TAP and its link as cfg says, and checks that the link has
// become so. On an error errors.As finds an *Error, a new link is gone, and one
// that was attached to is put back as SetLink does it. If a TAP of that name is
// in use by nobody that can be found, OpenTAP waits up to two seconds for its
// end.
func OpenTAP(cfg TAPConfig) (*TAP, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	target, err := openTarget(cfg.Netns, cfg.Ifname)
	if err != nil {
		return nil, err
	}
	if target >= 0 {
		defer unix.Close(target)
	}
	if target < 0 && cfg.Ephemeral {
		return nil, invalid("open TAP", cfg.Ifname, "network namespace "+cfg.Netns+" is the daemon's own, as that of a container with the host's network: "+
			"a link there would not end with the container", "leave out netns and ephemeral for a port of the host")
	}
	return openAt(&cfg, target)
}

// openTarget opens the namespace netns for the link ifname; -1 is the own one.
func openTarget(netns, ifname string) (int, error) {
	if netns == "" {
		return -1, nil
	}
	fd, err := openNetns(netns)
	if err != nil {
		return -1, err
	}
	own, err := isOwn(fd)
	if err == nil && !own {
		return fd, nil
	}
	_ = unix.Close(fd) // Opened to be read: nothing can be lost.
	if err != nil {
		return -1, failed("open TAP", ifname, "compare network namespaces", err)
	}
	return -1, nil
}

// openAt is OpenTAP of a valid cfg whose namespace is open as target.
func openAt(cfg *TAPConfig, target int) (*TAP, error) {
	obtain := func() (*TAP, error) { return create(cfg, target) }
	if cfg.Adopt {
		obtain = func() (*TAP, error) { return adopt(cfg) }
	}
	t, err := obtain()
	for try := 0; try < dyingTries && errors.Is(err, errUnseen); try++ {
		time.Sleep(dyingPause)
		t, err = obtain()
	}
	if err != nil {
		return nil, err
	}
	if err := t.place(cfg, target); err != nil {
		left := t.Close()
		if t.adopted != nil && left != nil {
			return nil, fmt.Errorf("%w; %w", err, left)
		}
		return nil, err // It says more than that of closing.
	}
	return t, nil
}

func isOwn(ns int) (bool, error) {
	there, err := identify(ns)
	if err != nil {
		return false, err
	}
	here, err := ownNS()
	return there == here, err
}

// create opens the device and makes the link, in the own namespace, under its
// name or on its way to target under a passing one; or it attaches to the
// persistent link that is there already.
func create(cfg *TAPConfig, target int) (*TAP, error) {
	const op = "open TAP"
	nsid, name := OwnNSID, cfg.Ifname
	if target >= 0 {
		name = tapPattern
		var err error
		if nsid, err = nsidOf(target); err != nil {
			return nil, failed(op, cfg.Ifname, "get an id for network namespace "+cfg.Netns, err)
		}
	}
	flags := uint16(tapFlags)
	there, err := query(nsid, cfg.Ifname)
	switch err {
	case nil:
		if err := cfg.attachable(there, target); err != nil {
			return nil, err
		}
	case unix.ENODEV:
		flags |= unix.IFF_TUN_EXCL
	default:
		return nil, failed(op, cfg.Ifname, "look for a link of that name", err)
	}

	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, deviceError(cfg.Ifname, err)
	}
	if err := setIff(fd, name, flags|backpressure(fd)); err != nil {
		_ = unix.Close(fd) // It has no link yet: nothing can be lost.
		return nil, setIffError(cfg, err)
	}
	t, err := newTAP(fd)
	if err != nil {
		return nil, failed(op, cfg.Ifname, "prepare", err)
	}
	t.made = there == nil
	if !t.made {
		return t, nil // Its owner and group are right, or not ours to change.
	}
	if err := t.setOwner(cfg); err != nil {
		_ = t.Close() // The error at hand says more.
		return nil, err
	}
	return t, nil
}

// iffBackpressure has a full queue stop the senders instead of dropping their
// frames (IFF_BACKPRESSURE, linux/if_tun.h of Linux 7.3).
const iffBackpressure = 0x0080

// backpressure returns that flag if the kernel offers it.
func backpressure(fd int) uint16 {
	features, err := unix.IoctlGetUint32(fd, unix.TUNGETFEATURES)
	if err != nil {
		return 0
	}
	return uint16(features) & iffBackpressure
}

func setIff(fd int, name string, flags uint16) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	ifr.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
}

// setIffError explains why the kernel refused the TAP.
func setIffError(cfg *TAPConfig, err error) error {
	const op = "open TAP"
	switch err {
	case unix.EBUSY:
		// Somebody has the persistent TAP, or made the link a moment ago. It
		// has its wanted name, so it is in the own namespace.
		if there, err := query(OwnNSID, cfg.Ifname); err == nil {
			there.attached = true // Also without a carrier (TUNSETCARRIER).
			return occupied(cfg.Ifname, there, -1)
		}
		return &Error{Op: op, Name: cfg.Ifname, Why: "the TAP is in use", Fix: "try again", Err: ErrBusy}
	case unix.EPERM:
		return &Error{
			Op: op, Name: cfg.Ifname, Why: "no permission to use or make a TAP here", Err: ErrPermission,
			Fix: "run with CAP_NET_ADMIN, in a user namespace of your own (unshare -rn), or as the owner of a persistent TAP",
		}
	}
	return failed(op, cfg.Ifname, "TUNSETIFF", err)
}

// place brings the new link to where and what cfg says.
func (t *TAP) place(cfg *TAPConfig, target int) error {
	if target >= 0 {
		if err := t.move(cfg, target); err != nil {
			return err
		}
	}
	if err := t.setLink(cfg.change(), cfg.IP, cfg.confirm); err != nil {
		return err
	}
	if cfg.Up && len(cfg.Gateway) > 0 {
		if err := t.addGateways(cfg); err != nil {
			return err
		}
	}
	if !cfg.Persistent {
		return nil
	}
	// The last step: until here, closing deletes a link that is new.
	if err := unix.IoctlSetInt(t.fd, unix.TUNSETPERSIST, 1); err != nil {
		return failed("open TAP", cfg.Ifname, "TUNSETPERSIST", err)
	}
	return nil
}

// confirm checks what is read back of the link beside what SetLink can change.
func (c *TAPConfig) confirm(d *netdev) error {
	if d.Ifname != c.Ifname {
		return &Error{
			Op: "open TAP", Name: c.Ifname, Why: "the link was renamed to " + d.Ifname + " at once", Err: ErrNotSupported,
			Fix: "see whether another program (udev) renames it, and let it leave it alone",
		}
	}
	if c.Adopt {
		return nil
	}
	return c.checkOwner(d)
}

func (t *TAP) setOwner(cfg *TAPConfig) error {
	if cfg.Owner >= 0 {
		if err := unix.IoctlSetInt(t.fd, unix.TUNSETOWNER, cfg.Owner); err != nil {
			return failed("open TAP", cfg.Ifname, fmt.Sprintf("set owner %d", cfg.Owner), err)
		}
	}
	if cfg.Group >= 0 {
		if err := unix.IoctlSetInt(t.fd, unix.TUNSETGROUP, cfg.Group); err != nil {
			return failed("open TAP", cfg.Ifname, fmt.Sprintf("set group %d", cfg.Group), err)
		}
	}
	return nil
}

// move takes the link to the namespace target in one request with its name and
// all that shall be different there, so that nobody in it sees it half done.
func (t *TAP) move(cfg *TAPConfig, target int) error {
	const op = "open TAP"
	d, err := t.netdev()
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(target))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(cfg.Ifname)))
	if cfg.MAC != nil {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, cfg.MAC[:]))
	}
	if cfg.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(cfg.MTU))))
	}
	if cfg.TxQLen != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_TXQLEN, nl.Uint32Attr(uint32(cfg.TxQLen))))
	}
	_, err = req.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EEXIST) {
		return &Error{
			Op: op, Name: cfg.Ifname, Why: "a link of that name exists already in network namespace " + cfg.Netns,
			Fix: "choose another ifname, or delete that link first", Err: ErrExists,
		}
	}
	if err != nil {
		return failed(op, cfg.Ifname, "move to network namespace "+cfg.Netns, err)
	}
	return nil
}
