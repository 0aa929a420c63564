package frame

// DropReason says why a frame, or one copy of it, was not delivered. Its name
// is the metric's label value, the word that the CLI prints and the heading in
// the documentation: all three come from the table below.
type DropReason uint8

// Keep is the zero DropReason: the frame goes on. The reasons stand in the
// order in which the forwarding process can give them.
const (
	Keep DropReason = iota

	// Counted at the ingress port: the frame as a whole goes nowhere.
	DropKernelQueue
	DropTooShort
	DropOffloadHeader
	DropIngressState
	DropSourceGroup
	DropReservedAddress
	DropFrameType
	DropReservedVID
	DropNoPVID
	DropIngressFilter
	DropLocked
	DropLooped
	DropBlackhole
	DropSamePort
	DropEgressState
	DropEgressFilter
	DropIsolated
	DropUplink
	DropFloodOff
	DropNoMember

	// Counted at the egress port: one copy is lost.
	DropInnerTag
	DropOversize
	DropLinkDown
	DropQueueFull
	DropTransmitError
	DropPortGone

	NumDropReasons
)

// Direction says at which port a drop is counted.
type Direction uint8

// The two directions, as seen from the switch.
const (
	Ingress Direction = iota
	Egress
)

// String returns the metric's label value.
func (d Direction) String() string { return [...]string{"ingress", "egress"}[d] }

var dropTable = [NumDropReasons]struct{ name, text string }{
	Keep:                {"keep", "The frame was delivered."},
	DropKernelQueue:     {"kernel_queue", "The kernel's queue in front of the switch was full: the station sent faster than the switch could read. Not part of the received frames."},
	DropTooShort:        {"too_short", "The frame is shorter than a MAC header (14 bytes, 18 with a C-TAG)."},
	DropOffloadHeader:   {"offload_header", "The offload header in front of the frame contradicts the frame or names an unknown kind."},
	DropIngressState:    {"ingress_state", "The ingress port does not forward: its link is down or its state is discarding or learning."},
	DropSourceGroup:     {"source_group", "The source is a group address, which no station can have."},
	DropReservedAddress: {"reserved_address", "The destination is one of 01-80-C2-00-00-00 to -0F, which a bridge keeps to itself unless forward_reserved lets it through."},
	DropFrameType:       {"frame_type", "The port does not admit this kind of frame: tagged on an access port, or untagged where only tagged frames are acceptable."},
	DropReservedVID:     {"reserved_vid", "The tag carries VID 4095, which is reserved."},
	DropNoPVID:          {"no_pvid", "The frame is untagged or priority-tagged and the port has no PVID to classify it to."},
	DropIngressFilter:   {"ingress_filter", "The ingress port is not a member of the frame's VLAN."},
	DropLocked:          {"locked", "The ingress port is locked, and the source is not one of its static FDB entries: a forged or changed address."},
	DropLooped:          {"looped", "The frame came in by an uplink, but its source is a static entry of a port that is none, or was heard there a moment ago: the network has sent a copy back."},
	DropBlackhole:       {"blackhole", "A blackhole entry in the FDB matches the destination."},
	DropSamePort:        {"same_port", "The destination is behind the port that the frame came from."},
	DropEgressState:     {"egress_state", "The destination is behind a port that does not forward: its link is down or its state is not forwarding."},
	DropEgressFilter:    {"egress_filter", "The destination is behind a port that is not a member of the frame's VLAN."},
	DropIsolated:        {"isolated", "Ingress and egress port are in the same isolation group."},
	DropUplink:          {"uplink", "Ingress and egress port are uplinks, between which nothing passes."},
	DropFloodOff:        {"flood_off", "The frame would have to be flooded and every other member port has that kind of flooding off."},
	DropNoMember:        {"no_member", "No other forwarding port is a member of the frame's VLAN."},
	DropInnerTag:        {"inner_tag", "Sent untagged, the frame would show an inner C-TAG to a port that carries tagged frames, and so change into that tag's VLAN."},
	DropOversize:        {"oversize", "The frame is longer than the egress port's MTU allows."},
	DropLinkDown:        {"link_down", "The egress link is down: the kernel says so (EIO), or nobody is connected to the socket."},
	DropQueueFull:       {"queue_full", "The kernel or the egress port's queue had no room for the copy (EAGAIN, ENOBUFS, ENOMEM)."},
	DropTransmitError:   {"transmit_error", "The kernel refused the copy (EINVAL or another error), or it is a super-frame whose headers cannot be divided into segments."},
	DropPortGone:        {"port_gone", "The device behind the egress port is gone (EBADFD)."},
}

// String returns the reason's name, such as "ingress_filter".
func (r DropReason) String() string {
	if r >= NumDropReasons {
		return "unknown"
	}
	return dropTable[r].name
}

// Text explains the reason in a sentence.
func (r DropReason) Text() string {
	if r >= NumDropReasons {
		return "Unknown reason."
	}
	return dropTable[r].text
}

// Direction says whether the reason is counted at the ingress or the egress
// port.
func (r DropReason) Direction() Direction {
	if r >= DropInnerTag {
		return Egress
	}
	return Ingress
}
