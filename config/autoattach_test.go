package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestRulesMatchByGlob(t *testing.T) {
	for _, c := range []struct {
		match       Match
		name, alias string
		want        bool
	}{
		{Match{Name: "vnet*"}, "vnet0", "", true},
		{Match{Name: "vnet*"}, "tap0", "", false},
		{Match{Name: "vnet[0-4]"}, "vnet5", "", false},
		{Match{Name: "vnet?"}, "vnet10", "", false},
		{Match{Alias: "tenants/*"}, "tap0", "tenants/a/vm1", true},
		{Match{Alias: "tenants/*"}, "tap0", "", false},
		{Match{Name: "tap*", Alias: "a"}, "tap0", "b", false},
		{Match{Group: "5"}, "tap0", "b", true}, // as far as these go
		{Match{Name: "["}, "[", "", false},
		{Match{Kind: "ve??"}, "any0", "", true},
		{Match{Kind: "vx*", Name: "any*"}, "any0", "", false},
	} {
		if got := c.match.MatchesName(c.name, c.alias, "veth"); got != c.want {
			t.Errorf("%+v, %q, %q: %v", c.match, c.name, c.alias, got)
		}
	}
}

func TestRulesAreReadWrittenAndCompared(t *testing.T) {
	c := parse(t, string(read(t, "testdata/good/auto_attach.yaml")))
	want := []AutoAttach{
		{Match{Name: "vnet*", Group: "5"}, Port{Access: 10, Flood: new(false), Limit: new(100)}},
		{Match{Alias: "tenants/*"}, Port{Trunk: VIDs{{10, 10}, {20, 29}}, Native: 1, MTU: 9000, Up: new(false)}},
		{Match{Group: "vms"}, Port{}},
	}
	if !reflect.DeepEqual(c.AutoAttach, want) {
		t.Errorf("got %+v", c.AutoAttach)
	}
	checkRoundTrip(t, c)
	if p := want[0].For("vnet7"); p.Name != "vnet7" || !p.Adopt || p.Access != 10 {
		t.Errorf("%+v", p)
	}
	other := *c
	other.AutoAttach = c.AutoAttach[1:]
	got := strings.Join(Diff(c, &other), "\n")
	for _, line := range []string{`- auto_attach[0].match.name: "vnet*"`, "- auto_attach[2].match.group: vms", "+ auto_attach[0].match.alias: \"tenants/*\"", "- auto_attach[0].port.access: 10"} {
		if !strings.Contains(got, line) {
			t.Errorf("%s\nlacks %s", got, line)
		}
	}
}
