package port

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// station is who a Responder answers as.
type station struct {
	mac atomic.Uint64 // as of frame.MAC.Uint64
	ips []netip.Prefix
}

func (s *station) address() frame.MAC { return frame.MACFromUint64(s.mac.Load()) }

// has reports whether ip is one of the station's addresses.
func (s *station) has(ip netip.Addr) bool {
	for _, own := range s.ips {
		if own.Addr() == ip {
			return true
		}
	}
	return false
}

// Fields of ARP over Ethernet (RFC 826), ICMP (RFC 792, 4443) and neighbour
// discovery (RFC 4861 4.3, 4.4), which have no more than they need here.
const (
	arpLen     = 28
	arpOp      = 6
	arpRequest = 1
	arpReply   = 2
	arpSHA     = 8
	arpSPA     = 14
	arpTHA     = 18
	arpTPA     = 24

	ipv4Src = 12
	ipv4Dst = 16
	ipv4TTL = 8
	ipv6Hop = 7
	ipv6Src = 8
	ipv6Dst = 24

	hopLimit   = 64  // of what may be routed (RFC 1700)
	onLinkOnly = 255 // of neighbour discovery: no router was passed (RFC 4861 7.1)

	icmpLen       = 8
	icmpSum       = 2
	echoRequest   = 8
	echoReply     = 0
	echo6Request  = 128
	echo6Reply    = 129
	solicitation  = 135
	advertisement = 136
	ndLen         = 24
	ndTarget      = 8

	ndSolicited     = 0x40
	ndOverride      = 0x20
	optionSourceMAC = 1
	optionTargetMAC = 2
	optionMACLen    = 8
)

var (
	// arpIPv4 is how ARP for IPv4 on Ethernet begins.
	arpIPv4 = []byte{0, 1, 0x08, 0, 6, 4}

	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = frame.MAC{0x33, 0x33, 0, 0, 0, 1} // RFC 2464 7
)

// answer renders the answer to a frame into to, which has room for a frame of any
// length, and returns its length. It is 0 for all that is not a question to this
// station, well-formed and from a single other one: what a group, a broadcast or
// itself asks, and fragments, get no answer.
func (s *station) answer(to, asked []byte) int {
	f := frame.Frame{Bytes: asked}
	own := s.address()
	if f.Parse() != frame.Keep || f.Src.IsGroup() || f.Src.IsZero() || f.Src == own {
		return 0
	}
	head := frame.HeaderLen
	if f.Tagged {
		head = frame.TaggedLen
	}
	n, dst := 0, f.Src
	switch body := asked[head:]; f.EtherType {
	case unix.ETH_P_ARP:
		n = s.answerARP(to[head:], body, &f)
	case unix.ETH_P_IP:
		if f.Dst == own {
			n = s.answerEcho4(to[head:], body)
		}
	case unix.ETH_P_IPV6:
		n, dst = s.answerIPv6(to[head:], body, &f)
	}
	if n == 0 {
		return 0
	}
	copy(to, dst[:])
	copy(to[6:], own[:])
	copy(to[frame.AddressesLen:], asked[frame.AddressesLen:head])
	return head + n
}

// answerARP answers a request for an address of the station, also that of one who
// is yet to have an address (RFC 5227).
func (s *station) answerARP(to, b []byte, f *frame.Frame) int {
	own := s.address()
	if f.Dst != own && f.Dst != frame.Broadcast || len(b) < arpLen ||
		!bytes.HasPrefix(b, arpIPv4) || binary.BigEndian.Uint16(b[arpOp:]) != arpRequest ||
		frame.MAC(b[arpSHA:arpSPA]) != f.Src || !s.has(netip.AddrFrom4([4]byte(b[arpTPA:arpLen]))) {
		return 0
	}
	copy(to, arpIPv4)
	binary.BigEndian.PutUint16(to[arpOp:], arpReply)
	copy(to[arpSHA:], own[:])
	copy(to[arpSPA:], b[arpTPA:arpLen])
	copy(to[arpTHA:], b[arpSHA:arpTHA]) // with the sender's IP address behind it
	return arpLen
}

// answerEcho4 answers an echo request without IP options.
func (s *station) answerEcho4(to, b []byte) int {
	if len(b) < ipv4Len+icmpLen || b[0] != 4<<4|ipv4Len/4 || b[ipv4Proto] != unix.IPPROTO_ICMP {
		return 0
	}
	total := int(binary.BigEndian.Uint16(b[ipv4Total:]))
	if total < ipv4Len+icmpLen || total > len(b) || binary.BigEndian.Uint16(b[ipv4Frag:])&^dontFragment != 0 {
		return 0
	}
	icmp := b[ipv4Len:total]
	if icmp[0] != echoRequest || icmp[1] != 0 || frame.Sum(b[:ipv4Len]) != 0xffff || frame.Sum(icmp) != 0xffff {
		return 0
	}
	if !s.has(netip.AddrFrom4([4]byte(b[ipv4Dst:]))) || !s.answers(netip.AddrFrom4([4]byte(b[ipv4Src:]))) {
		return 0
	}
	copy(to, b[:total])
	copy(to[ipv4Src:], b[ipv4Dst:ipv4Len])
	copy(to[ipv4Dst:], b[ipv4Src:ipv4Dst])
	to[ipv4TTL] = hopLimit
	putSum(to[ipv4Sum:], to[:ipv4Len])
	to[ipv4Len] = echoReply
	putSum(to[ipv4Len+icmpSum:], to[ipv4Len:total])
	return total
}

// putSum makes b right with the checksum that is to stand in field, a part of b.
func putSum(field, b []byte) {
	binary.BigEndian.PutUint16(field, 0)
	binary.BigEndian.PutUint16(field, ^frame.Sum(b))
}

// answers reports whether src can be the address of one other station.
func (s *station) answers(src netip.Addr) bool {
	if src.IsUnspecified() || src.IsMulticast() || src.IsLoopback() || s.has(src) ||
		src == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	for _, own := range s.ips {
		if own.Addr().Is4() && own.Bits() < 31 && src == lastOf(own) {
			return false
		}
	}
	return true
}

// lastOf returns the broadcast address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	ip := p.Addr().As4()
	v := binary.BigEndian.Uint32(ip[:]) | (1<<(32-p.Bits()) - 1)
	binary.BigEndian.PutUint32(ip[:], v)
	return netip.AddrFrom4(ip)
}

// answerIPv6 answers ICMPv6 without extension headers, and says to whom.
func (s *station) answerIPv6(to, b []byte, f *frame.Frame) (n int, dst frame.MAC) {
	if len(b) < ipv6Len+icmpLen || b[0]>>4 != 6 || b[ipv6Next] != unix.IPPROTO_ICMPV6 {
		return 0, dst
	}
	end := ipv6Len + int(binary.BigEndian.Uint16(b[ipv6Total:]))
	if end < ipv6Len+icmpLen || end > len(b) || sum6(b[:end]) != 0xffff || b[ipv6Len+1] != 0 {
		return 0, dst
	}
	switch b[ipv6Len] {
	case echo6Request:
		if f.Dst == s.address() {
			return s.answerEcho6(to, b[:end]), f.Src
		}
	case solicitation:
		return s.advertise(to, b[:end], f)
	}
	return 0, dst
}

// sum6 returns the sum of an ICMPv6 message with its pseudo-header (RFC 8200
// 8.1), which is 0xffff if its checksum is right. b is a whole IPv6 datagram
// without extension headers.
func sum6(b []byte) uint16 {
	sum := uint32(frame.Sum(b[ipv6Src:])) + uint32(len(b)-ipv6Len) + unix.IPPROTO_ICMPV6
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum)
}

// putSum6 writes the checksum of an ICMPv6 message.
func putSum6(b []byte) {
	field := b[ipv6Len+icmpSum:]
	binary.BigEndian.PutUint16(field, 0)
	binary.BigEndian.PutUint16(field, ^sum6(b))
}

func (s *station) answerEcho6(to, b []byte) int {
	src, dst := netip.AddrFrom16([16]byte(b[ipv6Src:])), netip.AddrFrom16([16]byte(b[ipv6Dst:]))
	if !s.has(dst) || !s.answers(src) {
		return 0
	}
	n := copy(to, b)
	copy(to[ipv6Src:], b[ipv6Dst:ipv6Len])
	copy(to[ipv6Dst:], b[ipv6Src:ipv6Dst])
	to[ipv6Hop] = hopLimit
	to[ipv6Len] = echo6Reply
	putSum6(to[:n])
	return n
}

// advertise answers a neighbour solicitation that is valid (RFC 4861 7.1.1). One
// who only wants to know whether his address is free is told so at the address of
// all nodes, as he has none yet (7.2.4).
func (s *station) advertise(to, b []byte, f *frame.Frame) (n int, dst frame.MAC) {
	if b[ipv6Hop] != onLinkOnly || len(b) < ipv6Len+ndLen || f.Dst != s.address() && (f.Dst[0] != 0x33 || f.Dst[1] != 0x33) {
		return 0, dst
	}
	target := netip.AddrFrom16([16]byte(b[ipv6Len+ndTarget:]))
	from, at := netip.AddrFrom16([16]byte(b[ipv6Src:])), netip.AddrFrom16([16]byte(b[ipv6Dst:]))
	toGroup := at == solicitedNode(target)
	sourceMAC, valid := ndOptions(b[ipv6Len+ndLen:])
	if !valid || !s.has(target) || at != target && !toGroup {
		return 0, dst
	}
	flags, answered, dst := byte(ndSolicited|ndOverride), from, f.Src
	switch {
	case from.IsUnspecified():
		if !toGroup || sourceMAC {
			return 0, dst
		}
		flags, answered, dst = ndOverride, allNodes, allNodesMAC
	case !s.answers(from):
		return 0, dst
	}
	return s.advertisement(to, target, answered, flags), dst
}

// advertisement renders a neighbour advertisement and returns its length.
func (s *station) advertisement(to []byte, target, dst netip.Addr, flags byte) int {
	const n = ipv6Len + ndLen + optionMACLen
	clear(to[:n])
	to[0] = 6 << 4
	binary.BigEndian.PutUint16(to[ipv6Total:], n-ipv6Len)
	to[ipv6Next], to[ipv6Hop] = unix.IPPROTO_ICMPV6, onLinkOnly
	copy(to[ipv6Src:], target.AsSlice())
	copy(to[ipv6Dst:], dst.AsSlice())
	nd := to[ipv6Len:]
	nd[0], nd[4] = advertisement, flags
	copy(nd[ndTarget:], target.AsSlice())
	nd[ndLen], nd[ndLen+1] = optionTargetMAC, optionMACLen/8
	own := s.address()
	copy(nd[ndLen+2:], own[:])
	putSum6(to[:n])
	return n
}

// solicitedNode returns the group of those whose address ends as ip does (RFC
// 4291 2.7.1).
func solicitedNode(ip netip.Addr) netip.Addr {
	a, group := ip.As16(), [16]byte{0: 0xff, 1: 0x02, 11: 1, 12: 0xff}
	copy(group[13:], a[13:])
	return netip.AddrFrom16(group)
}

// ndOptions reports whether one of the options is the sender's MAC address, and
// whether none is malformed.
func ndOptions(b []byte) (sourceMAC, valid bool) {
	for len(b) > 0 {
		if len(b) < optionMACLen || b[1] == 0 || int(b[1])*8 > len(b) {
			return false, false
		}
		sourceMAC = sourceMAC || b[0] == optionSourceMAC
		b = b[int(b[1])*8:]
	}
	return sourceMAC, true
}
