package port

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

// foreign makes a persistent TAP as `ip tuntap add` does, with more flags, which
// goes with the test.
func foreign(t *testing.T, ifname string, flags uint16) {
	t.Helper()
	fd := rawTUN(t, ifname, unix.IFF_TAP|flags)
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(ifname); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
}

func adopting(t *testing.T, ifname string) TAPConfig {
	t.Helper()
	cfg := named(ifname)
	cfg.Adopt, cfg.FoundDir = true, filepath.Join(t.TempDir(), "found")
	return cfg
}

// look is all that is to be as it was: the link, its addresses, what the kernel
// keeps of a TAP's last user, and the record of it all.
type look struct {
	netdev
	hdrLen    int
	offload   int // active, and wanted 16 bits above
	addresses string
}

func lookAt(t *testing.T, ifname string) look {
	t.Helper()
	l := look{netdev: *linkNamed(t, ifname)}
	l.KernelDrops = 0
	wanted, offload, err := features(l.Index)
	if err != nil {
		t.Fatal(err)
	}
	l.offload = offload
	for name := range tunFeatures {
		if wanted[name] {
			l.offload |= tunFeatures[name] << 16
		}
	}
	if !l.attached {
		fd := rawTUN(t, ifname, l.flags())
		n, err := unix.IoctlGetUint32(fd, unix.TUNGETVNETHDRSZ)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			t.Fatal(err)
		}
		l.hdrLen = int(n)
	}
	addrs, err := netlink.AddrList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		l.addresses += a.IPNet.String() + " "
	}
	return l
}

func TestAdoptedTAPIsLeftAsItWasFound(t *testing.T) {
	mq := uint16(unix.IFF_MULTI_QUEUE)
	for name, flags := range map[string]uint16{"as ip makes it": unix.IFF_NO_PI, "with pi": 0, "vnet_hdr": unix.IFF_NO_PI | unix.IFF_VNET_HDR, "multi-queue": unix.IFF_NO_PI | mq} {
		for _, given := range []string{"nothing", "everything", "everything and killed"} {
			t.Run(name+", "+given+" given", func(t *testing.T) {
				nettest.Need(t)
				foreign(t, "found0", flags)
				if flags&unix.IFF_VNET_HDR != 0 {
					fd := rawTUN(t, "found0", unix.IFF_TAP|flags)
					if err := errors.Join(
						unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, 12),
						unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4),
						unix.Close(fd),
					); err != nil {
						t.Fatal(err)
					}
				}
				ipLink(t, "found0", func(l netlink.Link) error {
					return errors.Join(netlink.LinkSetMTU(l, 1280), netlink.LinkSetTxQLen(l, 77),
						netlink.AddrAdd(l, address(netip.MustParsePrefix("198.51.100.1/24"))))
				})
				before := lookAt(t, "found0")

				cfg := adopting(t, "found0")
				if given != "nothing" {
					full := full("found0")
					cfg.MAC, cfg.MTU, cfg.TxQLen = &stationMAC, full.MTU, full.TxQLen
					cfg.IP = append([]netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}, full.IP...)
				}
				tap := open(t, cfg)
				during := linkOf(t, tap)
				if !during.Up || given == "nothing" && (during.MTU != 1280 || during.TxQLen != 77 || during.MAC != before.MAC) {
					t.Errorf("adopted as %+v", during)
				}
				if given != "nothing" {
					if err := hasAddresses(t, cfg); err != nil {
						t.Error(err)
					}
				}
				inject(t, during.Index, untagged(60))
				if b := newBatch(); tap.ReadBatch(b) != nil || b.N != 1 || len(b.Live()[0].Bytes) != 60 {
					t.Error("frames do not pass")
				}
				if err := tap.SetLink(LinkChange{MTU: new(1000)}); err != nil {
					t.Error(err)
				}
				end := tap.Close
				if strings.HasSuffix(given, "killed") {
					end = func() error {
						err := tap.file.Close()
						names, failure := PutBack(cfg.FoundDir)
						if len(names) != 1 || names[0] != "found0" {
							t.Errorf("put back %v", names)
						}
						return errors.Join(err, failure)
					}
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				if after := lookAt(t, "found0"); after != before {
					t.Errorf("before %+v\nafter  %+v", before, after)
				}
				if left, err := os.ReadDir(cfg.FoundDir); err != nil || len(left) != 0 {
					t.Errorf("records are left: %v, %v", left, err)
				}
			})
		}
	}
}

func TestFailedAdoptionLeavesTheTAPAsItWasFound(t *testing.T) {
	nettest.Need(t)
	foreign(t, "fail0", unix.IFF_NO_PI)
	before := lookAt(t, "fail0")
	cfg := adopting(t, "fail0")
	// IPv6 is off in the tests' namespaces.
	cfg.MTU, cfg.IP = 9000, []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::1/64")}
	_, err := OpenTAP(cfg)
	refused(t, err, ErrNotSupported, "IPv6 is off")
	if after := lookAt(t, "fail0"); after != before {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	cfg.FoundDir = "/proc/nowhere"
	_, err = OpenTAP(cfg)
	refused(t, err, os.ErrNotExist, "how it was found cannot be kept", "let the daemon write to /proc/nowhere")
	if after := lookAt(t, "fail0"); after != before {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

func TestOnlyAnUnusedPersistentTAPIsAdopted(t *testing.T) {
	nettest.Need(t)
	_, err := OpenTAP(adopting(t, "none0"))
	refused(t, err, os.ErrNotExist, "there is no such link", "ip tuntap add none0 mode tap")
	if exists("none0") {
		t.Error("a link was made")
	}
	foreign(t, "adopt0", unix.IFF_NO_PI)
	_, err = OpenTAP(named("adopt0"))
	refused(t, err, ErrExists, "a persistent TAP named adopt0 exists already", "--adopt")
	for name, flags := range map[string]uint16{"held0": unix.IFF_NO_PI, "held1": unix.IFF_NO_PI | unix.IFF_MULTI_QUEUE} {
		foreign(t, name, flags)
		rawTUN(t, name, unix.IFF_TAP|flags)
		_, err = OpenTAP(adopting(t, name))
		refused(t, err, ErrBusy, "in use by port.test")
	}
	rawTUN(t, "tun0", unix.IFF_TUN)
	_, err = OpenTAP(adopting(t, "tun0"))
	refused(t, err, ErrExists, "TUN (layer 3) device")
	for _, change := range []func(*TAPConfig){
		func(c *TAPConfig) { c.Netns = "x" },
		func(c *TAPConfig) { c.Owner = 0 },
		func(c *TAPConfig) { c.Persistent, c.Owner = true, 0 },
	} {
		cfg := adopting(t, "adopt0")
		change(&cfg)
		_, err = OpenTAP(cfg)
		refused(t, err, os.ErrInvalid, "leave out adopt")
	}
}

// A moved TAP is put back where it lives, as far as that goes.
func TestAdoptedTAPThatMovedIsPutBackThere(t *testing.T) {
	there := nettest.New(t)
	foreign(t, "move1", unix.IFF_NO_PI)
	cfg := adopting(t, "move1")
	cfg.MTU = 1300
	tap := open(t, cfg)
	fd, err := unix.Open(there.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ipLink(t, "move1", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, fd) })
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	within(t, there, "move1", func(l netlink.Link) error {
		if l.Attrs().MTU != 1500 {
			t.Errorf("mtu %d", l.Attrs().MTU)
		}
		return nil
	})
	if exists("move1") {
		t.Error("a link was made in its old place")
	}
}

func TestAdoptedTAPThatWasDeletedLeavesNothing(t *testing.T) {
	nettest.Need(t)
	foreign(t, "del0", unix.IFF_NO_PI)
	cfg := adopting(t, "del0")
	tap := open(t, cfg)
	ipLink(t, "del0", netlinkDel)
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(cfg.FoundDir); err != nil || len(left) != 0 || exists("del0") {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Records of another boot or namespace say nothing about the links of this one.
func TestPutBackBelievesOnlyItsOwnRecords(t *testing.T) {
	nettest.Need(t)
	dir := t.TempDir()
	foreign(t, "old0", unix.IFF_NO_PI)
	before := lookAt(t, "old0")
	path, err := recordPath(dir, 0, before.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x" + filepath.Base(path), "junk"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"flags":2,"link":{"mtu":1300}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := PutBack(dir); err != nil || names != nil {
		t.Errorf("%v, %v", names, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := PutBack(dir); err == nil || names != nil {
		t.Errorf("%v, %v", names, err)
	}
	if after := lookAt(t, "old0"); after != before {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if names, err := PutBack(filepath.Join(dir, "none")); err != nil || names != nil {
		t.Errorf("%v, %v", names, err)
	}
}

// The kernel's tools show it too.
func TestEthtoolSeesNoDifference(t *testing.T) {
	nettest.Need(t)
	ethtool, err := exec.LookPath("ethtool")
	if err != nil {
		nettest.Lack(t, "ethtool is not there")
	}
	foreign(t, "tool0", unix.IFF_NO_PI)
	show := func() string {
		out, err := exec.Command(ethtool, "-k", "tool0").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	before := show()
	if err := open(t, adopting(t, "tool0")).Close(); err != nil {
		t.Fatal(err)
	}
	if after := show(); after != before {
		t.Errorf("before %s\nafter %s", before, after)
	}
}
