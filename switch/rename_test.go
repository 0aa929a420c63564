package vswitch

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/config"
)

func TestRunningHasTheNamesUnderWhichLinksAreFoundAgain(t *testing.T) {
	r := newAutoRig(t)
	own := config.Port{Name: "own0", Access: 10}
	try(t, r.Add(own))
	links := map[string]netlink.Link{}
	for _, name := range []string{"a0", "b0"} {
		links[name] = tuntap(t, name)
		try(t, r.Add(config.Port{Name: name, Access: 10, Adopt: true}))
	}
	var err error
	links["own0"], err = netlink.LinkByName("own0")
	try(t, err)
	are := func(what, a0, b0 string) {
		t.Helper()
		eventually(t, what, func() bool {
			c := r.Running()
			return len(c.Ports) == 3 && c.Ports[0].Ifname == a0 && c.Ports[1].Ifname == b0 && c.Ports[2].Ifname == "" && c.Validate() == nil
		})
	}
	rename := func(name, to string) { t.Helper(); try(t, netlink.LinkSetName(links[name], to)) }

	rename("own0", "x0")
	rename("a0", "swap0")
	are("a new name, but not of a link that goes with the daemon", "swap0", "")
	rename("b0", "a0")
	rename("a0", "b0")
	are("swapped names", "b0", "a0")
	p, _, err := r.Port("a0")
	if err != nil || p.Config.Ifname != "b0" {
		t.Errorf("%+v, %v", p, err)
	}
	try(t, r.Set("a0", func(p config.Port) (config.Port, error) { p.Limit = new(7); return p, nil }))
	are("names after another change", "b0", "a0")
	// There can be but one link of that name after a restart.
	rename("a0", "own0")
	rename("b0", "b0")
	are("names but that of another port, and what that one leaves is taken", "b0", "a0")
	try(t, r.Remove("own0"))
	eventually(t, "a name that is free", func() bool {
		c := r.Running()
		return len(c.Ports) == 2 && c.Ports[0].Ifname == "own0" && c.Ports[1].Ifname == ""
	})
}
