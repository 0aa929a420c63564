package test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// Of deploy/fabric/join.sh with VNI 100.
const (
	fabricLink = "vni100"
	vxlanLink  = "vx100"
)

// vtep is a host in a network namespace, with a daemon whose VLAN 10 join.sh joins
// to VNI 100.
type vtep struct {
	*rig
	ns   *netns.NS
	addr string // in the underlay
}

// newVTEPs makes two hosts and the wire between them, which has room for VXLAN
// around frames of 1514 bytes.
func newVTEPs(t *testing.T) (a, b *vtep) {
	t.Helper()
	nettest.Need(t)
	for _, program := range []string{"ip", "bridge"} {
		if _, err := exec.LookPath(program); err != nil {
			nettest.Lack(t, err.Error())
		}
	}
	build(t)
	a, b = newVTEP(t, "10.1.0.1"), newVTEP(t, "10.1.0.2")
	a.run("ip", "link", "add", "under", "mtu", "1600", "type", "veth", "peer", "name", "under", "mtu", "1600", "netns", b.ns.PID())
	for _, v := range []*vtep{a, b} {
		v.run("ip", "address", "add", v.addr+"/24", "dev", "under")
		v.run("ip", "link", "set", "under", "up")
	}
	return a, b
}

func newVTEP(t *testing.T, addr string) *vtep {
	t.Helper()
	v := &vtep{rig: &rig{t: t, dir: filepath.Dir(socketPath(t))}, ns: nettest.New(t), addr: addr}
	v.write("vlan_aware: true\nmetrics: {listen: none}\n")
	v.start()
	return v
}

// start starts the daemon.
func (v *vtep) start() {
	v.t.Helper()
	v.inside(func() error { v.launch(); return nil })
	v.ready()
}

// inside calls f in the host's namespace, where processes that f starts stay.
func (v *vtep) inside(f func() error) {
	v.t.Helper()
	if err := v.ns.Do(f); err != nil {
		v.t.Fatal(err)
	}
}

// run runs a command on the host, whose vswitchctl is that of the daemon.
func (v *vtep) run(args ...string) {
	v.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "VSWITCHD_SOCKET="+v.socket())
	v.inside(func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%q: %w: %s", args, err, out)
		}
		return err
	})
}

// join runs join.sh; a peer is its REMOTE.
func (v *vtep) join(peer ...string) {
	v.t.Helper()
	v.run(append([]string{"../deploy/fabric/join.sh", "100", "10", v.addr}, peer...)...)
}

// attach adds a station in VLAN 10, 192.168.50.N in a namespace of its own. It is
// the same one as another with that number.
func (v *vtep) attach(n byte) lab.Host {
	v.t.Helper()
	h := lab.Host{
		Name: fmt.Sprint("station", n), NS: nettest.New(v.t), Interface: "eth0",
		Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, 50, n}), 24),
	}
	_, err := v.AddPort(v.t.Context(), nettest.Port(v.t, config.Port{
		Name: h.Name, Netns: h.NS.PID(), Ifname: h.Interface, MAC: new(stationMAC(n)), IP: []netip.Prefix{h.Addr}, Access: 10,
	}))
	if err != nil {
		v.t.Fatal(err)
	}
	return h
}

func stationMAC(n byte) frame.MAC { return frame.MAC{2, 0xcc, 0, 0, 0, n} }

// pings waits until an echo request is answered.
func pings(t *testing.T, from, to lab.Host) {
	t.Helper()
	eventually(t, func() error {
		_, err := from.Ping(to.Addr.Addr(), time.Second)
		return err
	})
}

// carries has TCP and UDP cross between two stations.
func carries(t *testing.T, a, b lab.Host) {
	t.Helper()
	pings(t, a, b)
	swap(t, a.NS, b.NS, b.Addr.Addr(), 4<<20)
	datagrams(t, a.NS, b.NS, b.Addr.Addr())
}

// A VLAN goes on at another host by the kernel's VXLAN. Killed and started again,
// the switch is still part of it.
func TestVLANSpansTwoHosts(t *testing.T) {
	a, b := newVTEPs(t)
	a.join(b.addr)
	b.join(a.addr)
	here, there := a.attach(1), b.attach(2)
	carries(t, here, there)

	a.signal(unix.SIGKILL)
	<-a.gone
	a.start()
	carries(t, here, there)
	for _, v := range []*vtep{a, b} {
		eventually(t, v.unbalanced)
		v.run("sh", "-c", "vswitchctl port del vni100 && ip link del vni100 && ip link del vx100 && ip link del br100")
		v.join("10.1.0.3") // It has left nothing behind that would be in the way.
	}
}

// Where stations are, hosts tell each other by BGP EVPN. One that moves is found
// where it is, by hosts that it has not spoken to as well.
func TestFabricFollowsAStation(t *testing.T) {
	frr := os.Getenv("VSWITCH_FRR")
	if frr == "" {
		t.Skip("VSWITCH_FRR names no unpacked FRR; `make fabric` fetches one")
	}
	a, b := newVTEPs(t)
	a.join()
	b.join()
	a.route(frr, b)
	b.route(frr, a)
	eventually(t, func() error { return errors.Join(a.tunnels(make([]byte, 6), b), b.tunnels(make([]byte, 6), a)) })

	here, there, roaming := a.attach(1), b.attach(2), a.attach(3)
	carries(t, here, there)
	pings(t, roaming, there)
	mac := stationMAC(3)
	for range 2 {
		eventually(t, func() error { return errors.Join(a.has(mac, "station3"), b.has(mac, fabricLink), b.tunnels(mac[:], a)) })
		if _, err := a.RemovePort(t.Context(), "station3"); err != nil {
			t.Fatal(err)
		}
		roaming = b.attach(3)
		pings(t, roaming, here)
		eventually(t, func() error { return errors.Join(b.has(mac, "station3"), a.has(mac, fabricLink), a.tunnels(mac[:], b)) })
		carries(t, here, roaming)
		a, b, here, there = b, a, there, here
	}
	for _, v := range []*vtep{a, b} {
		eventually(t, v.unbalanced)
	}
}

// route starts FRR on the host, with deploy/fabric/frr.conf.
func (v *vtep) route(frr string, peer *vtep) {
	v.t.Helper()
	file := filepath.Join(v.dir, "frr.conf")
	text, err := os.ReadFile("../deploy/fabric/frr.conf")
	if err == nil {
		err = os.WriteFile(file, []byte(strings.NewReplacer("LOCAL", v.addr, "PEER", peer.addr).Replace(string(text))), 0o600)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	zebra := filepath.Join(v.dir, "zserv")
	for _, d := range []struct{ name, config string }{{"zebra", os.DevNull}, {"bgpd", file}} {
		// FRR wants a group that its package would have made, with its user in it.
		cmd := exec.Command("unshare", "-m", "sh", "-c", `{ cat /etc/group; echo frrvty:x:65533:root; } >"$0" && mount --bind "$0" /etc/group && exec "$@"`,
			filepath.Join(v.dir, "group"), filepath.Join(frr, "usr/lib/frr", d.name), "-u", "root", "-g", "root", "-P", "0", "--log", "stdout",
			"-f", d.config, "-i", filepath.Join(v.dir, d.name+".pid"), "-z", zebra, "--vty_socket", v.dir)
		lib := filepath.Join(frr, "usr/lib/x86_64-linux-gnu")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+lib+":"+lib+"/frr")
		cmd.Stdout, cmd.Stderr = v.t.Output(), v.t.Output()
		v.inside(cmd.Start)
		v.t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		// A bgpd that finds no zebra looks again after ten seconds.
		eventually(v.t, func() error { _, err := os.Stat(zebra); return err })
	}
}

// tunnels returns nil once zebra has the VXLAN device send frames to mac, or
// unknown ones if that is all zero, to the other host.
func (v *vtep) tunnels(mac []byte, to *vtep) error {
	return v.ns.Do(func() error {
		l, err := netlink.LinkByName(vxlanLink)
		if err != nil {
			return err
		}
		entries, err := netlink.NeighList(l.Attrs().Index, unix.AF_BRIDGE)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if bytes.Equal(e.HardwareAddr, mac) && e.IP.String() == to.addr {
				return nil
			}
		}
		return fmt.Errorf("%s: %s has no way to % x by %s: %v", v.addr, vxlanLink, mac, to.addr, entries)
	})
}

// has returns nil if the switch has learned the address in VLAN 10 on that port.
func (v *vtep) has(mac frame.MAC, port string) error {
	entries, err := v.FDB(v.t.Context(), control.FDBFlush{})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.MAC == mac && e.VLAN == 10 && e.Port == port {
			return nil
		}
	}
	return fmt.Errorf("%s: %v is not on %s: %v", v.addr, mac, port, entries)
}
