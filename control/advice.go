package control

import (
	"fmt"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// advice is why a frame is dropped, with the names and numbers of the case at
// hand, and what to do if it should not be.
type advice struct{ because, fix string }

// dropped is about a frame that goes nowhere.
func (j journey) dropped(why frame.DropReason) advice {
	f, in := j.Frame, j.In
	switch why {
	case frame.DropTooShort:
		return advice{fmt.Sprintf("%d bytes are not a whole MAC header", len(f.Bytes)), "send 14 bytes at the least, 18 with a C-TAG"}
	case frame.DropIngressState:
		return stopped(in)
	case frame.DropSourceGroup:
		return advice{fmt.Sprintf("the source %v is a group address, which no station can have", f.Src), "give the sender's interface an individual address"}
	case frame.DropReservedAddress:
		low4, _ := f.Dst.Reserved()
		return advice{
			fmt.Sprintf("%v is reserved for protocols between neighbours, and port %s does not let it through", f.Dst, in.Name),
			fmt.Sprintf("if it is to pass: vswitchctl port set %s --forward-reserved %v", in.Name, in.Config.ForwardReserved|1<<low4),
		}
	case frame.DropFrameType, frame.DropReservedVID, frame.DropNoPVID, frame.DropIngressFilter:
		return j.unclassified(why)
	case frame.DropLocked, frame.DropLooped:
		return j.untrusted(why)
	case frame.DropBlackhole:
		return advice{fmt.Sprintf("%v is %s", f.Dst, j.entry(j.Destination)), fmt.Sprintf("vswitchctl fdb del %v%s", f.Dst, j.vlanFlag())}
	case frame.DropSamePort:
		return j.back()
	case frame.DropEgressState, frame.DropEgressFilter, frame.DropIsolated, frame.DropUplink:
		if j.Verdict.Cause == vswitch.CauseNone {
			return j.refused(&j.Copies[0])
		}
		return j.kept(why)
	case frame.DropFloodOff:
		return j.notFlooded()
	case frame.DropNoMember:
		return j.alone()
	}
	return advice{because: why.Text()}
}

// stopped says why a port does not forward.
func stopped(p *vswitch.ViewedPort) advice {
	set := "vswitchctl port set " + p.Name
	switch link := p.Link; {
	case !*p.Config.Up:
		return advice{fmt.Sprintf("the link of port %s is down, as it is configured", p.Name), set + " --up"}
	case !link.Up && p.Config.Listen+p.Config.Dial != "":
		return advice{fmt.Sprintf("the link of port %s is down: nobody is connected to its socket", p.Name), "start the VMM; its arguments: vswitchctl port show " + p.Name}
	case !link.Up && link.AdminUp:
		return advice{fmt.Sprintf("the link of port %s is down: %s has no carrier", p.Name, link.Ifname), "connect its other end, or see: vswitchctl port show " + p.Name}
	case !link.Up:
		return advice{fmt.Sprintf("the link of port %s is down", p.Name), fmt.Sprintf("where it lives: ip link set %s up", link.Ifname)}
	}
	return advice{fmt.Sprintf("port %s is in state %s", p.Name, p.Config.State), set + " --state forwarding"}
}

// unclassified is about a frame that its port takes into no VLAN.
func (j journey) unclassified(why frame.DropReason) advice {
	in, vid := j.In, j.Frame.TCI.VID()
	set := "vswitchctl port set " + in.Name
	switch {
	case why == frame.DropReservedVID:
		return advice{"the tag has VLAN 4095, which is reserved", "send with a VLAN from 1 to 4094"}
	case why == frame.DropIngressFilter:
		vid = j.Verdict.VID
		return advice{fmt.Sprintf("port %s is no member of VLAN %d, which the frame is in; it is of %s", in.Name, vid, vlansOf(in)), join(in, vid)}
	case why == frame.DropNoPVID:
		return advice{fmt.Sprintf("the frame is untagged, and port %s has no PVID for such frames", in.Name), set + " --access VLAN; of a trunk: --native VLAN"}
	case j.Frame.Tagged && vid != frame.VIDPriority:
		return advice{
			fmt.Sprintf("port %s takes no tagged frames, and this one has a tag of VLAN %d", in.Name, vid),
			fmt.Sprintf("send without tag; or let the port take tags: %s --trunk %d", set, vid),
		}
	}
	return advice{
		fmt.Sprintf("port %s takes tagged frames only, and this one has no VLAN", in.Name),
		fmt.Sprintf("send with a tag; or give what has none a VLAN: %s --native VLAN", set),
	}
}

// vlansOf lists the VLANs that a port is a member of.
func vlansOf(p *vswitch.ViewedPort) string {
	if all := p.Config.VLANs().Member; len(all) > 0 {
		return "VLAN " + all.String()
	}
	return "none"
}

// untrusted is about a source that its port does not believe.
func (j journey) untrusted(why frame.DropReason) advice {
	src := j.Frame.Src
	if why == frame.DropLooped {
		return advice{
			fmt.Sprintf("it came in by uplink %s, but %v is %s", j.In.Name, src, j.entry(j.Source)),
			fmt.Sprintf("the network behind %s sends frames back: look for a second link into it; or the address is forged", j.In.Name),
		}
	}
	because := fmt.Sprintf("port %s is locked, and %v is not a static entry of it", j.In.Name, src)
	if j.Source != nil {
		because += " but " + j.entry(j.Source)
	}
	return advice{because, fmt.Sprintf("the address is forged, or was changed; if it is right: vswitchctl fdb add %v --port %s%s", src, j.In.Name, j.vlanFlag())}
}

// back is about a frame for somebody behind the port that it came from.
func (j journey) back() advice {
	dst := j.Frame.Dst
	switch {
	case j.Destination == nil || j.Destination.Port != j.In.Name:
		return advice{fmt.Sprintf("%v is the sender itself", dst), ""}
	case j.Destination.Kind == fdb.Static:
		return advice{fmt.Sprintf("%v is %s, where the frame came from", dst, j.entry(j.Destination)), fmt.Sprintf("if it is elsewhere: vswitchctl fdb del %v%s", dst, j.vlanFlag())}
	}
	return advice{fmt.Sprintf("%v is %s, where the frame came from", dst, j.entry(j.Destination)), fmt.Sprintf("if it is elsewhere: vswitchctl fdb flush --mac %v", dst)}
}

// refused is about one port that does not get a copy.
func (j journey) refused(c *vswitch.Copy) advice {
	p := c.Port
	if p == nil {
		return advice{"its port has just been removed", ""}
	}
	set := "vswitchctl port set " + p.Name
	switch c.Reason {
	case frame.DropSamePort:
		return advice{"the frame came from there", ""}
	case frame.DropEgressState:
		return stopped(p)
	case frame.DropEgressFilter:
		return advice{fmt.Sprintf("port %s is no member of VLAN %d; it is of %s", p.Name, j.Verdict.VID, vlansOf(p)), join(p, j.Verdict.VID)}
	case frame.DropIsolated:
		return advice{fmt.Sprintf("%s and %s are both in isolation group %d", j.In.Name, p.Name, p.Config.Isolated), set + " --isolated off, or another group"}
	case frame.DropUplink:
		return advice{fmt.Sprintf("%s and %s are both uplinks", j.In.Name, p.Name), set + " --role host, if its network has no other way to that of " + j.In.Name}
	case frame.DropFloodOff:
		return advice{fmt.Sprintf("port %s takes no floods of %v", p.Name, j.kind()), fmt.Sprintf("%s --%s on", set, j.floodFlag())}
	case frame.DropOversize:
		return advice{
			fmt.Sprintf("the frame needs an MTU of %d, and the link of port %s has %d", c.MTU, p.Name, p.Link.MTU),
			fmt.Sprintf("%s --mtu %d; or lower the sender's to %d (port %s has %d)", set, c.MTU, p.Link.MTU, j.In.Name, j.In.Link.MTU),
		}
	case frame.DropInnerTag:
		return advice{
			fmt.Sprintf("the frame has a second C-TAG, which port %s, that sends VLAN %d untagged, would show for the first", p.Name, j.Verdict.VID),
			fmt.Sprintf("send with one tag; or have VLAN %d leave tagged: vswitchctl port set %s --native none", j.Verdict.VID, p.Name),
		}
	}
	return advice{because: c.Reason.Text()}
}

func (j journey) kind() string {
	return [...]string{"unknown unicast", "multicast", "broadcast", "any kind"}[j.Verdict.Cause]
}

func (j journey) floodFlag() string {
	return [...]string{"flood", "mcast-flood", "bcast-flood", "flood"}[j.Verdict.Cause]
}

// kept is about a flood that a group of ports keeps from every other member.
func (j journey) kept(why frame.DropReason) advice {
	if why == frame.DropUplink {
		return advice{fmt.Sprintf("%s is an uplink, and so is every other forwarding member%s", j.In.Name, j.ofVLAN()), fmt.Sprintf("vswitchctl port set %s --role host, if stations of this switch are behind it", j.In.Name)}
	}
	return advice{
		fmt.Sprintf("%s is in isolation group %d, and so is every other forwarding member%s", j.In.Name, j.In.Config.Isolated, j.ofVLAN()),
		fmt.Sprintf("vswitchctl port set %s --isolated off, or another group", j.In.Name),
	}
}

func (j journey) ofVLAN() string {
	if !j.VLANAware {
		return ""
	}
	return fmt.Sprintf(" of VLAN %d", j.Verdict.VID)
}

// notFlooded is about a flood that no port wants.
func (j journey) notFlooded() advice {
	dst := j.Frame.Dst
	because := fmt.Sprintf("%v is not known%s, and flooding of %s is off on every other port there%s", dst, j.inVLAN(j.Verdict.VID), j.kind(), j.elsewhere())
	on := fmt.Sprintf("vswitchctl port set PORT --%s on", j.floodFlag())
	if dst.IsGroup() {
		return advice{fmt.Sprintf("flooding of %s is off on every other member%s", j.kind(), j.ofVLAN()), on}
	}
	if len(j.Elsewhere) > 0 {
		return advice{because, j.oneVLAN(&j.Elsewhere[0])}
	}
	return advice{because, fmt.Sprintf("let that station send first, or enter it: vswitchctl fdb add %v --port PORT%s; or %s", dst, j.vlanFlag(), on)}
}

// alone is about a flood in a VLAN that has nobody else, or nobody who forwards.
func (j journey) alone() advice {
	because := fmt.Sprintf("no other forwarding port is a member of VLAN %d", j.Verdict.VID)
	if !j.VLANAware {
		because = "no other port forwards"
	}
	if len(j.Elsewhere) > 0 {
		e := &j.Elsewhere[0]
		return advice{fmt.Sprintf("%s; %v is %s", because, e.MAC, j.entry(e)), j.oneVLAN(e)}
	}
	for i := range j.Copies {
		if c := &j.Copies[i]; c.Reason == frame.DropEgressState && j.member(c.Port) {
			down := stopped(c.Port)
			return advice{because + "; " + down.because, down.fix}
		}
	}
	if !j.VLANAware {
		return advice{because, "see: vswitchctl port list"}
	}
	return advice{because, fmt.Sprintf("see: vswitchctl port list; or, if VLAN %d is wrong: %s", j.Verdict.VID, rejoin(j.In))}
}

// rejoin says how to give untagged frames of a port another VLAN.
func rejoin(p *vswitch.ViewedPort) string {
	if p.Config.VLANs().FrameTypes == config.FrameTypesTagged {
		return "send with another"
	}
	return "vswitchctl port set " + p.Name + " --access VLAN"
}
