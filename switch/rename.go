package vswitch

import (
	"cmp"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
)

// followNames makes the present names of links that outlive the daemon the
// configured ones: under another, the next daemon would not find them. A name
// that is another port's in the configuration has to wait until it is not. The
// caller holds mu.
func (s *Switch) followNames() {
	renamed := false
	for _, a := range s.ports {
		renamed = renamed || a.renamed()
	}
	if !renamed {
		return
	}
	stuck := map[*attached]bool{}
	for again := true; again; {
		again = false
		taken := map[string]bool{}
		for _, a := range s.ports {
			if name := a.linkName(); name != "" && a.cfg.Netns == "" && (stuck[a] || !a.renamed()) {
				taken[name] = true
			}
		}
		for _, a := range s.ports {
			if stuck[a] || !a.renamed() {
				continue
			}
			stuck[a] = taken[a.link.Ifname] || a.underPresentName().Validate(s.vlanAware) != nil
			again = again || stuck[a]
			taken[a.link.Ifname] = true
		}
	}
	for _, a := range s.ports {
		if a.renamed() && !stuck[a] {
			a.given = a.underPresentName()
			a.cfg = a.given.Resolved()
		}
	}
}

// renamed tells whether a's link is to be found under another name than the
// configured one after a restart. In another network namespace it is not found
// at all, and what a rule makes is called as its link.
func (a *attached) renamed() bool {
	return !a.leaving && a.rule == 0 && (a.cfg.Adopt || a.cfg.Persistent || a.cfg.Kind == config.KindNetdev) &&
		a.link.NSID == port.OwnNSID && a.link.Ifname != a.linkName()
}

// linkName is the configured name of the link; empty if the port has none.
func (a *attached) linkName() string { return cmp.Or(a.cfg.Link, a.cfg.Ifname) }

func (a *attached) underPresentName() config.Port {
	given := a.given
	name := &given.Ifname
	if a.cfg.Kind == config.KindNetdev {
		name = &given.Link
	}
	if *name = a.link.Ifname; *name == a.name {
		*name = ""
	}
	return given
}
