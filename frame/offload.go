package frame

import (
	"encoding/binary"
	"math"
	"strings"
)

// Offload is the work that a frame still owes, as linux/virtio_net.h describes
// it: a checksum to complete, or a super-frame to cut into segments. It
// travels with the frame to the port that can settle it. The zero value owes
// nothing.
type Offload struct {
	Flags, GSOType                         uint8
	HdrLen, GSOSize, CsumStart, CsumOffset uint16
}

// Values of Offload.Flags and Offload.GSOType (linux/virtio_net.h).
const (
	FlagNeedsCsum uint8 = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM

	GSONone  uint8 = 0    // VIRTIO_NET_HDR_GSO_NONE
	GSOTCPv4 uint8 = 1    // VIRTIO_NET_HDR_GSO_TCPV4
	GSOTCPv6 uint8 = 4    // VIRTIO_NET_HDR_GSO_TCPV6
	GSOUDPL4 uint8 = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	GSOECN   uint8 = 0x80 // VIRTIO_NET_HDR_GSO_ECN, a bit beside a TCP type
)

// Offloads is a set of work that a port takes over from the frames it is given:
// what its station, or the kernel before it, can settle.
type Offloads uint8

// The kinds of work, by the names of linux/if_tun.h (TUN_F_*).
const (
	OffloadCsum Offloads = 1 << iota // complete a checksum
	OffloadTSO4                      // divide TCP over IPv4
	OffloadTSO6                      // divide TCP over IPv6
	OffloadECN                       // either of them with CWR set (RFC 3168)
	OffloadUSO                       // divide UDP
)

// String lists the kinds in the words of `vswitchctl port show`.
func (o Offloads) String() string {
	var words []string
	for i, word := range [...]string{"csum", "tso4", "tso6", "ecn", "uso"} {
		if o&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// Needs returns the work that a valid o stands for.
func (o Offload) Needs() Offloads {
	if o.Flags == 0 {
		return 0 // A super-frame owes a checksum too.
	}
	need := OffloadCsum
	switch o.GSOType &^ GSOECN {
	case GSOTCPv4:
		need |= OffloadTSO4
	case GSOTCPv6:
		need |= OffloadTSO6
	case GSOUDPL4:
		need |= OffloadUSO
	}
	if o.GSOType&GSOECN != 0 {
		need |= OffloadECN
	}
	return need
}

// VnetHdrLen is the size of the header that TAPs put before each frame.
// The longer forms (12 bytes with num_buffers, 24 with a hash) carry nothing
// that a switch uses.
const VnetHdrLen = 10

// DecodeOffload reads a virtio_net_hdr in native byte order. b holds at least
// VnetHdrLen bytes. Flags that this switch gives no meaning to are cleared, as
// the specification asks of a receiver; DATA_VALID is one of them, for a
// sender's word that a checksum is right proves nothing to the next receiver.
func DecodeOffload(b []byte) Offload {
	_ = b[VnetHdrLen-1]
	return Offload{
		Flags:      b[0] & FlagNeedsCsum,
		GSOType:    b[1],
		HdrLen:     binary.NativeEndian.Uint16(b[2:]),
		GSOSize:    binary.NativeEndian.Uint16(b[4:]),
		CsumStart:  binary.NativeEndian.Uint16(b[6:]),
		CsumOffset: binary.NativeEndian.Uint16(b[8:]),
	}.normal()
}

// normal clears the fields that mean nothing without their flag, so that a
// frame that owes nothing has the zero Offload.
func (o Offload) normal() Offload {
	if o.GSOType == GSONone {
		o.HdrLen, o.GSOSize = 0, 0
	}
	if o.Flags&FlagNeedsCsum == 0 {
		o.CsumStart, o.CsumOffset = 0, 0
	}
	return o
}

// Encode writes o as a virtio_net_hdr in native byte order into b, which holds
// at least VnetHdrLen bytes.
func (o Offload) Encode(b []byte) {
	_ = b[VnetHdrLen-1]
	b[0], b[1] = o.Flags, o.GSOType
	binary.NativeEndian.PutUint16(b[2:], o.HdrLen)
	binary.NativeEndian.PutUint16(b[4:], o.GSOSize)
	binary.NativeEndian.PutUint16(b[6:], o.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], o.CsumOffset)
}

// Shifted returns o for a frame whose header has grown by n bytes, or shrunk
// if n is negative: a C-TAG pushed or popped moves everything behind it.
func (o Offload) Shifted(n int) Offload {
	if o.Flags&FlagNeedsCsum != 0 {
		o.CsumStart = uint16(int(o.CsumStart) + n)
	}
	if o.GSOType != GSONone {
		o.HdrLen = uint16(int(o.HdrLen) + n)
	}
	return o
}

// checkOffload checks every field of a header that owes something against the
// frame it came with, so that nobody downstream has to: the checksum lies
// behind the MAC header and inside the frame, also after a tag has been pushed
// or popped; the type is known; in a super-frame there is room for an IP header,
// and the whole of TCP's or UDP's, and it stands for no more than MaxSegments.
// HdrLen becomes what the headers say.
func (f *Frame) checkOffload() bool {
	o, b := &f.Offload, f.Bytes
	if len(b) > MaxTaggedLen {
		return false
	}
	if o.Flags&FlagNeedsCsum != 0 {
		start, end := int(o.CsumStart), int(o.CsumStart)+int(o.CsumOffset)+2
		if start < f.headerLen() || start > math.MaxUint16-TagLen || end > len(b) {
			return false
		}
	}
	sum := uint16(16) // of TCP's checksum field, RFC 9293 3.1
	ip := 20          // bytes at the least, RFC 791
	switch o.GSOType {
	case GSONone:
		return true
	case GSOTCPv4, GSOTCPv4 | GSOECN:
	case GSOTCPv6, GSOTCPv6 | GSOECN:
		ip = 40 // RFC 8200
	case GSOUDPL4:
		sum = 6 // RFC 768
	default:
		return false
	}
	if o.GSOSize == 0 || o.Flags&FlagNeedsCsum == 0 || o.CsumOffset != sum || int(o.HdrLen) > len(b) ||
		int(o.CsumStart) < f.headerLen()+ip {
		return false
	}
	n := o.headerLen(b)
	if n == 0 || n > len(b) || n > math.MaxUint16-TagLen {
		return false
	}
	o.HdrLen = uint16(n)
	return len(b)-n <= MaxSegments*int(o.GSOSize)
}

// headerLen returns the length of all headers of a super-frame, up to and
// with TCP's or UDP's, or 0 if they are cut short. HdrLen is the sender's
// guess at the same figure and is not trusted.
func (o Offload) headerLen(b []byte) int {
	l4 := int(o.CsumStart)
	if o.GSOType == GSOUDPL4 {
		return l4 + 8 // RFC 768
	}
	if l4+20 > len(b) {
		return 0
	}
	doff := int(b[l4+12]>>4) * 4 // RFC 9293 3.1, data offset
	if doff < 20 {
		return 0
	}
	return l4 + doff
}

// segmentLen returns the length of the largest frame that a valid super-frame
// is cut into.
func (o Offload) segmentLen(b []byte) int {
	return min(o.headerLen(b)+int(o.GSOSize), len(b))
}
