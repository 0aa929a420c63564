package config

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

func TestVLANsOfEachForm(t *testing.T) {
	ten, twenties := VIDsOf(10), VIDs{{20, 29}}
	cases := []struct {
		name string
		port Port
		want Membership
	}{
		{"none", Port{}, Membership{FrameTypes: FrameTypesAll}},
		{"access", Port{Access: 10}, Membership{PVID: 10, Member: ten, Untagged: ten, FrameTypes: FrameTypesUntagged}},
		{"trunk", Port{Trunk: twenties}, Membership{Member: twenties, FrameTypes: FrameTypesTagged}},
		{"trunk and native", Port{Trunk: twenties, Native: 10}, Membership{PVID: 10, Member: VIDs{{10, 10}, {20, 29}}, Untagged: ten, FrameTypes: FrameTypesAll}},
		{"native in trunk", Port{Trunk: twenties, Native: 20}, Membership{PVID: 20, Member: twenties, Untagged: VIDsOf(20), FrameTypes: FrameTypesAll}},
		{"long", Port{PVID: 7, Tagged: twenties, Untagged: ten}, Membership{PVID: 7, Member: VIDs{{10, 10}, {20, 29}}, Untagged: ten, FrameTypes: FrameTypesAll}},
		{"pvid only", Port{PVID: 7}, Membership{PVID: 7, FrameTypes: FrameTypesAll}},
		{"frame types win", Port{Access: 10, FrameTypes: FrameTypesAll}, Membership{PVID: 10, Member: ten, Untagged: ten, FrameTypes: FrameTypesAll}},
	}
	for _, c := range cases {
		c.want.IngressFiltering = true
		if got := c.port.VLANs(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
	if (Port{IngressFiltering: new(false)}).VLANs().IngressFiltering {
		t.Error("ingress filtering is on though it was turned off")
	}
}

func TestResolvedFillsWhatIsNotSet(t *testing.T) {
	got := Port{Name: "a", Access: 10}.Resolved()
	want := Port{
		Name: "a", Kind: KindTAP, Ifname: "a", MTU: 1500, TxQLen: 1000, Up: new(true), Access: 10,
		Offload: new(true), Coalesce: new(true),
		FrameTypes: FrameTypesUntagged, IngressFiltering: new(true), Learning: new(true),
		Flood: new(true), McastFlood: new(true), BcastFlood: new(true), Role: RoleHost, State: StateForwarding,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	set := Port{
		Name: "a", Kind: KindTAP, Ifname: "b", MTU: 9000, TxQLen: 1, Up: new(false), Limit: new(0),
		Offload: new(false), Coalesce: new(false),
		FrameTypes: FrameTypesTagged, IngressFiltering: new(false), Learning: new(false),
		Flood: new(false), McastFlood: new(false), BcastFlood: new(false), Role: RoleUplink, State: StateDiscarding,
	}
	if got := set.Resolved(); !reflect.DeepEqual(got, set) {
		t.Errorf("got %+v, want %+v", got, set)
	}
	stream := Port{Name: "a", Kind: KindStream}.Resolved()
	if stream.Ifname != "" || stream.TxQLen != 0 || stream.MTU != 1500 {
		t.Errorf("stream: got %+v", stream)
	}
	if got := (FDB{}).Resolved(); *got.Ageing != 300 || got.Capacity != 16384 || *got.Limit != 16384 {
		t.Errorf("FDB: got %+v", got)
	}
	if got := (FDB{Ageing: new(0), Capacity: 2048, Limit: new(0)}).Resolved(); *got.Ageing != 0 || got.Capacity != 2048 || *got.Limit != 0 {
		t.Errorf("FDB: got %+v", got)
	}
}

func TestValidateBounds(t *testing.T) {
	good := []Port{
		{Name: "a", MTU: 68, TxQLen: 1, Limit: new(0)},
		{Name: "A", MTU: 65521, TxQLen: 100_000},
		{Name: "abcdefghijklmnopqrstuvwxyz012345", Ifname: "ABCDEFGHIJKLMNO"},
		{Name: "abcdefghijklmno"},
		{Name: "0._-"},
		{Name: "e1", Ifname: "eth0", Netns: "x"},
		{Name: "e2", Ifname: "eth0", Netns: "y"},
		{Name: "e3", Ifname: "eth0"},
		{Name: "p", Persistent: true, Owner: "root"},
		{Name: "l", PVID: 1, Tagged: VIDs{{2, 4094}}, Untagged: VIDsOf(1)},
	}
	for _, fdb := range []FDB{{Ageing: new(10), Capacity: 1024, Limit: new(1024)}, {Ageing: new(1_000_000), Capacity: 1_048_576}, {Limit: new(16_384)}} {
		c := Config{VLANAware: new(true), FDB: fdb, Ports: good, Metrics: Metrics{Listen: ListenNone}}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestValidateAllowsAsManyPortsAsASwitchHas(t *testing.T) {
	c := Config{VLANAware: new(true)}
	for i := range frame.MaxPorts {
		c.Ports = append(c.Ports, Port{Name: fmt.Sprintf("p%d", i)})
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Ports = append(c.Ports, Port{Name: "more"}, Port{})
	var ps Problems
	if err := c.Validate(); !errors.As(err, &ps) || len(ps) != 1 || ps[0].Path != "ports[1024]" {
		t.Errorf("got %v", err)
	}
}

func TestValidatePortGivesPathsWithinThePort(t *testing.T) {
	err := Port{Name: "a", Access: 4095, State: "up"}.Validate(true)
	want := Problems{
		{"access", "is 4095", "write a VLAN from 1 to 4094"},
		{"state", `is "up"`, "write forwarding, learning or discarding"},
	}
	var ps Problems
	if !errors.As(err, &ps) || !reflect.DeepEqual(ps, want) {
		t.Errorf("got %v", err)
	}
	if err := (Port{Name: "a", Access: 10}).Validate(false); err == nil {
		t.Error("a switch that is not VLAN aware accepted an access port")
	}
	if err := (Port{Name: "a"}).Validate(false); err != nil {
		t.Errorf("a valid port gave %#v", err)
	}
}
