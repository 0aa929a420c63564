package vswitch

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// wantRunning fails unless the running configuration is c.
func (r *rig) wantRunning(c *config.Config) {
	r.Helper()
	if d := config.Diff(c, r.Running()); len(d) > 0 {
		r.Errorf("the running configuration differs:\n%s", strings.Join(d, "\n"))
	}
	if err := r.Running().Validate(); err != nil {
		r.Errorf("the running configuration is not valid: %v", err)
	}
}

// workers returns the worker and the PortID of each port.
func (r *rig) workers() map[*worker]frame.PortID {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[*worker]frame.PortID{}
	for _, a := range r.ports {
		all[a.worker] = a.id
	}
	return all
}

func TestRunningIsWhatWasAskedFor(t *testing.T) {
	r := newRig(t, true, trunk("c", 10, 20), access("b", 10), config.Port{Name: "a", Access: 20, MTU: 1400, Flood: new(false)})
	for _, e := range []config.StaticEntry{{MAC: sta(2), VLAN: 20, Port: "c"}, {MAC: sta(1), VLAN: 20}, {MAC: sta(3), VLAN: 10, Port: "b"}} {
		if err := r.AddFDB(e.MAC, e.VLAN, e.Port); err != nil {
			t.Fatal(err)
		}
	}
	r.send("b", eth(frame.Broadcast, sta(9))) // Learned, so not configuration.
	if err := r.SetFDB(FDBSettings{Ageing: new(60), Limit: new(7)}); err != nil {
		t.Fatal(err)
	}
	want := &config.Config{
		VLANAware: new(true),
		FDB: config.FDB{Ageing: new(60), Limit: new(7), Static: []config.StaticEntry{
			{MAC: sta(3), VLAN: 10, Port: "b"}, {MAC: sta(1), VLAN: 20, Blackhole: true}, {MAC: sta(2), VLAN: 20, Port: "c"},
		}},
		Ports: []config.Port{{Name: "a", Access: 20, MTU: 1400, Flood: new(false)}, access("b", 10), trunk("c", 10, 20)},
	}
	if got := r.Running(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.wantRunning(want)

	// Entries go with their port; one in a VLAN that its port has left is in nobody's way.
	r.set("c", func(p *config.Port) { p.Trunk = config.VIDsOf(10) })
	if err := r.Remove("b"); err != nil {
		t.Fatal(err)
	}
	want.FDB.Static, want.Ports = want.FDB.Static[1:2], []config.Port{want.Ports[0], trunk("c", 10)}
	r.wantRunning(want)
}

func TestApplyingWhatIsInForceTouchesNothing(t *testing.T) {
	r := newRig(t, true, access("a", 10), trunk("b", 10, 20))
	workers, live := r.workers(), r.live.Load()
	if err := r.Apply(r.Running()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.workers(), workers) || r.live.Load() != live {
		t.Error("ports were touched")
	}
}

func TestApplyChangesTheDifference(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), access("gone", 10))
	workers := r.workers()
	r.flooded("a", eth(frame.Broadcast, sta(1)), "b", "gone")
	next := r.Running()
	next.ForwardReserved = 1 << 0x0e
	next.FDB.Ageing = new(0)
	next.FDB.Static = []config.StaticEntry{{MAC: sta(5), VLAN: 10, Port: "b"}, {MAC: sta(6), VLAN: 10, Blackhole: true}}
	next.Ports = []config.Port{access("a", 10), {Name: "b", Access: 10, BcastFlood: new(false)}}
	if err := r.Apply(next); err != nil {
		t.Fatal(err)
	}
	r.wantRunning(next)
	delete(r.cables, "gone")
	for w, id := range r.workers() {
		if old, ok := workers[w]; !ok || old != id {
			t.Error("a port that only changed was made anew")
		}
	}
	r.send("a", eth(frame.Broadcast, sta(1)))
	r.expect(nil)
	r.flooded("a", eth(sta(5), sta(1)), "b")
	r.flooded("a", eth(frame.MAC{1, 0x80, 0xc2, 0, 0, 0x0e}, sta(1)), "b") // LLDP
	r.dropped("a", eth(sta(6), sta(1)), frame.DropBlackhole)

	// What is left out has its default again.
	next = &config.Config{VLANAware: new(true), Ports: []config.Port{access("a", 10), access("b", 10)}}
	if err := r.Apply(next); err != nil {
		t.Fatal(err)
	}
	r.wantRunning(next)
	if _, ageing := r.FDBStats(); ageing != config.DefaultAgeing {
		t.Errorf("ageing %d", ageing)
	}
	r.flooded("a", eth(frame.Broadcast, sta(1)), "b")
}

func TestApplyThatFailsPutsAllBack(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	if err := r.AddFDB(sta(7), 10, "a"); err != nil {
		t.Fatal(err)
	}
	before, workers := r.Running(), r.workers()
	next := &config.Config{VLANAware: new(true), FDB: config.FDB{Ageing: new(10)}, Ports: []config.Port{
		access("a", 20), access("b", 10), {Name: "bad", Access: 10, Netns: "/nowhere/at/all"},
	}}
	err := r.Apply(next)
	if err == nil || !strings.Contains(err.Error(), `port "bad"`) {
		t.Errorf("error %v, want one about port bad", err)
	}
	r.wantRunning(before)
	if !reflect.DeepEqual(r.workers(), workers) {
		t.Error("ports were made anew")
	}
	r.flooded("a", eth(frame.Broadcast, sta(1)), "b")
}

func TestApplyRefusesWhatNeedsARestart(t *testing.T) {
	r := newRig(t, true, access("a", 10))
	before := r.Running()
	for key, next := range map[string]*config.Config{
		"vlan_aware":   {VLANAware: new(false)},
		"fdb.capacity": {VLANAware: new(true), FDB: config.FDB{Capacity: config.MinCapacity}},
		"mtu":          {VLANAware: new(true), Ports: []config.Port{{Name: "x", MTU: 1}}},
	} {
		err := r.Apply(next)
		if err == nil || !strings.Contains(err.Error(), key) || key != "mtu" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "restart the daemon")) {
			t.Errorf("%s: %v", key, err)
		}
	}
	r.wantRunning(before)
}

func TestEphemeralPortsStayWhenAConfigurationIsApplied(t *testing.T) {
	r := newAutoRig(t)
	ns, other := nettest.New(t), nettest.New(t)
	web := config.Port{Name: "web", Access: 10, Netns: ns.Path(), Ifname: "eth0", Ephemeral: true}
	try(t, r.Add(web))
	try(t, r.AddFDB(sta(1), 10, "web"))
	id := r.believedID("web")
	next := &config.Config{VLANAware: new(true), FDB: config.FDB{Static: []config.StaticEntry{{MAC: sta(2), VLAN: 10, Blackhole: true}}}}
	try(t, r.Apply(next))
	c := r.Running()
	if r.believedID("web") != id || len(c.Ports) != 1 || len(c.FDB.Static) != 2 {
		t.Errorf("%+v", c)
	}

	// One that is named may be changed, and gone, but none may be in its place.
	web.Access = 0
	web.Trunk = config.VIDsOf(10)
	gone := config.Port{Name: "gone", Access: 10, Netns: "/run/netns/no-such", Ifname: "eth0", Ephemeral: true}
	next.Ports = []config.Port{web, gone}
	next.FDB.Static = []config.StaticEntry{{MAC: sta(3), VLAN: 10, Port: "gone"}}
	try(t, r.Apply(next))
	if c = r.Running(); len(c.Ports) != 1 || c.Ports[0].Access != 0 || len(c.FDB.Static) != 0 || r.believedID("web") != id {
		t.Errorf("%+v", c)
	}
	if len(r.told(PortGone, "gone")) != 1 {
		t.Error("that the port is gone was not told")
	}
	next.Ports = []config.Port{{Name: "x", Access: 10, Netns: ns.Path(), Ifname: "eth0"}}
	next.FDB.Static = nil
	if err := r.Apply(next); err == nil || !strings.Contains(err.Error(), `called "eth0"`) {
		t.Errorf("%v", err)
	}
	gone.Ephemeral = false
	next.Ports = []config.Port{{Name: "web", Access: 10, Netns: other.Path(), Ifname: "eth0"}, gone}
	if err := r.Apply(next); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if c = r.Running(); len(c.Ports) != 1 || !c.Ports[0].Ephemeral {
		t.Errorf("not put back: %+v", c)
	}
}
