package vswitch

import (
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

// Verdict is what the forwarding process decides about one frame.
type Verdict struct {
	// Reason is Keep for a frame that is relayed.
	Reason frame.DropReason
	// Stage is the last one that the frame reached.
	Stage Stage
	// Learn says that the source is to be learned: the frame passed ingress
	// and its port learns.
	Learn bool
	// Cause says why the frame is flooded; CauseNone for known unicast.
	Cause Cause
	// VID is the VLAN that the frame was classified to; 0 on a switch that is
	// not VLAN aware.
	VID frame.VID
	// TCI is the tag that ports outside the untagged set send.
	TCI frame.TCI
	// Port is the egress port if the destination is known, and Out the egress
	// ports if the frame is flooded.
	Port frame.PortID
	Out  PortSet
}

// Stage is a step of the forwarding process.
type Stage uint8

// The stages in order.
const (
	StageParse Stage = iota
	StageIngress
	StageLookup
	StageEgress
)

// String names the stage.
func (s Stage) String() string { return [...]string{"parse", "ingress", "lookup", "egress"}[s] }

// Cause says why a frame is flooded.
type Cause uint8

// The causes of flooding.
const (
	CauseUnknownUnicast Cause = iota
	CauseMulticast
	CauseBroadcast
	NumCauses
	CauseNone = NumCauses
)

// String returns the metric's label value.
func (c Cause) String() string {
	return [...]string{"unknown_unicast", "multicast", "broadcast", "none"}[c]
}

// decide writes into v what is to become of f, received on port in. It is
// pure: no state changes, so it can be asked at any time. f has been parsed.
// v.Out is valid only if the frame is flooded; it is passed by pointer because
// copying a PortSet would cost more than the rest.
func decide(s *snapshot, t *fdb.Table, in *portConfig, f *frame.Frame, now fdb.Tick, v *Verdict) {
	v.Learn, v.Cause, v.VID = false, CauseNone, 0

	v.Stage = StageIngress
	if v.Reason = ingress(s, t, in, f, now, v); v.Reason != frame.Keep {
		return
	}
	v.Stage = StageLookup
	if v.Reason = lookup(t, in, f, now, v); v.Reason != frame.Keep {
		return
	}
	v.Stage = StageEgress
	if v.Cause == CauseNone {
		v.Reason = egress(s, in, v)
		return
	}
	v.Reason = flood(s, in, v)
}
