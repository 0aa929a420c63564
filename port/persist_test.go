package port

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

func persistent(t *testing.T, ifname string) TAPConfig {
	t.Helper()
	nettest.Need(t)
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(ifname); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
	cfg := full(ifname)
	cfg.Persistent, cfg.Owner = true, 0
	return cfg
}

func TestPersistentTAPIsAttachedToAgain(t *testing.T) {
	cfg := persistent(t, "keep0")
	tap := open(t, cfg)
	info, err := tap.Info()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(info.Flags, "persist") || info.Owner != 0 || info.Group != -1 {
		t.Errorf("%+v", info)
	}
	before := linkOf(t, tap)

	_, err = OpenTAP(cfg)
	refused(t, err, ErrBusy, "in use by port.test", fmt.Sprintf("(pid %d)", os.Getpid()))

	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	if !exists("keep0") {
		t.Fatal("the link did not outlive the TAP")
	}
	cfg.MTU = 1300
	again := open(t, cfg)
	after := linkOf(t, again)
	if after.Index != before.Index || after.MTU != 1300 || !after.Up {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if err := hasAddresses(t, cfg); err != nil {
		t.Error(err)
	}
	// Its new user must see frames too.
	inject(t, after.Index, untagged(60))
	b := newBatch()
	if err := again.ReadBatch(b); err != nil || b.N != 1 {
		t.Errorf("%d frames, %v", b.N, err)
	}
}

func TestPersistentTAPInTheWay(t *testing.T) {
	cfg := persistent(t, "left0")
	if err := open(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Persistent = false
	_, err := OpenTAP(cfg)
	refused(t, err, ErrExists, "a persistent TAP named left0 exists already", "make the port persistent", "ip link delete left0")
}

func TestPersistentMultiQueueTAPIsRefused(t *testing.T) {
	cfg := persistent(t, "mq0")
	fd := rawTUN(t, "mq0", unix.IFF_TAP|unix.IFF_MULTI_QUEUE)
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	_, err := OpenTAP(cfg)
	refused(t, err, ErrNotSupported, "multi-queue")
}

// The offloads and header length that the last user negotiated must not reach
// the next.
func TestPersistentTAPForgetsItsLastUser(t *testing.T) {
	cfg := persistent(t, "used0")
	tap := open(t, cfg)
	if err := errors.Join(
		unix.IoctlSetPointerInt(tap.fd, unix.TUNSETVNETHDRSZ, 24),
		unix.IoctlSetInt(tap.fd, unix.TUNSETOFFLOAD, 0),
	); err != nil {
		t.Fatal(err)
	}
	if tsoOn(t, "used0") {
		t.Fatal("cannot take an offload back")
	}
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := open(t, cfg).Info()
	if err != nil || info.VnetHdrLen != 10 {
		t.Errorf("%+v, %v", info, err)
	}
	if !tsoOn(t, "used0") {
		t.Error("the link does not leave segmentation to the switch")
	}
}

// tsoOn asks whether the link leaves TCP segmentation to its other end, as
// `ethtool -k` does.
func tsoOn(t *testing.T, ifname string) bool {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GTSO} // struct ethtool_value
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)} // struct ifreq
	copy(request.name[:], ifname)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
	return value.data != 0
}

// unused makes a persistent TAP that nobody has open.
func unused(t *testing.T, cfg TAPConfig) Link {
	t.Helper()
	tap := open(t, cfg)
	l := linkOf(t, tap)
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	l.Up = false // nobody: no carrier
	return l
}

func linkNamed(t *testing.T, ifname string) *netdev {
	t.Helper()
	d, err := query(OwnNSID, ifname)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFailedAttachPutsTheLinkBack(t *testing.T) {
	cfg := persistent(t, "back0")
	cfg.IP = cfg.IP[:1]
	for _, cfg.Up = range []bool{true, false} {
		before := unused(t, cfg)
		change := full("back0")
		change.Persistent, change.Owner, change.Up = true, 0, !cfg.Up
		change.MAC, change.MTU, change.TxQLen = &otherMAC, 9000, 5
		// IPv6 is off in the tests' namespaces.
		change.IP = append(change.IP, netip.MustParsePrefix("2001:db8::1/64"))
		_, err := OpenTAP(change)
		refused(t, err, ErrNotSupported, "IPv6 is off")

		got := linkNamed(t, "back0")
		if got.Link != before || got.owner != 0 || got.group != -1 || !got.persistent {
			t.Errorf("got  %+v\nwant %+v", got, before)
		}
		if err := hasAddresses(t, cfg); err != nil {
			t.Error(err)
		}
	}
}

func TestSetLinkPutsTheLinkBack(t *testing.T) {
	ns := nettest.New(t)
	for _, path := range []string{"", ns.Path()} {
		cfg := full("undo0")
		cfg.Netns = path
		tap := open(t, cfg)
		before := linkOf(t, tap)
		mtu, q, down := 9000, 5, false
		doubt := errors.New("not confirmed")
		err := tap.setLink(LinkChange{MTU: &mtu, MAC: &otherMAC, TxQLen: &q, Up: &down},
			[]netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}, func(d *netdev) error {
				if d.MTU != mtu || d.MAC != otherMAC || d.TxQLen != q || d.AdminUp {
					t.Errorf("asked to confirm %+v", d)
				}
				return doubt
			})
		if err != doubt {
			t.Error(err)
		}
		if got := linkOf(t, tap); got != before {
			t.Errorf("got  %+v\nwant %+v", got, before)
		}
		look := func() error { return hasAddresses(t, cfg) }
		if path != "" {
			inside := look
			look = func() error { return ns.Do(inside) }
		}
		if err := look(); err != nil {
			t.Error(err)
		}
	}
}

func TestAttachRefusesOtherOwners(t *testing.T) {
	for name, c := range map[string]struct {
		owner, group int
		says         []string
	}{
		"owner": {1000, -1, []string{"owner 1000 and no group", "the configuration has owner 0 and no group", "set owner and group in", "or delete the TAP with: ip link delete pt0"}},
		"group": {0, 7, []string{"owner 0 and group 7", "the configuration has owner 0 and no group"}},
		"none":  {-1, -1, []string{"the TAP has no owner and no group", "; delete the TAP"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := persistent(t, "pt0")
			fd := rawTUN(t, "pt0", tapFlags)
			for request, id := range map[uint]int{unix.TUNSETOWNER: c.owner, unix.TUNSETGROUP: c.group, unix.TUNSETPERSIST: 1} {
				if id >= 0 && unix.IoctlSetInt(fd, request, id) != nil {
					t.Skip("this user cannot give TAPs away") // in a user namespace of one id
				}
			}
			if err := unix.Close(fd); err != nil {
				t.Fatal(err)
			}
			before := *linkNamed(t, "pt0")
			_, err := OpenTAP(cfg)
			refused(t, err, ErrExists, c.says...)
			if got := *linkNamed(t, "pt0"); got != before {
				t.Errorf("got  %+v\nwant %+v", got, before)
			}
		})
	}
}

func TestConfirmNoticesWhatOthersChange(t *testing.T) {
	cfg := named("mine0")
	d := netdev{Link: Link{Ifname: "mine0"}, owner: -1, group: -1}
	if err := cfg.confirm(&d); err != nil {
		t.Error(err)
	}
	d.owner = 1000
	refused(t, cfg.confirm(&d), ErrExists, "the TAP has owner 1000")
	d.Ifname = "eno1"
	refused(t, cfg.confirm(&d), ErrNotSupported, "renamed to eno1 at once", "udev")
}

func TestFailedPersistentTAPIsDeleted(t *testing.T) {
	cfg := persistent(t, "fail0")
	// IPv6 is off in the tests' namespaces.
	cfg.IP = append(cfg.IP, netip.MustParsePrefix("2001:db8::1/64"))
	_, err := OpenTAP(cfg)
	refused(t, err, ErrNotSupported, "IPv6 is off")
	if exists("fail0") {
		t.Error("the link was left behind")
	}
}
