package vswitch

import (
	"errors"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/port"
)

// wire makes a veth pair, which goes with the test.
func wire(t *testing.T, name, peer string) netlink.Link {
	t.Helper()
	nettest.Need(t)
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}
	try(t, netlink.LinkAdd(l))
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	return l
}

func netdevs(m config.Match) config.AutoAttach {
	return config.AutoAttach{Match: m, Port: config.Port{Kind: config.KindNetdev, Access: 10}}
}

func TestRulesAttachNetdevsByNameKindAndDriver(t *testing.T) {
	there := wire(t, "nd-there", "far0")
	r := newAutoRig(t, netdevs(config.Match{Name: "vm*"}), netdevs(config.Match{Kind: "ve??", Name: "nd*"}), netdevs(config.Match{Driver: "br*"}), named("*", 99))
	r.becomes("nd-there:2:10")
	l := wire(t, "nd-new", "far1")
	r.becomes("nd-new:2:10 nd-there:2:10")
	// Of no rule's kind, driver or name.
	wire(t, "other0", "far2")
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge0"}}
	try(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	r.becomes("bridge0:3:10 nd-new:2:10 nd-there:2:10")
	try(t, netlink.LinkDel(bridge))
	// It is gone with its link, and comes back with it.
	try(t, netlink.LinkDel(l))
	r.becomes("nd-there:2:10")
	wire(t, "nd-new", "far1")
	r.becomes("nd-new:2:10 nd-there:2:10")
	try(t, netlink.LinkSetName(there, "renamed0"))
	r.becomes("nd-new:2:10")
	try(t, r.AutoAttach(nil))
	r.stays("")
	for _, e := range r.all() {
		if e.Kind == LinkNotAttached {
			t.Errorf("%+v", e)
		}
	}
}

func TestRulesAttachNetdevsByGroupAndAlias(t *testing.T) {
	r := newAutoRig(t, netdevs(config.Match{Group: "7"}), netdevs(config.Match{Alias: "guest of *"}))
	byGroup, byAlias := wire(t, "nd0", "far0"), wire(t, "nd1", "far1")
	r.stays("")
	try(t, netlink.LinkSetGroup(byGroup, 7))
	r.becomes("nd0:1:10")
	try(t, netlink.LinkSetAlias(byAlias, "guest of web"))
	r.becomes("nd0:1:10 nd1:2:10")
}

// What one rule adopts another attaches as a netdev, once they change places.
func TestRuleOfAnotherKindMakesThePortAnew(t *testing.T) {
	tuntap(t, "vm0")
	r := newAutoRig(t, named("vm*", 20))
	r.becomes("vm0:1:20")
	try(t, r.AutoAttach([]config.AutoAttach{netdevs(config.Match{Name: "vm*"}), named("vm*", 20)}))
	r.becomes("vm0:1:10")
	if p, _, err := r.Port("vm0"); err != nil || p.Config.Kind != config.KindNetdev {
		t.Errorf("%+v, %v", p, err)
	}
	try(t, r.AutoAttach([]config.AutoAttach{named("vm*", 20)}))
	r.becomes("vm0:1:20")
}

func TestNetdevThatCannotBeIsReportedOnceAndTriedWhenItCan(t *testing.T) {
	nettest.Need(t)
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge0"}}
	try(t, netlink.LinkAdd(bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(bridge) })
	l := wire(t, "nd0", "far0")
	try(t, errors.Join(netlink.LinkSetUp(l), netlink.LinkSetMaster(l, bridge)))
	r := newAutoRig(t, netdevs(config.Match{Name: "nd*"}))
	eventually(t, "the report", func() bool { return len(r.told(LinkNotAttached, "nd0")) > 0 })
	r.stays("")
	if events := r.told(LinkNotAttached, "nd0"); len(events) != 1 || !strings.Contains(events[0].Err.Error(), "bridge bridge0") {
		t.Errorf("%+v", events)
	}
	try(t, netlink.LinkSetNoMaster(l))
	r.becomes("nd0:1:10")
}

func TestPortOfTheConfigurationHasPrecedenceOverANetdevOfARule(t *testing.T) {
	wire(t, "nd0", "far0")
	r := newAutoRig(t, netdevs(config.Match{Name: "nd*"}))
	r.becomes("nd0:1:10")
	next := r.Running()
	next.Ports = []config.Port{{Name: "mine", Kind: config.KindNetdev, Link: "nd0", Access: 50}}
	try(t, r.Apply(next))
	r.stays("mine:0:50")
	next.Ports = nil
	try(t, r.Apply(next))
	r.becomes("nd0:1:10")
}

// The TAP beside a link is no business of rules, and what is gone comes back.
func TestTAPBesideANetdevIsNotAttached(t *testing.T) {
	l := wire(t, "nd0", "far0")
	r := newAutoRig(t, netdevs(config.Match{Kind: "tun"}), netdevs(config.Match{Name: "nd*"}), named("*", 99))
	r.becomes("nd0:2:10")
	r.stays("nd0:2:10")
	p, device, err := r.Port("nd0")
	if err != nil || p.Link.Ifname != "nd0" || p.Link.Index != l.Attrs().Index {
		t.Fatalf("%+v, %v", p, err)
	}
	beside, err := netlink.LinkByName(device.Ifname)
	try(t, err)
	try(t, netlink.LinkDel(beside))
	eventually(t, "another TAP", func() bool {
		again, err := netlink.LinkByName(device.Ifname)
		return err == nil && again.Attrs().Index != beside.Attrs().Index && r.names() == "nd0:2:10"
	})
	for _, e := range r.all() {
		if e.Kind == LinkNotAttached {
			t.Errorf("%+v", e)
		}
	}
}

func TestRenamedNetdevIsRunningUnderItsNewName(t *testing.T) {
	l := wire(t, "nd0", "far0")
	r := newAutoRig(t)
	try(t, r.Add(config.Port{Name: "up", Kind: config.KindNetdev, Link: "nd0", Access: 10}))
	try(t, netlink.LinkSetName(l, "nd9"))
	eventually(t, "the new name", func() bool { return r.Running().Ports[0].Link == "nd9" })
	try(t, netlink.LinkSetName(l, "up"))
	eventually(t, "the port's name", func() bool { return r.Running().Ports[0].Link == "" })
	if p, _, err := r.Port("up"); err != nil || p.Link.NSID != port.OwnNSID {
		t.Errorf("%+v, %v", p, err)
	}
}
