package vswitch

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/port"
)

// autoRig is a switch whose events are kept.
type autoRig struct {
	*testing.T
	*Switch
	watch  *Watch
	events []Event // read so far
}

func newAutoRig(t *testing.T, rules ...config.AutoAttach) *autoRig {
	t.Helper()
	nettest.Need(t)
	r := &autoRig{T: t}
	s, err := New(&config.Config{VLANAware: new(true)}, Options{FoundDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.Switch, r.watch = s, s.Watch(EventFilter{Types: []EventType{TypePort, TypeLink}})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AutoAttach(rules); err != nil {
		t.Fatal(err)
	}
	return r
}

// told returns the events of a kind about a port.
func (r *autoRig) told(kind EventKind, name string) (events []Event) {
	for _, e := range r.all() {
		if e.Kind == kind && e.Port == name {
			events = append(events, e)
		}
	}
	return events
}

// all returns the events until now.
func (r *autoRig) all() []Event {
	r.Helper()
	for buf := make([]Event, 64); ; {
		n, lost, err := r.watch.take(buf)
		if lost > 0 {
			r.Fatalf("%d events lost", lost)
		}
		r.events = append(r.events, buf[:n]...)
		if n == 0 || err != nil {
			return r.events
		}
	}
}

// ports names the ports with their rule and access VLAN.
func (r *autoRig) names() string {
	var words []string
	for _, p := range r.Ports() {
		words = append(words, fmt.Sprintf("%s:%d:%d", p.Config.Name, p.Rule, p.Config.Access))
	}
	return strings.Join(words, " ")
}

func (r *autoRig) becomes(ports string) {
	r.Helper()
	eventually(r.T, "ports "+ports, func() bool { return r.names() == ports })
}

// stays has the switch look at all links, and checks that it changes nothing.
func (r *autoRig) stays(ports string) {
	r.Helper()
	for range 3 {
		r.auto.mu.Lock()
		r.round()
		r.auto.mu.Unlock()
	}
	if got := r.names(); got != ports {
		r.Errorf("ports %s, want %s", got, ports)
	}
}

// hold opens a TAP as `ip tuntap` and VMMs do.
func hold(t *testing.T, name string) (fd int) {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		t.Fatal(err)
	}
	return fd
}

// tuntap does what `ip tuntap add NAME mode tap` does. The link goes with the test.
func tuntap(t *testing.T, name string) netlink.Link {
	t.Helper()
	fd := hold(t, name)
	if err := errors.Join(unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	return l
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func named(glob string, access frame.VID) config.AutoAttach {
	return config.AutoAttach{Match: config.Match{Name: glob}, Port: config.Port{Access: access}}
}

func TestRulesAttachLinksThatAreThereAndThatAppear(t *testing.T) {
	there := tuntap(t, "vm-there")
	tuntap(t, "other0")
	grouped := config.AutoAttach{Match: config.Match{Group: "77"}, Port: config.Port{Access: 30}}
	alias := config.AutoAttach{Match: config.Match{Name: "vm*", Alias: "tenants/*"}, Port: config.Port{Access: 40}}
	r := newAutoRig(t, alias, named("vm*", 10), named("vm-*", 20), grouped)
	if got := r.names(); got != "vm-there:2:10" {
		t.Errorf("at once: %s", got)
	}
	// Down, so that the kernel does not tell when ip lets go of it.
	tuntap(t, "vm-new")
	r.becomes("vm-new:2:10 vm-there:2:10")
	other := tuntap(t, "any0")
	try(t, netlink.LinkSetGroup(other, 77))
	r.becomes("any0:4:30 vm-new:2:10 vm-there:2:10")
	try(t, netlink.LinkSetAlias(there, "tenants/a/1"))
	r.becomes("any0:4:30 vm-new:2:10 vm-there:1:40")
	if c := r.Running(); len(c.Ports) != 0 || len(c.AutoAttach) != 4 {
		t.Errorf("running: %+v", c)
	}
	if err := r.Set("any0", func(p config.Port) (config.Port, error) { return p, nil }); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "auto_attach[3]") {
		t.Errorf("set: %v", err)
	}
	try(t, r.Close())
	if i, err := net.InterfaceByName("any0"); err != nil || i.Flags&net.FlagUp != 0 {
		t.Errorf("not left as it was found: %+v, %v", i, err)
	}
}

func TestPortOfARuleGoesWithItsLinkAndNotByAMove(t *testing.T) {
	r := newAutoRig(t, named("vm*", 10))
	a, b := tuntap(t, "vm0"), tuntap(t, "vm1")
	r.becomes("vm0:1:10 vm1:1:10")
	try(t, netlink.LinkDel(a))
	r.becomes("vm1:1:10")
	ns := nettest.New(t)
	fd, err := unix.Open(ns.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	try(t, err)
	defer unix.Close(fd)
	try(t, netlink.LinkSetNsFd(b, fd))
	eventually(t, "the move", func() bool { p, _, err := r.Port("vm1"); return err == nil && p.Link.NSID != port.OwnNSID })
	r.stays("vm1:1:10")
	// Its rule is another's neighbour now, and then there is none.
	try(t, r.AutoAttach([]config.AutoAttach{named("x*", 30), named("vm*", 10)}))
	r.stays("vm1:2:10")
	try(t, r.AutoAttach([]config.AutoAttach{named("vm*", 11)}))
	r.stays("")
}

func TestRenamedLinkIsAnotherPort(t *testing.T) {
	r := newAutoRig(t, named("vm*", 10))
	l := tuntap(t, "vm0")
	r.becomes("vm0:1:10")
	try(t, netlink.LinkSetName(l, "vm7"))
	r.becomes("vm7:1:10")
	try(t, netlink.LinkSetName(l, "else0"))
	r.becomes("")
	try(t, netlink.LinkSetName(l, "vm8"))
	r.becomes("vm8:1:10")
}

func TestHeldTAPIsReportedOnceAndTriedWhenItIsFree(t *testing.T) {
	l := tuntap(t, "vm0")
	try(t, netlink.LinkSetUp(l))
	fd := hold(t, "vm0")
	r := newAutoRig(t, named("vm*", 10))
	eventually(t, "the report", func() bool { return len(r.told(LinkNotAttached, "vm0")) > 0 })
	for mtu := 1000; mtu < 1020; mtu++ {
		try(t, netlink.LinkSetMTU(l, mtu))
	}
	r.stays("")
	events := r.told(LinkNotAttached, "vm0")
	if len(events) != 1 || !errors.Is(events[0].Err, port.ErrBusy) || !strings.Contains(events[0].Err.Error(), "in use by") {
		t.Errorf("%+v", events)
	}
	// With nothing to settle and no event, nobody looks.
	if r.auto.mu.Lock(); r.round() != 0 {
		t.Error("another round is wanted")
	}
	r.auto.mu.Unlock()
	try(t, unix.Close(fd))
	r.becomes("vm0:1:10")
}

// The kernel does not tell of what happens to a link that is down.
func TestLinksThatAreDownAreFollowedToo(t *testing.T) {
	alias := config.AutoAttach{Match: config.Match{Alias: "tenants/*"}, Port: config.Port{Access: 20}}
	group := config.AutoAttach{Match: config.Match{Group: "77"}, Port: config.Port{Access: 30, Up: new(false)}}
	tuntap(t, "vm0")
	held := hold(t, "vm0")
	r := newAutoRig(t, named("vm*", 10), alias, group)
	aliased, grouped := tuntap(t, "a0"), tuntap(t, "g0")
	eventually(t, "the report", func() bool { return len(r.told(LinkNotAttached, "vm0")) > 0 })
	r.stays("")
	try(t, netlink.LinkSetAlias(aliased, "tenants/a"))
	try(t, netlink.LinkSetGroup(grouped, 77))
	r.becomes("a0:2:20 g0:3:30")
	try(t, netlink.LinkSetGroup(grouped, 0))
	r.becomes("a0:2:20")
	try(t, unix.Close(held))
	r.becomes("a0:2:20 vm0:1:10")
	if n := len(r.told(LinkNotAttached, "vm0")); n != 1 {
		t.Errorf("reported %d times", n)
	}
	// What was removed by name stays away, so that there is nothing to look for.
	try(t, netlink.LinkDel(grouped))
	try(t, r.Remove("a0"))
	r.auto.mu.Lock()
	defer r.auto.mu.Unlock()
	if r.round() != 0 {
		t.Error("another round is wanted")
	}
}

func TestOwnTAPsAreNoBusinessOfRules(t *testing.T) {
	r := newAutoRig(t, named("*", 10))
	ns := nettest.New(t)
	try(t, r.Add(config.Port{Name: "own0", Access: 20}))
	try(t, r.Add(config.Port{Name: "own1", Access: 20, Netns: ns.Path(), Ifname: "eth0"}))
	tuntap(t, "lent0")
	r.becomes("lent0:1:10 own0:0:20 own1:0:20")
	for _, e := range r.all() {
		if e.Kind == LinkNotAttached {
			t.Errorf("%+v", e)
		}
	}
}

func TestRemovedPortOfARuleStaysAway(t *testing.T) {
	r := newAutoRig(t, named("vm*", 10))
	l := tuntap(t, "vm0")
	r.becomes("vm0:1:10")
	try(t, r.Remove("vm0"))
	try(t, netlink.LinkSetUp(l))
	r.stays("")
	// It can be had by name, and is left alone again afterwards.
	try(t, r.Add(config.Port{Name: "vm0", Access: 20, Adopt: true}))
	r.stays("vm0:0:20")
	try(t, r.Remove("vm0"))
	r.stays("")
	try(t, netlink.LinkDel(l))
	tuntap(t, "vm0")
	r.becomes("vm0:1:10")
	try(t, r.Remove("vm0"))
	try(t, r.AutoAttach([]config.AutoAttach{named("vm*", 11)}))
	r.stays("vm0:1:11")
}

func TestChangedRulesChangeTheDifference(t *testing.T) {
	for _, name := range []string{"a0", "b0", "c0"} {
		tuntap(t, name)
	}
	r := newAutoRig(t, named("a*", 10), named("b*", 10))
	r.stays("a0:1:10 b0:2:10")
	workers := (&rig{TB: t, Switch: r.Switch}).workers()
	next := r.Running()
	next.AutoAttach = []config.AutoAttach{named("c*", 30), named("a*", 10), named("b*", 20)}
	next.AutoAttach[2].Port.MTU = 1400
	try(t, r.Apply(next))
	r.stays("a0:2:10 b0:3:20 c0:1:30")
	now := (&rig{TB: t, Switch: r.Switch}).workers()
	for w := range workers {
		if _, ok := now[w]; !ok {
			t.Error("a port that stays was made anew")
		}
	}
	if p, _, err := r.Port("b0"); err != nil || p.Link.MTU != 1400 {
		t.Errorf("%+v, %v", p, err)
	}
	// A port of the configuration has precedence over one of a rule.
	next = r.Running()
	next.Ports = []config.Port{{Name: "mine", Ifname: "a0", Adopt: true, Access: 50}}
	try(t, r.Apply(next))
	r.stays("b0:3:20 c0:1:30 mine:0:50")
	next.Ports, next.AutoAttach = nil, next.AutoAttach[1:2]
	try(t, r.Apply(next))
	r.stays("a0:1:10")
	next.AutoAttach = nil
	try(t, r.Apply(next))
	r.stays("")
}

func TestRuleThatCannotBeIsRefusedAndChangesNothing(t *testing.T) {
	tuntap(t, "vm0")
	r := newAutoRig(t, named("vm*", 10))
	next := r.Running()
	next.AutoAttach = []config.AutoAttach{{Match: config.Match{Group: "no-such-group"}}}
	if err := r.Apply(next); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "auto_attach[0].match.group") {
		t.Errorf("%v", err)
	}
	r.stays("vm0:1:10")
	// One that the link refuses leaves the port as it is, and is told once.
	next.AutoAttach = []config.AutoAttach{named("vm*", 20)}
	next.AutoAttach[0].Port.MTU = 65_521
	try(t, r.Apply(next))
	r.stays("vm0:1:20")
}
