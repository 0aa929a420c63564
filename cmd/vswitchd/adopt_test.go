package main

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// makeTAP does what `ip tuntap add NAME mode tap` does. The link goes with the test.
func makeTAP(t *testing.T, name string) *netlink.Tuntap {
	t.Helper()
	fd := holdTAP(t, name)
	if err := errors.Join(unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	l := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}}
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	return l
}

// holdTAP opens a TAP as a VMM does.
func holdTAP(t *testing.T, name string) (fd int) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		t.Fatal(err)
	}
	return fd
}

func testAdoptedTAPIsLeftAsItWasFound(t *testing.T) {
	tap := makeTAP(t, "tap0")
	if err := netlink.LinkSetMTU(tap, 1280); err != nil {
		t.Fatal(err)
	}
	found, err := net.InterfaceByName("tap0")
	if err != nil {
		t.Fatal(err)
	}
	asFound := func(when string) {
		t.Helper()
		now, err := net.InterfaceByName("tap0")
		if err != nil || now.MTU != found.MTU || now.Flags != found.Flags || now.HardwareAddr.String() != found.HardwareAddr.String() {
			t.Errorf("%s: %+v, %v; found was %+v", when, now, err, found)
		}
	}
	b := newBench(t, twoPorts)
	d := b.start()
	if _, err := os.Stat(b.socket() + ".adopted"); err == nil {
		t.Error("a directory was made for nothing")
	}
	code, out := b.run("vswitchctl", "--socket", b.socket(), "port", "add", "tap0", "--access", "10")
	wantExit(t, code, 6, out, "a persistent TAP named tap0 exists already", "--adopt")
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "tap1", "--adopt")
	wantExit(t, code, 2, out, "there is no such link", "ip tuntap add tap1 mode tap")
	add := []string{"port", "add", "tap0", "--access", "10", "--adopt", "--mac", "02:00:00:00:00:09", "--ip", "192.0.2.1/24"}
	b.ctl(add...)
	wantExit(t, 0, 0, b.ctl("port", "show", "tap0"), "adopt", "1280", "02:00:00:00:00:09")
	b.ctl("port", "del", "tap0")
	asFound("after port del")

	b.ctl(add...)
	b.ctl("port", "set", "tap0", "--mtu", "1400")
	d.kill()
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), "put back as it was found", "ifname=tap0")
	wantExit(t, 0, 0, b.ctl("port", "show", "tap0"), "1400", "02:00:00:00:00:09")
	b.ctl("port", "del", "tap0")
	asFound("after a kill and port del")

	b.ctl(add...)
	d.stop()
	asFound("after the end of the daemon")

	d = b.start()
	d.kill()
	if err := netlink.LinkDel(tap); err != nil {
		t.Fatal(err)
	}
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone"`, "port=tap0")
	if strings.Contains(b.running(), "tap0") {
		t.Errorf("running:\n%s", b.running())
	}
	d.stop()
}

func testRenamedTAPIsFoundAgainAfterAKill(t *testing.T) {
	lent := makeTAP(t, "lent0")
	b := newBench(t, "vlan_aware: true\nmetrics: {listen: none}\nports:\n- {name: lent0, access: 10, adopt: true}\n- {name: stays, access: 10, persistent: true, owner: root}\n")
	d := b.start()
	stays, err := netlink.LinkByName("stays")
	try(t, err)
	t.Cleanup(func() { _ = netlink.LinkDel(stays) })
	try(t, errors.Join(netlink.LinkSetName(lent, "lent9"), netlink.LinkSetName(stays, "stays9")))
	kept := func(want bool, names ...string) {
		t.Helper()
		eventually(t, "the kept configuration", func() bool {
			text, err := os.ReadFile(b.socket() + ".running")
			try(t, err)
			all := true
			for _, name := range names {
				all = all && strings.Contains(string(text), name) == want
			}
			return all
		})
	}
	kept(true, "ifname: lent9", "ifname: stays9")
	wantExit(t, 0, 0, b.ctl("config", "diff"), "+ ports[lent0].ifname: lent9", "+ ports[stays].ifname: stays9")
	d.kill()
	d = b.start()
	if got := links(t); got != "lent9 stays9" {
		t.Errorf("links %s", got)
	}
	wantExit(t, 0, 0, b.ctl("port", "show", "stays"), "stays9", "forwarding")
	wantExit(t, 0, 0, b.ctl("port", "show", "lent0"), "lent9", "forwarding")
	// Applied, the startup file asks for a TAP that nobody has made, and all stays.
	code, out := b.run("vswitchctl", "--socket", b.socket(), "config", "apply", b.file)
	wantExit(t, code, 2, out, "lent0", "there is no such link")
	wantExit(t, 0, 0, b.ctl("port", "show", "lent0"), "lent9", "forwarding")
	try(t, errors.Join(netlink.LinkSetName(stays, "stays"), netlink.LinkSetName(lent, "lent0")))
	kept(false, "ifname:")
	d.stop()
}

// It cannot be opened there, so that the port ends with the daemon.
func testMovedTAPIsLeftWhereItIsAfterAKill(t *testing.T) {
	lent := makeTAP(t, "lent0")
	b := newBench(t, "vlan_aware: true\nmetrics: {listen: none}\nports:\n- {name: lent0, access: 10, adopt: true, mtu: 1400}\n")
	d := b.start()
	ns := nettest.New(t)
	fd, err := unix.Open(ns.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	try(t, err)
	defer unix.Close(fd)
	try(t, netlink.LinkSetNsFd(lent, fd))
	eventually(t, "the move", func() bool { return !strings.Contains(b.ctl("port", "list"), " up ") })
	d.kill()
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone"`, "port=lent0")
	try(t, ns.Do(func() error {
		i, err := net.InterfaceByName("lent0")
		if err == nil && i.MTU != 1400 {
			t.Errorf("%+v", i)
		}
		return err
	}))
	d.stop()
}

func testRulesAttachAndDetach(t *testing.T) {
	const rule = "metrics: {listen: none}\nauto_attach:\n- match: {name: \"vm*\"}\n  port: {access: 10}\n"
	makeTAP(t, "vm0")
	b := newBench(t, twoPorts+rule)
	d := b.start()
	ports := func(want string) {
		t.Helper()
		eventually(t, "ports "+want, func() bool {
			all, err := b.client().Ports(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range all {
				got = append(got, p.Name+p.Origin)
			}
			return strings.Join(got, " ") == want
		})
	}
	ports("p1 p2 vm0auto_attach[0]")
	makeTAP(t, "vm1")
	ports("p1 p2 vm0auto_attach[0] vm1auto_attach[0]")
	wantExit(t, 0, 0, b.ctl("port", "show", "vm1"), "auto_attach[0]")
	b.ctl("config", "save")
	if text, err := os.ReadFile(b.file); err != nil || strings.Contains(string(text), "vm0") || !strings.Contains(string(text), "auto_attach:") {
		t.Errorf("saved: %s, %v", text, err)
	}
	code, out := b.run("vswitchctl", "--socket", b.socket(), "port", "set", "vm1", "--access", "20")
	wantExit(t, code, 2, out, "auto_attach[0]", "--adopt")
	wantExit(t, 0, 0, b.ctl("port", "del", "vm1"), "auto_attach[0]", "leaves vm1 alone until")
	ports("p1 p2 vm0auto_attach[0]")

	d.kill()
	d = b.start()
	ports("p1 p2 vm0auto_attach[0] vm1auto_attach[0]")
	p1 := index(t, "p1")
	b.write(strings.ReplaceAll(twoPorts+rule, "vm*", "vm1"))
	try(t, d.cmd.Process.Signal(unix.SIGHUP))
	ports("p1 p2 vm1auto_attach[0]")
	// The port has gone from the list before its link is put back.
	deadline := time.Now().Add(10 * time.Second)
	for {
		i, err := net.InterfaceByName("vm0")
		if err == nil && i.Flags&net.FlagUp == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", i, err)
		}
	}
	if index(t, "p1") != p1 {
		t.Error("another port was touched")
	}

	d.stop()
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

func TestLinkThatNoRuleCanHaveIsLogged(t *testing.T) {
	var out bytes.Buffer
	l := &eventLog{log: slog.New(slog.NewTextHandler(&out, nil))}
	l.write(&vswitch.Event{Kind: vswitch.LinkNotAttached, Port: "vm0", Err: errors.New("in use by somebody")})
	wantExit(t, 0, 0, out.String(), "level=WARN", `msg="link not_attached" port=vm0 err="in use by somebody"`)
}
