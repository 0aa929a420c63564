// Package vm boots virtual machines behind the ports of a vswitchd: QEMU, a
// Linux kernel of Debian's, and this test binary as its only program.
package vm

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/internal/guest"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) {
	if guest.Inside() {
		guest.Main(func() error { _, err := echo(); return err },
			map[string]guest.Command{"udp": datagrams, "tcp": exchange})
	}
	nettest.Main(m)
}

// kinds are the ways of a guest to the switch: flags of `vswitchctl port add`.
// SOCKET stands for a path. What QEMU gets is up to `vswitchctl port show`.
var kinds = []struct {
	name, port string
	lasting    bool // the guest stays attached when the switch is killed and started again
	tap        tap  // that QEMU opens
}{
	{"StreamListens", "--kind stream --listen SOCKET", false, none}, // QEMU dials once, before 8.0.
	{"StreamDials", "--kind stream --dial SOCKET", true, none},
	{"Dgram", "--kind dgram --listen SOCKET --dial SOCKET.vm", true, none},
	{"TAPByName", "--kind netdev", true, byName},
	{"TAPByDescriptor", "--kind netdev", true, byDescriptor},
}

// tap is how QEMU comes by the TAP that is the link of the port.
type tap int

const (
	none tap = iota
	byName
	byDescriptor // from whoever started it, as from libvirt
)

// The stations are in VLAN 10. A guest's MTU follows from that of its port.
const (
	hostAddr  = "10.9.0.1"
	otherAddr = "10.9.0.2"
	guestMAC  = "52:54:00:00:00:03"
	guestAddr = "10.9.0.3"
	mtu       = 9000
)

// A guest gets through untagged and by a trunk, also once the switch has been
// killed and started again where QEMU can take that. It is cut off in the middle of a
// transfer, which nobody else notices, and is back on its port when it is
// started again.
func TestGuest(t *testing.T) {
	nettest.Need(t)
	image := newImage(t)
	d := newDaemon(t)
	host, other := d.station(t, "host", "02:00:00:00:00:01", hostAddr), d.station(t, "other", "02:00:00:00:00:02", otherAddr)
	for i, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			if kind.tap != none {
				makeTAP(t, "vm")
			}
			attach := d.attach(t, "vm", i)
			defer d.do(t, "port", "del", "vm")

			g := d.boot(t, image, "vm", i, attach, guestMAC)
			if have := g.Run(t, "read", "/sys/class/net/eth0/mtu"); have != fmt.Sprintln(mtu) {
				t.Errorf("the guest finds an MTU of %s, want %d", have, mtu)
			}
			g.Run(t, "link", "eth0", 1500, guestAddr+"/24")
			reaches(t, g, hostAddr, 1500)
			if whole, err := d.superFrames("vm"); err != nil || whole != (kind.tap != none) {
				t.Errorf("super-frames reach the guest: %v; error %v", whole, err)
			}

			d.do(t, "port", "set", "vm", "--access", "none", "--trunk", "10,20")
			g.trunk(t, guestAddr)
			reaches(t, g, hostAddr, mtu)
			if kind.lasting {
				d.restart(t)
				eventually(t, func() error { return d.linkIs(true, "vm") })
				reaches(t, g, hostAddr, mtu)
			}
			noChecksumWasWrong(t, g)
			killInTransfer(t, g, host, other)
			eventually(t, func() error { return errors.Join(d.linkIs(false, "vm"), d.unbalanced()) })

			again := d.boot(t, image, "vm", i, attach, guestMAC)
			again.trunk(t, guestAddr)
			again.Run(t, "ping", hostAddr, mtu)
			again.End(t)
			eventually(t, func() error { return errors.Join(d.linkIs(false, "vm"), d.unbalanced()) })
		})
	}
}

// A guest whose TAP QEMU makes itself is attached by a rule, and needs no other
// command. The port ends with QEMU, which nobody else notices.
func TestRuleAttachesTheTAPThatQEMUMakes(t *testing.T) {
	nettest.Need(t)
	image := newImage(t)
	d := newDaemon(t)
	host, other := d.station(t, "host", "02:00:00:00:00:01", hostAddr), d.station(t, "other", "02:00:00:00:00:02", otherAddr)
	g := image.Boot(t, []string{"-netdev", "tap,id=n0,ifname=auto0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0"}, guestMAC)
	eventually(t, func() error { return d.linkIs(true, "auto0") })
	g.Run(t, "link", "eth0", 1500, guestAddr+"/24")
	reaches(t, g, hostAddr, 1500)
	killInTransfer(t, g, host, other)
	eventually(t, func() error {
		if _, err := d.ctl("port", "show", "auto0"); err == nil {
			return errors.New("the port outlives QEMU")
		}
		if left, err := filepath.Glob("/sys/class/net/vsw-*"); err != nil || len(left) > 0 {
			return fmt.Errorf("%q outlive QEMU: %w", left, err)
		}
		return d.unbalanced()
	})
}

// Two guests each behind ports of every kind, one of them tagging its frames
// itself, reach those of all kinds.
func TestMatrix(t *testing.T) {
	if os.Getenv("VSWITCH_VM_MATRIX") != "1" {
		t.Skip("VSWITCH_VM_MATRIX is not 1; `make vm-matrix` sets it")
	}
	nettest.Need(t)
	image := newImage(t)
	d := newDaemon(t)
	address := func(n int) string { return fmt.Sprint("10.9.0.", 10+n) }
	start := func(n int) *Guest {
		name, kind := fmt.Sprint("vm", n), n%len(kinds)
		if kinds[kind].tap != none {
			makeTAP(t, name)
		}
		attach := d.attach(t, name, kind)
		return d.boot(t, image, name, kind, attach, fmt.Sprintf("52:54:00:00:01:%02x", n))
	}
	var plain, tagging []*Guest
	for n := range kinds {
		g := start(n)
		g.Run(t, "link", "eth0", mtu, address(n)+"/24")
		plain = append(plain, g)
	}
	for n := len(kinds); n < 2*len(kinds); n++ {
		g := start(n)
		d.do(t, "port", "set", fmt.Sprint("vm", n), "--access", "none", "--trunk", "10,20")
		g.trunk(t, address(n))
		tagging = append(tagging, g)
	}
	for i, a := range kinds {
		for j, b := range kinds {
			t.Run(a.name+"And"+b.name, func(t *testing.T) {
				reaches(t, plain[i], address(len(kinds)+j), mtu)
				for _, g := range []*Guest{plain[i], tagging[j]} {
					noChecksumWasWrong(t, g)
				}
			})
		}
	}
	eventually(t, d.unbalanced)
}

// attach adds a port of the kind with that number, access VLAN 10, and returns
// what `vswitchctl port show` says to give to QEMU.
func (d *daemon) attach(t *testing.T, name string, kind int) []string {
	t.Helper()
	flags := strings.ReplaceAll(kinds[kind].port, "SOCKET", d.path(name+kinds[kind].name))
	d.do(t, append([]string{"port", "add", name, "--access", "10", "--mtu", strconv.Itoa(mtu)}, strings.Fields(flags)...)...)
	snippet, err := d.ctl("port", "show", name, "--attach", "qemu")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(snippet))
}

// boot starts a guest and returns once it is the station of the port.
func (d *daemon) boot(t *testing.T, from *image, name string, kind int, attach []string, mac string) *Guest {
	t.Helper()
	var inherited []*os.File
	if kinds[kind].tap == byDescriptor {
		f := openTAP(t, name)
		defer f.Close() // With it open, the link would stay up without QEMU.
		inherited = append(inherited, f)
		attach = slices.Clone(attach)
		attach[1] = "tap,id=net-" + name + ",fd=3" // Beside standard input, output and error.
	}
	g := from.Boot(t, attach, mac, inherited...)
	eventually(t, func() error { return d.linkIs(true, name) })
	return g
}

// trunk has the guest tag its frames: its address in VLAN 10 is on eth0.10.
func (g *Guest) trunk(t *testing.T, addr string) {
	t.Helper()
	g.Run(t, "link", "eth0", mtu)
	g.Run(t, "vlan", "eth0", 10)
	g.Run(t, "link", "eth0.10", mtu, addr+"/24")
}

// reaches has the guest ping another station with a datagram as long as the MTU,
// send it UDP datagrams, and 4 MiB by TCP while they come back.
func reaches(t *testing.T, g *Guest, to string, mtu int) {
	t.Helper()
	g.Run(t, "ping", to, mtu)
	g.Run(t, "udp", to, mtu)
	g.Run(t, "tcp", to, 4<<20)
}

// station adds a TAP in a namespace of its own, where echo runs.
func (d *daemon) station(t *testing.T, name, mac, addr string) lab.Host {
	t.Helper()
	ns := nettest.New(t)
	d.do(t, "port", "add", name, "--access", "10", "--netns", ns.PID(), "--ifname", "eth0", "--mac", mac, "--ip", addr+"/24", "--mtu", strconv.Itoa(mtu))
	err := ns.Do(func() error {
		stop, err := echo()
		if err == nil {
			t.Cleanup(stop)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lab.Host{Name: name, NS: ns, Interface: "eth0", Addr: netip.MustParsePrefix(addr + "/24")}
}

// noChecksumWasWrong has the guest's stack found nothing wrong; those of hosts are
// looked at by package nettest.
func noChecksumWasWrong(t *testing.T, g *Guest) {
	t.Helper()
	if found := nettest.Spoiled(g.Run(t, "read", "/proc/net/snmp"), ""); len(found) > 0 {
		t.Errorf("the guest's stack has found frames spoiled: %q", found)
	}
}

// killInTransfer kills the guest while data flow both ways, and others talk.
func killInTransfer(t *testing.T, g *Guest, host, other lab.Host) {
	t.Helper()
	defer pinging(t, host, other)()
	var conn net.Conn
	err := host.NS.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", fmt.Sprint(guestAddr, ":", echoPort), patience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = io.Copy(conn, rand.NewChaCha8([32]byte{})) // It ends as conn is closed.
	}()
	err = conn.SetReadDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = io.CopyN(io.Discard, conn, 1<<20)
	}
	g.Kill()
	_ = conn.(*net.TCPConn).SetLinger(0) // Nobody is left to acknowledge anything.
	_ = conn.Close()
	<-wrote
	if err != nil {
		t.Errorf("before the guest was killed: %v", err)
	}
}

// pinging has one host ping another until the function that it returns is
// called. Each ping must be answered.
func pinging(t *testing.T, from, to lab.Host) (end func()) {
	t.Helper()
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for pace := time.NewTicker(10 * time.Millisecond); ; {
			if _, err := from.Ping(to.Addr.Addr(), patience); err != nil {
				result <- err
				return
			}
			select {
			case <-stop:
				result <- nil
				return
			case <-pace.C:
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}
