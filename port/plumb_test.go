package port

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// stationOn opens a station on eth0 of far, once the kernel sends frames there: the
// carrier that the other end has brought is dealt with later (link_watch.c).
func stationOn(t *testing.T, far *netns.NS) *nettest.Station {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		up := false
		within(t, far, "eth0", func(l netlink.Link) error {
			up = l.Attrs().OperState == netlink.OperUp
			return nil
		})
		if up {
			return nettest.NewStation(t, far, "eth0")
		}
		if time.Now().After(deadline) {
			t.Fatal("eth0 does not come up")
		}
	}
}

func attaching(t testing.TB, ifname string) NetdevConfig {
	t.Helper()
	return NetdevConfig{Ifname: ifname, Up: true, FoundDir: filepath.Join(t.TempDir(), "found")}
}

// plumbed opens a port that is closed with the test.
func plumbed(t testing.TB, cfg NetdevConfig) *TAP {
	t.Helper()
	tap, err := OpenNetdev(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

// scene is all that is to be as it was of a link that is lent.
type scene struct {
	netdev
	qdiscs, addresses string
}

func sceneOf(t *testing.T, ifname string) scene {
	t.Helper()
	s := scene{netdev: *linkNamed(t, ifname)}
	s.KernelDrops = 0
	link := device(&s.netdev)
	qdiscs, err := netlink.QdiscList(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range qdiscs {
		if q.Type() != "noqueue" { // What the kernel gives to a link that comes up first.
			s.qdiscs += q.Type() + " "
		}
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, a := range addrs {
		words = append(words, a.IPNet.String())
	}
	slices.Sort(words)
	s.addresses = strings.Join(words, " ")
	return s
}

// speakIPv6 turns IPv6 on for a link of the tests' namespace until the test ends.
func speakIPv6(t *testing.T, ifname string) {
	t.Helper()
	sysctl(t, "net/ipv6/conf/"+ifname+"/disable_ipv6", "0")
	sysctl(t, "net/ipv6/conf/"+ifname+"/accept_dad", "0")
}

// sysctl sets one until the test ends.
func sysctl(t *testing.T, name, value string) {
	t.Helper()
	path := "/proc/sys/" + name
	before, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		nettest.Lack(t, "a sysctl cannot be set: "+err.Error())
	}
	t.Cleanup(func() { _ = os.WriteFile(path, before, 0) }) // Its link may be gone.
}

func TestNetdevPassesEveryFrameBothWays(t *testing.T) {
	nettest.Need(t)
	far := nettest.Wire(t, "nd0")
	tap := plumbed(t, attaching(t, "nd0"))
	st := stationOn(t, far)
	works(t, tap, st)
	stag := untagged(60)
	copy(stag[12:], []byte{0x88, 0xa8, 0x20, 30, 0x81, 0, 0, 20, 0x88, 0xb5})
	for name, b := range map[string][]byte{
		"header alone": untagged(14), "short": untagged(15), "tagged": tagged(64, 0xe00a), "priority-tagged": tagged(64, 0xa000),
		"double-tagged": stag, "LLC": append(untagged(12), 0, 3, 0x42, 0x42, 3), "long": untagged(1514),
	} {
		if why := transmit(tap, b, TagKeep, 0); why != frame.Keep {
			t.Fatalf("%s: %v", name, why)
		}
		got, err := st.Recv(patience)
		if err != nil {
			t.Fatalf("%s to the station: %v", name, err)
		}
		same(t, got, b)
		if err := st.Send(b); err != nil {
			t.Fatal(err)
		}
		same(t, receive(t, tap, 1)[0], b)
	}
}

func TestNetdevLinkIsTheForeignOne(t *testing.T) {
	nettest.Need(t)
	far := nettest.Wire(t, "nd0")
	tap := plumbed(t, attaching(t, "nd0"))
	_, seen := watching(t, tap)
	if l, want := linkOf(t, tap), linkNamed(t, "nd0"); l.Index != want.Index || l.Ifname != "nd0" || l.MTU != 1500 || !l.Up {
		t.Errorf("%+v, want %+v", l, want)
	}
	if info, err := tap.Info(); err != nil || info.Link.Ifname != "nd0" || info.Ifname != besideOf(linkNamed(t, "nd0")) {
		t.Errorf("%+v, %v", info, err)
	}
	within(t, far, "eth0", netlink.LinkSetDown)
	seen.until(t, "link down", func(r report) bool { return r.err == nil && !r.l.Up })
	within(t, far, "eth0", netlink.LinkSetUp)
	seen.until(t, "link up", func(r report) bool { return r.err == nil && r.l.Up })
	// Frames of another MTU pass, whoever sets it.
	if err := tap.SetLink(LinkChange{MTU: new(9000)}); err != nil {
		t.Fatal(err)
	}
	within(t, far, "eth0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 9000) })
	seen.until(t, "another MTU", func(r report) bool { return r.err == nil && r.l.MTU == 9000 })
	st := stationOn(t, far)
	if why := transmit(tap, untagged(9014), TagKeep, 0); why != frame.Keep {
		t.Error(why)
	}
	got, err := st.Recv(patience)
	if err = errors.Join(err, st.Send(got)); err != nil {
		t.Fatal(err)
	}
	same(t, receive(t, tap, 1)[0], untagged(9014))
}

func TestNetdevLinkIsLeftAsItWasFound(t *testing.T) {
	nettest.Need(t)
	for _, given := range []string{"down", "up", "up, promiscuous and addressed"} {
		for _, end := range []string{"closed", "killed", "TAP deleted"} {
			t.Run(given+", "+end, func(t *testing.T) {
				nettest.Wire(t, "nd0")
				if given != "down" {
					speakIPv6(t, "nd0")
					ipLink(t, "nd0", netlink.LinkSetUp)
				}
				if strings.Contains(given, "promiscuous") {
					ipLink(t, "nd0", func(l netlink.Link) error {
						return errors.Join(netlink.SetPromiscOn(l), netlink.LinkSetMTU(l, 1400), netlink.AddrAdd(l, address(netip.MustParsePrefix("fe80::7/64"))),
							netlink.AddrAdd(l, address(netip.MustParsePrefix("192.0.2.7/24"))))
					})
				}
				before := sceneOf(t, "nd0")
				if given != "down" && !strings.Contains(before.addresses, "fe80::") {
					t.Fatalf("no link-local address: %+v", before)
				}
				cfg := attaching(t, "nd0")
				cfg.MTU = 1300
				tap := plumbed(t, cfg)
				during := sceneOf(t, "nd0")
				if !during.promisc || !during.AdminUp || during.MTU != 1300 || during.genMode != modeNone ||
					strings.Contains(during.addresses, "fe80::") || !strings.Contains(during.qdiscs, "ingress") {
					t.Errorf("as a port: %+v", during)
				}
				var err error
				switch end {
				case "killed":
					err = tap.file.Close()
					names, failure := PutBack(cfg.FoundDir)
					if err = errors.Join(err, failure); len(names) != 1 || names[0] != "nd0" {
						t.Errorf("put back %v", names)
					}
				case "TAP deleted":
					ipLink(t, besideOf(&before.netdev), netlinkDel)
					fallthrough
				default:
					err = tap.Close()
				}
				if err != nil {
					t.Error(err)
				}
				if after := sceneOf(t, "nd0"); after != before {
					t.Errorf("before %+v\nafter  %+v", before, after)
				}
				if left, err := os.ReadDir(cfg.FoundDir); err != nil || len(left) != 0 || exists(besideOf(&before.netdev)) {
					t.Errorf("left: %v, %v", left, err)
				}
			})
		}
	}
}

func TestNetdevInAnotherNamespace(t *testing.T) {
	box := nettest.New(t)
	var far *netns.NS
	if err := box.Do(func() error { far = nettest.Wire(t, "nd0"); return nil }); err != nil {
		t.Fatal(err)
	}
	cfg := attaching(t, "nd0")
	cfg.Netns = box.Path()
	found := func() (s scene) {
		t.Helper()
		if err := box.Do(func() error { s = sceneOf(t, "nd0"); return nil }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := found()
	for _, end := range []string{"closed", "killed"} {
		tap := plumbed(t, cfg)
		works(t, tap, stationOn(t, far))
		if l := linkOf(t, tap); l.NSID == OwnNSID || !l.Up {
			t.Errorf("%+v", l)
		}
		if end == "closed" {
			if err := tap.Close(); err != nil {
				t.Error(err)
			}
		} else {
			_ = tap.file.Close()
			if names, err := PutBack(cfg.FoundDir); err != nil || len(names) != 1 {
				t.Errorf("put back %v, %v", names, err)
			}
		}
		if after := found(); after != before {
			t.Errorf("%s: before %+v\nafter  %+v", end, before, after)
		}
	}
	// In a third one it cannot be followed.
	tap := plumbed(t, cfg)
	_, seen := watching(t, tap)
	there := nettest.New(t)
	fd, err := unix.Open(there.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	within(t, box, "nd0", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, fd) })
	seen.until(t, "gone", func(r report) bool { return r.err == ErrGone })
	if err := tap.ReadBatch(newBatch()); err != ErrGone {
		t.Error(err)
	}
}

func TestNetdevGoesWithItsLink(t *testing.T) {
	nettest.Need(t)
	nettest.Wire(t, "nd0")
	cfg := attaching(t, "nd0")
	tap := plumbed(t, cfg)
	_, _ = watching(t, tap)
	beside := besideOf(linkNamed(t, "nd0"))
	got := make(chan error)
	go func() { got <- tap.ReadBatch(newBatch()) }()
	ipLink(t, "nd0", netlinkDel)
	isGone(t, tap, <-got)
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(cfg.FoundDir); err != nil || len(left) != 0 || exists(beside) {
		t.Errorf("left: %v, %v", left, err)
	}
}

// The host neither hears what comes in by the link nor says anything there.
func TestHostIsSilentOnANetdev(t *testing.T) {
	nettest.Need(t)
	// The links of a router, which have IPv6.
	speakIPv6(t, "default")
	sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	far := nettest.Wire(t, "nd0")
	ipLink(t, "nd0", func(l netlink.Link) error {
		return errors.Join(netlink.LinkSetUp(l), netlink.AddrAdd(l, address(netip.MustParsePrefix("192.0.2.7/24"))))
	})
	tap := plumbed(t, attaching(t, "nd0"))
	if beside := linkNamed(t, besideOf(linkNamed(t, "nd0"))); beside.genMode != -1 {
		t.Errorf("there is IPv6 on the TAP: %+v", beside)
	}
	st := stationOn(t, far)
	who := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, otherMAC[:]...)
	who = append(append(who, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1), otherMAC[:]...)
	who = append(append(who, 192, 0, 2, 9, 0, 0, 0, 0, 0, 0, 192, 0, 2, 7), make([]byte, 18)...)
	if err := st.Send(who); err != nil {
		t.Fatal(err)
	}
	same(t, receive(t, tap, 1)[0], who)
	// What the host says would come before what the switch sends after that.
	out := []Out{{Frame: &frame.Frame{Bytes: untagged(60)}}}
	if tap.Transmit(out); out[0].Reason != frame.Keep {
		t.Fatal(out[0].Reason)
	}
	for {
		got, err := st.Recv(patience)
		if err != nil {
			t.Fatal(err)
		}
		// Which groups it has joined a router says all the same (docs/attach.md).
		if allMLDv2Routers := []byte{0x33, 0x33, 0, 0, 0, 0x16}; !bytes.HasPrefix(got, allMLDv2Routers) {
			same(t, got, out[0].Frame.Bytes)
			break
		}
	}
}

func TestLinksThatCannotBeNetdevsAreRefused(t *testing.T) {
	nettest.Need(t)
	_, err := OpenNetdev(attaching(t, "none0"))
	refused(t, err, os.ErrNotExist, `attach link "none0"`, "there is no such link")
	_, err = OpenNetdev(attaching(t, "lo"))
	refused(t, err, ErrNotSupported, "carries no Ethernet frames")
	rawTUN(t, "tun0", unix.IFF_TUN)
	_, err = OpenNetdev(attaching(t, "tun0"))
	refused(t, err, ErrNotSupported, "carries no Ethernet frames")
	cfg := attaching(t, "none0")
	cfg.Netns = "no-such-ns"
	_, err = OpenNetdev(cfg)
	refused(t, err, os.ErrNotExist, "no-such-ns")

	open(t, named("own0"))
	_, err = OpenNetdev(attaching(t, "own0"))
	refused(t, err, ErrBusy, "the TAP of a port of this switch")

	nettest.Wire(t, "nd0")
	before := sceneOf(t, "nd0")
	tap := plumbed(t, attaching(t, "nd0"))
	_, err = OpenNetdev(attaching(t, "nd0"))
	refused(t, err, ErrBusy, "a port of a switch already", "tc qdisc del dev nd0 ingress")
	_, err = OpenNetdev(attaching(t, besideOf(&before.netdev)))
	refused(t, err, ErrBusy, "the TAP of a port of this switch")
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	ipLink(t, "nd0", func(l netlink.Link) error { return netlink.LinkAddAltName(l, "another0") })
	_, err = OpenNetdev(attaching(t, "another0"))
	refused(t, err, ErrNotSupported, "another name of link nd0")

	for _, kind := range []string{"ingress", "clsact"} {
		q := &netlink.GenericQdisc{QdiscType: kind, QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: before.Index, Handle: ingress, Parent: netlink.HANDLE_INGRESS,
		}}
		if err := netlink.QdiscAdd(q); err != nil {
			t.Fatal(err)
		}
		with := sceneOf(t, "nd0")
		_, err = OpenNetdev(attaching(t, "nd0"))
		refused(t, err, ErrBusy, "it has the qdisc "+kind, "tc qdisc del dev nd0 "+kind)
		if after := sceneOf(t, "nd0"); after != with {
			t.Errorf("before %+v\nafter  %+v", with, after)
		}
		if err := netlink.QdiscDel(q); err != nil {
			t.Fatal(err)
		}
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	ipLink(t, "nd0", func(l netlink.Link) error { return netlink.LinkSetMaster(l, bridge) })
	_, err = OpenNetdev(attaching(t, "nd0"))
	refused(t, err, ErrBusy, "it belongs to bridge br0", "ip link set nd0 nomaster")
	ipLink(t, "nd0", netlink.LinkSetNoMaster)

	cfg = attaching(t, "nd0")
	cfg.FoundDir = "/proc/nowhere"
	_, err = OpenNetdev(cfg)
	refused(t, err, os.ErrNotExist, "how it was found cannot be kept")
	cfg = attaching(t, "nd0")
	cfg.MTU = 65_521 + 100
	_, err = OpenNetdev(cfg)
	refused(t, err, os.ErrInvalid, "mtu")
	if after := sceneOf(t, "nd0"); after.qdiscs != before.qdiscs || after.promisc || after.AdminUp {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

// A TAP that another process has open, as a VMM does that makes its own.
func TestTAPOfAnotherProcessIsANetdev(t *testing.T) {
	nettest.Need(t)
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := setIff(fd, "vm0", unix.IFF_TAP|unix.IFF_NO_PI); err != nil {
		t.Fatal(err)
	}
	vmm := exec.Command("sleep", "600")
	device := os.NewFile(uintptr(fd), tunDevice)
	vmm.ExtraFiles = []*os.File{device}
	vmm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := errors.Join(vmm.Start(), device.Close()); err != nil {
		t.Fatal(err)
	}
	defer kill(vmm)
	tap := plumbed(t, attaching(t, "vm0"))
	_, seen := watching(t, tap)

	// The test is the VMM's CPU.
	pidfd, err := unix.PidfdOpen(vmm.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	const first = 3 // of ExtraFiles
	if fd, err = unix.PidfdGetfd(pidfd, first, 0); err != nil {
		nettest.Lack(t, "the descriptor of another process cannot be had: "+err.Error())
	}
	if _, err := unix.Write(fd, tagged(64, 10)); err != nil {
		t.Fatal(err)
	}
	same(t, receive(t, tap, 1)[0], tagged(64, 10))
	if why := transmit(tap, tagged(64, 11), TagKeep, 0); why != frame.Keep {
		t.Fatal(why)
	}
	buf := make([]byte, 2000)
	n, err := unix.Read(fd, buf)
	if err != nil {
		t.Fatal(err)
	}
	same(t, buf[:n], tagged(64, 11))

	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	kill(vmm) // Its TAP was not persistent.
	seen.until(t, "gone", func(r report) bool { return r.err == ErrGone })
}
