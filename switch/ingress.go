package vswitch

import (
	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

// ingress admits the frame, or says why not, and classifies it to a VLAN
// (802.1Q 6.9, 8.6.1 to 8.6.3). It also settles whether the source may be
// learned: only that of a frame that all of this let in.
func ingress(s *snapshot, t *fdb.Table, in *portConfig, f *frame.Frame, now fdb.Tick, v *Verdict) frame.DropReason {
	if in.state == config.StateDiscarding {
		return frame.DropIngressState
	}
	if f.Src.IsGroup() {
		return frame.DropSourceGroup
	}
	if low4, reserved := f.Dst.Reserved(); reserved && !in.reserved.Has(low4) {
		return frame.DropReservedAddress
	}
	if s.vlanAware {
		if why := classify(s, in, f, v); why != frame.Keep {
			return why
		}
	}
	if in.feat&featSource != 0 {
		if why := checkSource(s, t, in, f, now, v); why != frame.Keep {
			return why
		}
	}
	v.Learn = in.feat&featLearning != 0
	if in.state != config.StateForwarding {
		return frame.DropIngressState
	}
	return frame.Keep
}

// classify finds the frame's VID: the tag's, or the PVID for a frame without
// tag or with VID 0 (802.1Q 6.9.1). PCP and DEI of a tag are kept. Only the
// outer C-TAG counts: an inner tag or an S-TAG is payload.
func classify(s *snapshot, in *portConfig, f *frame.Frame, v *Verdict) frame.DropReason {
	vid := f.TCI.VID()
	switch {
	case f.EtherType == frame.TypeCTag && !f.Tagged:
		return frame.DropTooShort // the tag is cut short
	case vid == frame.VIDReserved:
		return frame.DropReservedVID
	case f.Tagged && vid != frame.VIDPriority:
		if in.frameTypes == config.FrameTypesUntagged {
			return frame.DropFrameType
		}
	default:
		if in.frameTypes == config.FrameTypesTagged {
			return frame.DropFrameType
		}
		if vid = in.pvid; vid == 0 {
			return frame.DropNoPVID
		}
	}
	v.VID, v.TCI = vid, f.TCI.WithVID(vid)
	if in.feat&featIngressFiltering != 0 && !s.vlans[vid].has(in.id) {
		return frame.DropIngressFilter
	}
	return frame.Keep
}

// loopTicks is for how long after a station was heard a frame of it from an
// uplink is taken for a copy of its own: one to two seconds, far more than a
// frame is under way and less than a station needs to move.
const loopTicks = 1

// checkSource refuses, before it can teach the FDB anything, a frame from a locked
// port whose source is not a static entry of it, and one from an uplink whose
// source is a station on this side.
func checkSource(s *snapshot, t *fdb.Table, in *portConfig, f *frame.Frame, now fdb.Tick, v *Verdict) frame.DropReason {
	e, known := t.Lookup(fdb.MakeKey(v.VID, f.Src), now)
	station := known && !e.Blackhole()
	own := station && e.Static() && e.Port() == in.id
	switch {
	case in.feat&featLocked != 0 && !own:
		return frame.DropLocked
	case in.feat&featUplink == 0 || !station || s.uplinks.Has(e.Port()):
		return frame.Keep
	case e.Static() || e.Age(now) <= loopTicks:
		return frame.DropLooped
	}
	return frame.Keep
}

// has reports whether p is in the member set; a VLAN without members is nil.
func (v *vlan) has(p frame.PortID) bool { return v != nil && v.member.Has(p) }
