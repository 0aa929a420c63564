package explain

import (
	"encoding/binary"
	"net"

	"github.com/google/gopacket/layers"
)

// etherTypes names protocols between neighbours, which a switch answers for or
// keeps from passing, by EtherType.
var etherTypes = map[layers.EthernetType]string{
	0x8808: " (MAC control)",   // IEEE 802.3 clause 31
	0x8809: " (slow protocol)", // IEEE 802.3 annex 57A, LACP for one
	0x888e: " (EAPOL)",         // IEEE 802.1X
	0x88cc: " (LLDP)",          // IEEE 802.1AB
}

// minEtherType is the least Length/Type field that is an EtherType and not the
// length of an LLC frame (IEEE 802.3, 3.2.6).
const minEtherType = 0x600

func (x *explanation) sayEthernet() {
	x.say("%s > %s", x.eth.SrcMAC, x.eth.DstMAC)
	x.etherType = x.eth.EthernetType
	if x.etherType == layers.EthernetTypeLLC {
		x.etherType = layers.EthernetType(x.eth.Length)
	}
}

func (x *explanation) sayTag() {
	standard, dei := "802.1Q", ""
	if x.etherType == layers.EthernetTypeQinQ {
		standard = "802.1ad"
	}
	if x.tag.DropEligible {
		dei = " DEI"
	}
	x.say("%s VLAN %d PCP %d%s", standard, x.tag.VLANIdentifier, x.tag.Priority, dei)
	x.etherType = x.tag.Type
}

func (x *explanation) sayARP() {
	a := &x.arp
	switch {
	case a.Protocol != layers.EthernetTypeIPv4 || a.ProtAddressSize != 4 || a.HwAddressSize != 6:
		x.say("ARP not for IPv4 on Ethernet")
	case a.Operation == layers.ARPRequest:
		x.say("ARP who-has %s tell %s", net.IP(a.DstProtAddress), net.IP(a.SourceProtAddress))
	case a.Operation == layers.ARPReply:
		x.say("ARP reply %s is-at %s", net.IP(a.SourceProtAddress), net.HardwareAddr(a.SourceHwAddress))
	default:
		x.say("ARP operation %d", a.Operation)
	}
}

func (x *explanation) sayIPv4() {
	x.say("IPv4 %s > %s", x.ip4.SrcIP, x.ip4.DstIP)
	if x.ip4.Version != 4 {
		x.say("wrong version %d", x.ip4.Version)
	}
	if x.ip4.FragOffset != 0 || x.ip4.Flags&layers.IPv4MoreFragments != 0 {
		x.say("fragment at %d", int(x.ip4.FragOffset)*8)
	}
}

func (x *explanation) sayIPv6() {
	x.say("IPv6 %s > %s", x.ip6.SrcIP, x.ip6.DstIP)
	if x.ip6.Version != 6 {
		x.say("wrong version %d", x.ip6.Version)
	}
}

func (x *explanation) sayICMPv4() {
	c := &x.icmp4
	switch c.TypeCode.Type() {
	case layers.ICMPv4TypeEchoRequest:
		x.say("ICMP echo request id %d seq %d", c.Id, c.Seq)
	case layers.ICMPv4TypeEchoReply:
		x.say("ICMP echo reply id %d seq %d", c.Id, c.Seq)
	default:
		x.say("ICMP %s", c.TypeCode)
	}
}

func (x *explanation) sayICMPv6() { x.say("ICMPv6 %s", x.icmp6.TypeCode) }

func (x *explanation) sayTCP() {
	t := &x.tcp
	flags := ""
	for _, f := range []struct {
		set  bool
		name string
	}{{t.SYN, " SYN"}, {t.FIN, " FIN"}, {t.RST, " RST"}, {t.PSH, " PSH"}, {t.ACK, " ACK"}, {t.URG, " URG"}} {
		if f.set {
			flags += f.name
		}
	}
	x.say("TCP %d > %d%s", t.SrcPort, t.DstPort, flags)
}

func (x *explanation) sayUDP() { x.say("UDP %d > %d", x.udp.SrcPort, x.udp.DstPort) }

// sayRest names what lies behind the last header that was decoded.
func (x *explanation) sayRest() {
	rest := x.last.LayerPayload()
	switch x.last {
	case &x.eth, &x.tag:
		x.sayUntold(rest)
	case &x.ip4:
		x.say("protocol %d, %d bytes", x.ip4.Protocol, len(rest))
	case &x.ip6:
		x.say("next header %d, %d bytes", x.ip6.NextHeader, len(rest))
	case &x.arp: // What follows is padding.
	default:
		x.say("%d bytes", len(rest))
	}
}

// sayUntold describes the content of a frame by its Length/Type field alone.
func (x *explanation) sayUntold(rest []byte) {
	if x.etherType >= minEtherType {
		x.say("EtherType 0x%04x%s, %d bytes", uint16(x.etherType), etherTypes[x.etherType], len(rest))
		return
	}
	length := int(x.etherType)
	if len(rest) < 2 || length < 2 {
		x.say("LLC, %d bytes", min(length, len(rest)))
		return
	}
	sap := binary.BigEndian.Uint16(rest)
	name := ""
	if sap == 0x4242 { // The bridge group address's, IEEE 802.1Q 8.13.
		name = " (spanning tree)"
	}
	x.say("LLC DSAP 0x%02x SSAP 0x%02x%s, %d bytes", sap>>8, sap&0xff, name, min(length, len(rest)))
}
