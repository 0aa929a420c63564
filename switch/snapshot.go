package vswitch

import (
	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// snapshot is one published configuration. It is immutable: workers read it
// without locks, and a batch sees one snapshot from its first frame to its
// last. Successive snapshots share the VLANs and ports that did not change.
type snapshot struct {
	vlanAware bool
	ports     [frame.MaxPorts]*portConfig
	// vlans by VID; nil where no port is a member. A switch that is not VLAN
	// aware has one VLAN, at VID 0, of which every port is a member.
	vlans [4096]*vlan
	// forwarding holds the ports in forwarding state, and flood those of them
	// that frames of a cause are flooded to.
	forwarding PortSet
	flood      [NumCauses]PortSet
	// groups holds the ports of each isolation group; nil for group 0 and
	// groups without ports.
	groups [256]*PortSet
	// uplinks holds the ports with that role.
	uplinks PortSet
}

// vlan is what 802.1Q 8.8 calls a static VLAN registration entry.
type vlan struct{ member, untagged PortSet }

// portConfig is one port as the data plane sees it. Immutable but for the
// counters behind the pointer.
type portConfig struct {
	id         frame.PortID
	state      config.State // never empty
	frameTypes config.FrameTypes
	pvid       frame.VID
	mtu        int
	reserved   config.Reserved // reserved addresses that are relayed
	feat       feature
	group      config.Group
	flags      [NumCauses]bool // flooding by cause
	vlans      config.Membership
	counters   *counters
	tx         port.Transmitter
	offloads   frame.Offloads // that tx takes over
	measure    containable    // nil unless transmitting is to be measured
}

// feature is a bit for each thing a port does beyond plain forwarding, tested
// once so that it costs nothing where it is off. Features apply in the order
// of their bits.
type feature uint8

const (
	featIngressFiltering feature = 1 << iota
	featLocked
	featLearning
	featIsolated
	featUplink

	// featSource are the features for which the source is looked up.
	featSource = featLocked | featUplink
	// featApart are the features of a port that must not send to some others.
	featApart = featIsolated | featUplink
)

// with returns a copy of s in which port id is p, or absent if p is nil.
func (s *snapshot) with(id frame.PortID, p *portConfig) *snapshot {
	next := *s
	old := s.ports[id]
	next.ports[id] = p
	if old != nil {
		for v := range next.memberOf(old) {
			if p == nil || !next.isMember(p, v) {
				next.own(s, v).leave(id)
			}
		}
	}
	if p != nil {
		for v := range next.memberOf(p) {
			untagged := p.vlans.Untagged.Contains(v)
			if has := s.vlans[v]; has == nil || !has.member.Has(id) || has.untagged.Has(id) != untagged {
				next.own(s, v).join(id, untagged)
			}
		}
	}
	if old != nil {
		for v := range next.memberOf(old) {
			if next.vlans[v] != nil && next.vlans[v].member.Empty() {
				next.vlans[v] = nil
			}
		}
	}
	next.index()
	return &next
}

// enter adds a port to a snapshot that nobody reads yet. The caller calls index
// once all are in.
func (s *snapshot) enter(p *portConfig) {
	s.ports[p.id] = p
	for v := range s.memberOf(p) {
		if s.vlans[v] == nil {
			s.vlans[v] = &vlan{}
		}
		s.vlans[v].join(p.id, p.vlans.Untagged.Contains(v))
	}
}

// memberOf yields the VIDs of which p is a member.
func (s *snapshot) memberOf(p *portConfig) func(yield func(frame.VID) bool) {
	if !s.vlanAware {
		return func(yield func(frame.VID) bool) { yield(0) }
	}
	return p.vlans.Member.All()
}

func (s *snapshot) isMember(p *portConfig, v frame.VID) bool {
	return !s.vlanAware || p.vlans.Member.Contains(v)
}

// own makes VLAN v of s its own, if it is still shared with prev or absent.
func (s *snapshot) own(prev *snapshot, v frame.VID) *vlan {
	switch s.vlans[v] {
	case nil:
		s.vlans[v] = &vlan{}
	case prev.vlans[v]:
		c := *prev.vlans[v]
		s.vlans[v] = &c
	}
	return s.vlans[v]
}

func (v *vlan) join(id frame.PortID, untagged bool) {
	v.member.Add(id)
	v.untagged.Remove(id)
	if untagged {
		v.untagged.Add(id)
	}
}

func (v *vlan) leave(id frame.PortID) {
	v.member.Remove(id)
	v.untagged.Remove(id)
}

// index derives the sets over all ports.
func (s *snapshot) index() {
	s.forwarding, s.flood, s.groups, s.uplinks = PortSet{}, [NumCauses]PortSet{}, [256]*PortSet{}, PortSet{}
	for _, p := range s.ports {
		if p == nil {
			continue
		}
		if p.group != 0 {
			if s.groups[p.group] == nil {
				s.groups[p.group] = &PortSet{}
			}
			s.groups[p.group].Add(p.id)
		}
		if p.feat&featUplink != 0 {
			s.uplinks.Add(p.id)
		}
		if p.state != config.StateForwarding {
			continue
		}
		s.forwarding.Add(p.id)
		for c, on := range p.flags {
			if on {
				s.flood[c].Add(p.id)
			}
		}
	}
}
