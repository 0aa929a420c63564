package config

import (
	"cmp"

	"github.com/vswitchd/vswitchd/frame"
)

// Membership is what a port's VLAN keys come to in the terms of 802.1Q.
type Membership struct {
	// PVID classifies untagged and priority-tagged frames; 0: none are taken.
	PVID frame.VID
	// Member are the VLANs whose member set holds the port; Untagged are those
	// of them whose frames leave without tag.
	Member, Untagged VIDs
	// FrameTypes is never empty.
	FrameTypes       FrameTypes
	IngressFiltering bool
}

// VLANs returns the membership of a port that is valid on a VLAN-aware switch.
// Without VLAN keys it is a member of no VLAN. A PVID given in the long form
// does not make the port a member.
func (p Port) VLANs() Membership {
	m := Membership{FrameTypes: FrameTypesAll, IngressFiltering: *orTrue(p.IngressFiltering)}
	switch {
	case p.Access != 0:
		m.PVID, m.FrameTypes = p.Access, FrameTypesUntagged
		m.Member = VIDsOf(p.Access)
		m.Untagged = m.Member
	case p.Native != 0:
		m.PVID, m.Untagged = p.Native, VIDsOf(p.Native)
		m.Member = p.Trunk.Union(m.Untagged)
	case len(p.Trunk) > 0:
		m.Member, m.FrameTypes = p.Trunk, FrameTypesTagged
	default:
		m.PVID, m.Untagged = p.PVID, p.Untagged
		m.Member = p.Tagged.Union(p.Untagged)
	}
	if p.FrameTypes != "" {
		m.FrameTypes = p.FrameTypes
	}
	return m
}

// Resolved returns the port with its default in each field that has one and
// is not set. MAC and Limit may stay nil, and MTU and TxQLen of a link that was
// there 0; the VLANs stay in their form.
func (p Port) Resolved() Port {
	p.Kind = p.kind()
	switch p.Kind {
	case KindTAP:
		p.Ifname = cmp.Or(p.Ifname, p.Name)
	case KindNetdev:
		p.Link = cmp.Or(p.Link, p.Name)
	}
	if p.Kind == KindTAP || p.Kind == KindNetdev {
		p.Offload, p.Coalesce = orTrue(p.Offload), orTrue(p.Coalesce)
	}
	if !p.Adopt && p.Kind != KindNetdev {
		p.MTU = cmp.Or(p.MTU, DefaultMTU)
	}
	if p.Kind == KindTAP && !p.Adopt {
		p.TxQLen = cmp.Or(p.TxQLen, DefaultTxQLen)
	}
	p.Up = orTrue(p.Up)
	p.FrameTypes = p.VLANs().FrameTypes
	p.IngressFiltering = orTrue(p.IngressFiltering)
	p.Learning = orTrue(p.Learning)
	p.Flood, p.McastFlood, p.BcastFlood = orTrue(p.Flood), orTrue(p.McastFlood), orTrue(p.BcastFlood)
	p.Role = cmp.Or(p.Role, RoleHost)
	p.State = cmp.Or(p.State, StateForwarding)
	return p
}

func (p *Port) kind() string { return cmp.Or(p.Kind, KindTAP) }

// Resolved returns the same with its default in each field that is not set.
func (f FDB) Resolved() FDB {
	f.Capacity = cmp.Or(f.Capacity, DefaultCapacity)
	if f.Ageing == nil {
		f.Ageing = new(DefaultAgeing)
	}
	if f.Limit == nil {
		f.Limit = new(f.Capacity)
	}
	return f
}

// orTrue makes a new value, so that no two ports share one.
func orTrue(b *bool) *bool { return new(b == nil || *b) }
