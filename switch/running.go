package vswitch

import (
	"cmp"
	"slices"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

// Running returns the configuration in force, valid and without what the switch
// knows nothing of: Control, Metrics and Nice are empty. Ports are as they were given,
// but that of a persistent link the ifname is the present one, sorted by name; one
// that is being added or removed, or was made by a rule, is not among them. The
// caller must not change what it refers to.
func (s *Switch) Running() *config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followNames()
	c := &config.Config{VLANAware: new(s.vlanAware), ForwardReserved: s.reserved, FDB: s.settings, AutoAttach: s.autoRules}
	ports := make([]*attached, 0, len(s.ports))
	for _, a := range s.ports {
		if !a.leaving && a.rule == 0 {
			ports = append(ports, a)
		}
	}
	slices.SortFunc(ports, func(a, b *attached) int { return cmp.Compare(a.name, b.name) })
	c.Ports = slices.Grow(c.Ports, len(ports))
	for _, a := range ports {
		c.Ports = append(c.Ports, a.given)
	}
	c.FDB.Static = s.static(ports)
	return c
}

// static lists the static entries by VLAN and address. Those of other ports than
// these, and those in a VLAN that
// their port has left are of no use until it comes back, and left out. The
// caller holds mu.
func (s *Switch) static(ports []*attached) []config.StaticEntry {
	if st := s.table.Stats(); st.Static+st.Blackhole == 0 {
		return nil
	}
	byID := make(map[frame.PortID]*attached, len(ports))
	for _, a := range ports {
		byID[a.id] = a
	}
	var entries []config.StaticEntry
	for r := range s.table.All(fdb.Tick(s.tick.Load())) {
		e := config.StaticEntry{MAC: r.Key.MAC(), VLAN: r.Key.VID()}
		a := byID[r.Port]
		switch {
		case r.Kind == fdb.Blackhole:
			e.Blackhole = true
		case r.Kind == fdb.Dynamic, a == nil, s.vlanAware && !a.cfg.VLANs().Member.Contains(e.VLAN):
			continue
		default:
			e.Port = a.name
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b config.StaticEntry) int {
		return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.MAC.Uint64(), b.MAC.Uint64()))
	})
	return entries
}
