package vswitch

import (
	"encoding/binary"
	"slices"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// relay takes one frame through the switch and keeps the books.
func (m *model) relay(in string, f porttest.Sent) {
	p := m.ports[in]
	p.stats.Receive.Frames++
	p.stats.Receive.Bytes += uint64(len(f.Bytes))
	why := frame.DropTooShort
	if len(f.Bytes) >= 14 {
		why = m.forward(in, f)
	}
	if why != frame.Keep {
		p.stats.Dropped[why]++
	}
}

func count(t *Traffic, dst frame.MAC) {
	if dst == frame.Broadcast {
		t.Broadcast++
	} else if dst[0]&1 != 0 {
		t.Multicast++
	}
}

// forward returns why the frame goes nowhere. The reasons come in the order in
// which package frame lists them.
func (m *model) forward(in string, f porttest.Sent) frame.DropReason {
	p, dst, src := m.ports[in], frame.MAC(f.Bytes[:6]), frame.MAC(f.Bytes[6:12])
	if f.Offload.GSOType != frame.GSONone && f.Offload.GSOType != frame.GSOTCPv4 {
		return frame.DropOffloadHeader // no other type is generated
	}
	count(&p.stats.Receive, dst)
	if p.state() == config.StateDiscarding {
		return frame.DropIngressState
	}
	if src[0]&1 != 0 {
		return frame.DropSourceGroup
	}
	reserved := [5]byte(dst[:5]) == [5]byte{0x01, 0x80, 0xc2, 0, 0} && dst[5] < 16
	if reserved && (m.reserved|p.config.ForwardReserved)>>dst[5]&1 == 0 {
		return frame.DropReservedAddress
	}
	tag := modelTag{}
	if m.aware {
		var why frame.DropReason
		if tag, why = p.classify(f.Bytes); why != frame.Keep {
			return why
		}
	}
	if why := m.guard(p, in, modelKey{tag.vid, src}); why != frame.Keep {
		return why
	}
	// On a port that learns, a frame to its own sender has reached it, even if
	// the FDB had no room to say so.
	e := m.fdb[modelKey{tag.vid, dst}]
	toItself := dst == src && yes(p.config.Learning) && (e == nil || e.kind == fdb.Dynamic)
	if yes(p.config.Learning) {
		m.learn(tag.vid, src, in)
	}
	e = m.fdb[modelKey{tag.vid, dst}]
	switch {
	case p.state() != config.StateForwarding:
		return frame.DropIngressState
	case toItself:
		return frame.DropSamePort
	case dst[0]&1 != 0 || e == nil || m.expired(e):
		return m.flood(in, f, dst, tag)
	case e.kind == fdb.Blackhole:
		return frame.DropBlackhole
	case e.port == in:
		return frame.DropSamePort
	}
	out := m.ports[e.port]
	switch {
	case out.state() != config.StateForwarding:
		return frame.DropEgressState
	case m.aware && !out.member[tag.vid]:
		return frame.DropEgressFilter
	case p.config.Isolated != 0 && p.config.Isolated == out.config.Isolated:
		return frame.DropIsolated
	case p.uplink() && out.uplink():
		return frame.DropUplink
	}
	p.stats.Relayed++
	m.send(p, out, f, tag)
	return frame.Keep
}

// guard looks at the source of a frame from port in.
func (m *model) guard(p *modelPort, in string, src modelKey) frame.DropReason {
	e := m.fdb[src]
	if p.config.Locked && (e == nil || e.kind != fdb.Static || e.port != in) {
		return frame.DropLocked
	}
	if e == nil || m.expired(e) || e.kind == fdb.Blackhole {
		return frame.Keep
	}
	fresh := e.kind == fdb.Static || m.now-e.heard < 2
	if p.uplink() && fresh && !m.ports[e.port].uplink() {
		return frame.DropLooped
	}
	return frame.Keep
}

func (m *model) flood(in string, f porttest.Sent, dst frame.MAC, tag modelTag) frame.DropReason {
	p, why := m.ports[in], frame.DropNoMember
	var outs []*modelPort
	for name, out := range m.ports {
		if name == in || out.state() != config.StateForwarding || m.aware && !out.member[tag.vid] {
			continue
		}
		on := out.config.Flood
		if dst == frame.Broadcast {
			on = out.config.BcastFlood
		} else if dst[0]&1 != 0 {
			on = out.config.McastFlood
		}
		switch {
		case p.config.Isolated != 0 && p.config.Isolated == out.config.Isolated:
			if why == frame.DropNoMember {
				why = frame.DropIsolated
			}
		case p.uplink() && out.uplink():
			if why != frame.DropFloodOff {
				why = frame.DropUplink
			}
		case !yes(on):
			why = frame.DropFloodOff
		default:
			outs = append(outs, out)
		}
	}
	if len(outs) == 0 {
		return why
	}
	p.stats.Relayed++
	cause := CauseUnknownUnicast
	if dst == frame.Broadcast {
		cause = CauseBroadcast
	} else if dst[0]&1 != 0 {
		cause = CauseMulticast
	}
	p.stats.Flooded[cause]++
	for _, out := range outs {
		m.send(p, out, f, tag)
	}
	return frame.Keep
}

// modelTag is the VLAN of a frame, and the tag that it has there.
type modelTag struct {
	vid    frame.VID
	tci    uint16
	tagged bool // as it was received
}

func (p *modelPort) classify(b []byte) (t modelTag, why frame.DropReason) {
	if t.tagged = binary.BigEndian.Uint16(b[12:]) == 0x8100; t.tagged {
		if len(b) < 18 {
			return t, frame.DropTooShort
		}
		t.tci = binary.BigEndian.Uint16(b[14:])
	}
	t.vid = frame.VID(t.tci % 4096)
	switch {
	case t.vid == 4095:
		return t, frame.DropReservedVID
	case t.vid != 0 && p.types == config.FrameTypesUntagged:
		return t, frame.DropFrameType
	case t.vid == 0 && p.types == config.FrameTypesTagged:
		return t, frame.DropFrameType
	case t.vid == 0 && p.pvid == 0:
		return t, frame.DropNoPVID
	case t.vid == 0:
		t.vid = p.pvid
		t.tci |= uint16(p.pvid)
	}
	if yes(p.config.IngressFiltering) && !p.member[t.vid] {
		return t, frame.DropIngressFilter
	}
	return t, frame.Keep
}

// send renders the copy for one port and says what becomes of it.
func (m *model) send(in, out *modelPort, f porttest.Sent, t modelTag) {
	in.stats.Copies++
	b, innerTag := f.Bytes, false
	if m.aware {
		rest := b[12:]
		if t.tagged {
			rest = b[16:]
		}
		b = slices.Clone(b[:12])
		if out.untagged[t.vid] {
			innerTag = t.tagged && binary.BigEndian.Uint16(rest) == 0x8100
		} else {
			b = binary.BigEndian.AppendUint16(append(b, 0x81, 0x00), t.tci)
		}
		b = append(b, rest...)
	}
	o, longest := f.Offload, len(b)
	if o.GSOType != frame.GSONone {
		grown := uint16(len(b) - len(f.Bytes))
		o.HdrLen += grown
		o.CsumStart += grown
		longest = min(longest, int(o.HdrLen+o.GSOSize))
	}
	if outer := binary.BigEndian.Uint16(b[12:]); outer == 0x8100 || outer == 0x88a8 {
		longest -= 4 // a tag is not charged to the MTU
	}
	switch {
	case innerTag && out.types != config.FrameTypesUntagged:
		out.stats.Dropped[frame.DropInnerTag]++
	case longest-14 > out.link.MTU:
		out.stats.Dropped[frame.DropOversize]++
	case out.refuse != frame.Keep:
		out.stats.Dropped[out.refuse]++
	default:
		out.stats.Transmit.Frames++
		out.stats.Transmit.Bytes += uint64(len(b))
		count(&out.stats.Transmit, frame.MAC(b[:6]))
		out.sent = append(out.sent, porttest.Sent{Bytes: b, Offload: o})
	}
}
