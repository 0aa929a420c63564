package vswitch

import (
	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// lookup asks the FDB for the port of the destination (802.1Q 8.6.3, 8.8.9)
// and sets v.Port, or v.Cause if the frame has to be flooded.
func lookup(t *fdb.Table, in *portConfig, f *frame.Frame, now fdb.Tick, v *Verdict) frame.DropReason {
	if f.Dst.IsGroup() {
		v.Cause = CauseMulticast
		if f.Dst == frame.Broadcast {
			v.Cause = CauseBroadcast
		}
		return frame.Keep
	}
	e, known := t.Lookup(fdb.MakeKey(v.VID, f.Dst), now)
	switch {
	case f.Dst == f.Src && v.Learn && !e.Static():
		// Its source, learned from this very frame, is where it came from.
		return frame.DropSamePort
	case !known:
		v.Cause = CauseUnknownUnicast
		return frame.Keep
	case e.Blackhole():
		return frame.DropBlackhole
	case e.Port() == in.id:
		return frame.DropSamePort
	}
	v.Port = e.Port()
	return frame.Keep
}

// egress checks that the port of a known destination may have the frame
// (802.1Q 8.6.4).
func egress(s *snapshot, in *portConfig, v *Verdict) frame.DropReason {
	out := s.ports[v.Port]
	switch {
	case out == nil || out.state != config.StateForwarding:
		return frame.DropEgressState
	case !s.vlans[v.VID].has(v.Port):
		return frame.DropEgressFilter
	case in.feat&featIsolated != 0 && in.group == out.group:
		return frame.DropIsolated
	case in.feat&out.feat&featUplink != 0:
		return frame.DropUplink
	}
	return frame.Keep
}

// flood sets v.Out to the ports that get a copy: the forwarding members of the
// VLAN that have this kind of flooding on, without the ingress port, those
// isolated from it and, if it is an uplink, the others.
func flood(s *snapshot, in *portConfig, v *Verdict) frame.DropReason {
	vl := s.vlans[v.VID]
	if vl == nil {
		return frame.DropNoMember
	}
	var any uint64
	on := &s.flood[v.Cause]
	for i := range v.Out {
		v.Out[i] = vl.member[i] & on[i]
	}
	v.Out.Remove(in.id)
	if in.feat&featApart != 0 {
		keepApart(s, in, &v.Out)
	}
	for _, w := range v.Out {
		any |= w
	}
	if any == 0 {
		return whyNone(s, in, vl)
	}
	return frame.Keep
}

// keepApart takes the ports out of the set that must not have a frame of in.
func keepApart(s *snapshot, in *portConfig, out *PortSet) {
	if in.feat&featIsolated != 0 {
		out.RemoveAll(s.groups[in.group])
	}
	if in.feat&featUplink != 0 {
		out.RemoveAll(&s.uplinks)
	}
}

// whyNone names the reason for which no port was left to flood to.
func whyNone(s *snapshot, in *portConfig, vl *vlan) frame.DropReason {
	left := vl.member
	for i := range left {
		left[i] &= s.forwarding[i]
	}
	left.Remove(in.id)
	if left.Empty() {
		return frame.DropNoMember
	}
	if in.feat&featIsolated != 0 {
		left.RemoveAll(s.groups[in.group])
		if left.Empty() {
			return frame.DropIsolated
		}
	}
	if in.feat&featUplink != 0 {
		left.RemoveAll(&s.uplinks)
		if left.Empty() {
			return frame.DropUplink
		}
	}
	return frame.DropFloodOff
}

// tagAction says how port id sends the frame: a member in the untagged set
// without C-TAG, any other with one (802.1Q 8.6.4, 6.9.2).
func tagAction(s *snapshot, id frame.PortID, f *frame.Frame, v *Verdict) port.TagAction {
	switch {
	case !s.vlanAware:
		return port.TagKeep
	case s.vlans[v.VID].untagged.Has(id):
		if f.Tagged {
			return port.TagPop
		}
		return port.TagKeep
	case !f.Tagged:
		return port.TagPush
	case f.TCI != v.TCI:
		return port.TagReplace // it had VID 0
	}
	return port.TagKeep
}

// refuse says why port p must not send the copy, or Keep. A frame that owed
// its VLAN to a tag that is now popped must not show an inner C-TAG where tags
// count: that would be double-tag hopping.
func refuse(p *portConfig, o *port.Out) frame.DropReason {
	if o.Tag == port.TagPop && o.Frame.EtherType == frame.TypeCTag && p.frameTypes != config.FrameTypesUntagged {
		return frame.DropInnerTag
	}
	if o.MTU() > p.mtu {
		return frame.DropOversize
	}
	return frame.Keep
}
