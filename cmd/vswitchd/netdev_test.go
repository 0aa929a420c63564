package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func testNetdevIsLeftAsItWasFound(t *testing.T) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "nd0", MTU: 1400}, PeerName: "far0"}
	try(t, netlink.LinkAdd(veth))
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	far, err := netlink.LinkByName("far0")
	try(t, errors.Join(err, netlink.LinkSetUp(far)))
	look := func() string {
		t.Helper()
		l, err := netlink.LinkByName("nd0")
		try(t, err)
		qdiscs, err := netlink.QdiscList(l)
		try(t, err)
		a := l.Attrs()
		words := []string{a.Flags.String(), a.HardwareAddr.String()}
		if a.Promisc != 0 {
			words = append(words, "promiscuous")
		}
		for _, q := range qdiscs {
			if q.Type() != "noqueue" { // What the kernel gives to a link that comes up first.
				words = append(words, q.Type())
			}
		}
		return strings.Join(words, " ")
	}
	found := look()
	asFound := func(when string) {
		t.Helper()
		if now := look(); now != found {
			t.Errorf("%s: %s; found was %s", when, now, found)
		}
	}
	b := newBench(t, twoPorts)
	d := b.start()
	code, out := b.run("vswitchctl", "--socket", b.socket(), "port", "add", "nope0", "--kind", "netdev")
	wantExit(t, code, 2, out, "nope0", "there is no such link")
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "lo", "--kind", "netdev")
	wantExit(t, code, 1, out, "carries no Ethernet frames")
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "up", "--kind", "netdev", "--link", "p1")
	wantExit(t, code, 6, out, "the TAP of a port of this switch")
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "up", "--kind", "netdev", "--ifname", "nd0")
	wantExit(t, code, 2, out, "--link with its name")

	add := []string{"port", "add", "up", "--kind", "netdev", "--link", "nd0", "--access", "10"}
	b.ctl(add...)
	wantExit(t, 0, 0, b.ctl("port", "show", "up"), "netdev", "nd0", "1400", "forwarding", "redirected to", "vsw-", "silenced on nd0")
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "up2", "--kind", "netdev", "--link", "nd0")
	wantExit(t, code, 6, out, "a port of a switch already")
	b.ctl("port", "del", "up")
	asFound("after port del")

	b.ctl(add...)
	d.kill()
	if look() == found {
		t.Error("a killed daemon has put the link back")
	}
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), "put back as it was found", "ifname=nd0")
	wantExit(t, 0, 0, b.ctl("port", "show", "up"), "nd0", "forwarding")
	b.ctl("port", "del", "up")
	asFound("after a kill and port del")

	b.ctl(add...)
	code, out = b.run("vswitchd", "--restore", "--config", b.file, "--socket", b.socket())
	wantExit(t, code, 1, out, "served by another vswitchd", b.socket())
	wantExit(t, 0, 0, b.ctl("port", "show", "up"), "forwarding")
	d.kill()
	code, out = b.run("vswitchd", "--restore", "--config", b.file, "--socket", b.socket())
	wantExit(t, code, 0, out, "put back as it was found", "ifname=nd0")
	asFound("after a kill and --restore")
	code, out = b.run("vswitchd", "--restore", "--config", b.file, "--socket", b.socket())
	wantExit(t, code, 0, out)
	d = b.start()
	wantExit(t, 0, 0, b.ctl("port", "show", "up"), "nd0", "forwarding")
	d.stop()
	asFound("after the end of the daemon")

	d = b.start()
	d.kill()
	try(t, netlink.QdiscDel(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: veth.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}))
	other := newBench(t, "vlan_aware: true\nmetrics: {listen: none}\n")
	o := other.start()
	other.ctl(add...)
	code, out = b.run("vswitchd", "--restore", "--config", b.file, "--socket", b.socket())
	wantExit(t, code, 0, out)
	if !strings.Contains(look(), "promiscuous ingress") {
		t.Errorf("a switch's link was put back by another: %s", look())
	}
	wantExit(t, 0, 0, other.ctl("port", "show", "up"), "forwarding")
	o.stop()
	try(t, netlink.LinkDel(veth))
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone"`, "port=up")
	d.stop()
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// As by `qemu -netdev tap,ifname=vm7`: the TAP is made, held and ended by another
// process than the switch.
func testRuleTakesTheTAPOfAVMM(t *testing.T) {
	b := newBench(t, "vlan_aware: true\nmetrics: {listen: none}\nauto_attach:\n- match: {name: \"vm*\", kind: tun, driver: tun}\n  port: {kind: netdev, access: 10}\n")
	d := b.start()
	for range 2 {
		vmm := holdTAP(t, "vm7")
		eventually(t, "the port", func() bool {
			p, err := b.client().Port(t.Context(), "vm7")
			return err == nil && p.Up && p.Kind == "netdev"
		})
		wantExit(t, 0, 0, b.ctl("port", "list"), "auto_attach[0]")
		try(t, unix.Close(vmm))
		eventually(t, "its end", func() bool {
			_, err := b.client().Port(t.Context(), "vm7")
			return err != nil
		})
	}
	d.stop()
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
}
