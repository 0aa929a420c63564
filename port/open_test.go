package port

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func full(ifname string) TAPConfig {
	cfg := named(ifname)
	cfg.MAC, cfg.MTU, cfg.TxQLen = &stationMAC, 1400, 77
	cfg.IP = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.2/32")}
	return cfg
}

// hasAddresses compares the link's addresses, inside its namespace, with cfg's.
func hasAddresses(t *testing.T, cfg TAPConfig) error {
	t.Helper()
	l, err := netlink.LinkByName(cfg.Ifname)
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	var got []string
	for _, a := range addrs {
		got = append(got, a.IPNet.String())
	}
	if fmt.Sprint(got) != fmt.Sprint(cfg.IP) {
		t.Errorf("addresses %v, want %v", got, cfg.IP)
	}
	return nil
}

func TestOpenTAPOnTheHost(t *testing.T) {
	cfg := full("host0")
	tap := open(t, cfg)
	got := linkOf(t, tap)
	want := Link{Ifname: "host0", NSID: OwnNSID, Index: got.Index, MAC: stationMAC, MTU: 1400, TxQLen: 77, Up: true, AdminUp: true}
	if got != want || got.Index == 0 {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := hasAddresses(t, cfg); err != nil {
		t.Error(err)
	}
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if exists("host0") {
		t.Error("the link outlives Close")
	}
}

func TestOpenTAPLeavesOutWhatIsNotAsked(t *testing.T) {
	cfg := named("plain0")
	cfg.Up = false
	l := linkOf(t, open(t, cfg))
	if l.MTU != 1500 || l.TxQLen != 1000 || l.MAC.IsZero() || l.MAC.IsGroup() || l.AdminUp || l.Up {
		t.Errorf("%+v", l)
	}
}

func TestOpenTAPMovesTheLink(t *testing.T) {
	ns := nettest.New(t)
	cfg := full("eth0")
	cfg.Netns = ns.Path()
	tap := open(t, cfg)
	got := linkOf(t, tap)
	want := Link{Ifname: "eth0", NSID: got.NSID, Index: got.Index, MAC: stationMAC, MTU: 1400, TxQLen: 77, Up: true, AdminUp: true}
	if got != want || got.NSID == OwnNSID {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := ns.Do(func() error { return hasAddresses(t, cfg) }); err != nil {
		t.Error(err)
	}
	if exists("eth0") || exists("vsw-new0") {
		t.Error("the link is still on the host")
	}
	// Another of that name may live on the host.
	open(t, named("eth0"))
}

func TestOpenTAPMovesToTheNamespaceOfAPid(t *testing.T) {
	cmd := container(t)
	cfg := named("eth0")
	cfg.Netns = pidOf(cmd)
	if l := linkOf(t, open(t, cfg)); l.Ifname != "eth0" || l.NSID == OwnNSID {
		t.Errorf("%+v", l)
	}
}

func TestOpenTAPStaysIfNetnsIsTheOwn(t *testing.T) {
	cfg := named("own0")
	cfg.Netns = "/proc/thread-self/ns/net"
	if l := linkOf(t, open(t, cfg)); l.NSID != OwnNSID || l.Ifname != "own0" {
		t.Errorf("%+v", l)
	}
}

func TestOpenTAPRefusesValues(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*TAPConfig)
		says string
	}{
		"name":          {func(c *TAPConfig) { c.Ifname = "a/b" }, "'/'"},
		"mtu low":       {func(c *TAPConfig) { c.MTU = 67 }, "choose 68 to 65521"},
		"mtu high":      {func(c *TAPConfig) { c.MTU = 65522 }, "mtu 65522 is out of range"},
		"group mac":     {func(c *TAPConfig) { c.MAC = &frame.MAC{1} }, "no station can have"},
		"zero mac":      {func(c *TAPConfig) { c.MAC = &frame.MAC{} }, "no station can have"},
		"txqlen":        {func(c *TAPConfig) { c.TxQLen = -1 }, "txqlen -1"},
		"no owner":      {func(c *TAPConfig) { c.Persistent = true }, "every local user"},
		"moved for eva": {func(c *TAPConfig) { c.Persistent, c.Owner, c.Netns = true, 0, "blue" }, "keep that namespace alive"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := named("never0")
			c.set(&cfg)
			_, err := OpenTAP(cfg)
			refused(t, err, os.ErrInvalid, c.says)
		})
	}
}

func TestOpenTAPTakesExtremes(t *testing.T) {
	cfg := named("small0")
	cfg.MTU, cfg.TxQLen = frame.MinMTU, 1
	open(t, cfg)
	cfg.Ifname, cfg.MTU = "large0", frame.MaxMTU
	open(t, cfg)
}

func TestOpenTAPRefusesNetns(t *testing.T) {
	nettest.Need(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for spec, c := range map[string]struct {
		kind error
		says string
	}{
		"no-such-netns":       {os.ErrNotExist, "ip netns add no-such-netns"},
		"/no/such/path":       {os.ErrNotExist, "no such file"},
		"999999999":           {os.ErrNotExist, "there is no /run/netns/999999999 and no process 999999999"},
		"a/b":                 {os.ErrInvalid, "neither a name"},
		"..":                  {os.ErrInvalid, "neither a name"},
		plain:                 {os.ErrInvalid, "is not a network namespace"},
		"/proc/self/ns/mnt":   {os.ErrInvalid, "is not a network namespace"},
		"/proc/self/ns/net/x": {unix.ENOTDIR, "not a directory"},
	} {
		cfg := named("never0")
		cfg.Netns = spec
		_, err := OpenTAP(cfg)
		refused(t, err, c.kind, spec, c.says)
	}
	if exists("never0") {
		t.Error("a link was left behind")
	}
}

func TestOpenTAPSaysWhatHasTheName(t *testing.T) {
	me := fmt.Sprintf("(pid %d)", os.Getpid())
	open(t, named("busy0"))
	rawTUN(t, "tun0", unix.IFF_TUN|unix.IFF_NO_PI)
	br := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "veth0"}, PeerName: "veth1"}
	if err := netlink.LinkAdd(br); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(br) })

	_, err := OpenTAP(named("busy0"))
	refused(t, err, ErrExists, "in use by port.test", me, "choose another ifname")
	refused(t, err, ErrBusy)
	_, err = OpenTAP(named("tun0"))
	refused(t, err, ErrExists, "tun0 is a TUN (layer 3) device: it carries IP packets without Ethernet headers; a switch port needs a TAP")
	_, err = OpenTAP(named("veth0"))
	refused(t, err, ErrExists, "a link named veth0 exists already", "delete that link")
	_, err = OpenTAP(named("lo"))
	refused(t, err, ErrExists, "a link named lo exists already")
}

func TestOpenTAPKnowsAlternativeNames(t *testing.T) {
	cfg := persistent(t, "main0")
	if err := open(t, cfg).Close(); err != nil {
		t.Fatal(err)
	}
	ipLink(t, "main0", func(l netlink.Link) error { return netlink.LinkAddAltName(l, "alt0") })
	cfg.Ifname = "alt0"
	_, err := OpenTAP(cfg)
	refused(t, err, ErrExists, `open TAP "alt0": alt0 is another name of link main0`, "ip link property del dev main0 altname alt0")
}

func TestOpenTAPSaysWhatHasTheNameInTheTarget(t *testing.T) {
	ns := nettest.New(t)
	cfg := named("target0")
	cfg.Netns = ns.Path()
	tap := open(t, cfg)
	_, err := OpenTAP(cfg)
	refused(t, err, ErrBusy, "in use by port.test")
	cfg.Ifname = "lo"
	_, err = OpenTAP(cfg)
	refused(t, err, ErrExists, "a link named lo exists already")

	// The name may be taken between the look and the move.
	other := open(t, named("other0"))
	fd, err := openNetns(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cfg.Ifname = "target0"
	refused(t, other.move(&cfg, fd), ErrExists, "exists already in network namespace "+ns.Path())
	linkOf(t, tap)
}

// hidden keeps a descriptor alive where no process has it, as those of a dying
// process are: on its way through a socket. The function it returns lets go.
func hidden(t *testing.T, fd int) (drop func()) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(fds[0], []byte{0}, unix.UnixRights(fd), nil, 0); err != nil {
		t.Fatal(err)
	}
	drop = sync.OnceFunc(func() { _, _ = unix.Close(fds[0]), unix.Close(fds[1]) })
	t.Cleanup(drop)
	return drop
}

func TestOpenTAPWaitsForADyingOwner(t *testing.T) {
	for name, cfg := range map[string]TAPConfig{"fresh": named("dying0"), "persistent": persistent(t, "dying1")} {
		t.Run(name, func(t *testing.T) {
			tap := open(t, cfg)
			drop := hidden(t, tap.fd)
			if err := tap.Close(); err != nil {
				t.Fatal(err)
			}
			if !exists(cfg.Ifname) {
				t.Fatal("the TAP was not kept")
			}
			time.AfterFunc(3*dyingPause, drop)
			open(t, cfg)
		})
	}
}

func TestOpenTAPGivesUpOnAnOwnerThatStays(t *testing.T) {
	tap := open(t, named("stays0"))
	hidden(t, tap.fd)
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := OpenTAP(named("stays0"))
	refused(t, err, ErrBusy, "in use by another process")
}

func TestOpenTAPUndoesItsWork(t *testing.T) {
	// The namespaces of the tests have IPv6 off: this address cannot be added.
	ns := nettest.New(t)
	cfg := named("undone0")
	cfg.IP = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
	for _, cfg.Netns = range []string{"", ns.Path()} {
		_, err := OpenTAP(cfg)
		refused(t, err, ErrNotSupported, "2001:db8::1/64", "IPv6 is off", "disable_ipv6=0")
		if err := ns.Do(func() error {
			if exists("undone0") {
				t.Error("the link was left in the namespace")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if exists("undone0") || exists("vsw-new0") {
			t.Error("the link was left on the host")
		}
	}
}

func TestOpenTAPAddsIPv6(t *testing.T) {
	ns, err := newIPv6Namespace(t)
	if err != nil {
		t.Fatal(err)
	}
	cfg := named("eth0")
	cfg.Netns = ns.Path()
	cfg.IP = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
	open(t, cfg)
	if err := ns.Do(func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range addrs {
			if a.IPNet.String() == "2001:db8::1/64" {
				return err
			}
		}
		return fmt.Errorf("addresses %v, %w", addrs, err)
	}); err != nil {
		t.Error(err)
	}
}

// newIPv6Namespace makes one of which nettest has not taken IPv6 away.
func newIPv6Namespace(t *testing.T) (*netns.NS, error) {
	t.Helper()
	nettest.Need(t)
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		nettest.Lack(t, "the kernel has no IPv6")
	}
	ns, err := netns.New()
	if err == nil {
		t.Cleanup(ns.Close)
	}
	return ns, err
}

func TestDeviceErrorSaysWhatToDo(t *testing.T) {
	refused(t, deviceError("a", unix.ENOENT), ErrNotSupported, "/dev/net/tun: no such file", "modprobe tun")
	refused(t, deviceError("a", unix.ENODEV), ErrNotSupported, "modprobe tun")
	refused(t, deviceError("a", unix.EACCES), ErrPermission, "chmod 0666", "udev")
	refused(t, deviceError("a", unix.EPERM), ErrPermission, "DeviceAllow")
	refused(t, deviceError("a", unix.EMFILE), unix.EMFILE, "too many open files", "LimitNOFILE")
	refused(t, failed("move", "a", "open", unix.ENFILE), unix.ENFILE, "LimitNOFILE")
	refused(t, setIffError(&TAPConfig{Ifname: "a"}, unix.EPERM), ErrPermission, "CAP_NET_ADMIN", "user namespace")
}
