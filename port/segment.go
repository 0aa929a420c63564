package port

import (
	"encoding/binary"

	"github.com/vswitchd/vswitchd/frame"
)

// Header fields that segmentation touches: offsets of RFC 791, 8200, 9293, 768.
const (
	ipv4Len      = 20
	ipv4TotalLen = 2
	ipv4ID       = 4
	ipv4Sum      = 10
	ipv6Len      = 40
	ipv6Payload  = 4
	tcpSeq       = 4
	tcpFlags     = 13
	tcpFIN       = 0x01
	tcpPSH       = 0x08
	tcpCWR       = 0x80
	udpLen       = 4

	typeIPv4 = 0x0800 // ETH_P_IP
	typeIPv6 = 0x86dd // ETH_P_IPV6
)

// pieces are the frames that an Out becomes on a medium that takes over no
// offload work: one whose checksum is complete, or the segments of a
// super-frame. Rendering copies; the borrowed bytes are never changed.
type pieces struct {
	out *Out
	// Of the borrowed bytes: where the network header is in a super-frame, where
	// the checksum begins, and where the payload does that is divided.
	l3, l4, payload int
	n, size         int // how many pieces, and the payload of each but the last
}

// piecesOf looks at what o's frame owes. It reports DropTransmitError for a
// super-frame whose headers are not those of its type, as the kernel reports
// EINVAL for one.
func piecesOf(o *Out) (pieces, frame.DropReason) {
	f := o.Frame
	p := pieces{out: o, l4: int(f.Offload.CsumStart), payload: len(f.Bytes), n: 1}
	if f.Offload.GSOType == frame.GSONone {
		return p, frame.Keep
	}
	if !p.findNetworkHeader() {
		return p, frame.DropTransmitError
	}
	p.payload, p.size = int(f.Offload.HdrLen), int(f.Offload.GSOSize)
	p.n = max(1, (len(f.Bytes)-p.payload+p.size-1)/p.size)
	return p, frame.Keep
}

// findNetworkHeader looks for it behind all tags, inner ones too.
func (p *pieces) findNetworkHeader() bool {
	b, o := p.out.Frame.Bytes, &p.out.Frame.Offload
	at := frame.AddressesLen
	typ := binary.BigEndian.Uint16(b[at:])
	for ; typ == frame.TypeCTag || typ == frame.TypeSTag; typ = binary.BigEndian.Uint16(b[at:]) {
		if at += frame.TagLen; at+2 > p.l4 {
			return false
		}
	}
	p.l3 = at + 2
	switch {
	case typ == typeIPv4 && o.GSOType&^frame.GSOECN != frame.GSOTCPv6:
		return p.l3+ipv4Len <= p.l4 && p.l3+int(b[p.l3]&0xf)*4 == p.l4
	case typ == typeIPv6 && o.GSOType&^frame.GSOECN != frame.GSOTCPv4:
		return p.l3+ipv6Len <= p.l4
	}
	return false
}

// bytes returns the length of all pieces together.
func (p *pieces) bytes() int {
	return p.out.Len() + (p.n-1)*(p.payload+p.out.Tag.Growth())
}

// len returns the length of piece i.
func (p *pieces) len(i int) int {
	from, to := p.share(i)
	return p.payload + p.out.Tag.Growth() + to - from
}

// share returns the part of the borrowed bytes that follows the headers of
// piece i.
func (p *pieces) share(i int) (from, to int) {
	from = p.payload + i*p.size
	if i == p.n-1 {
		return from, len(p.out.Frame.Bytes)
	}
	return from, from + p.size
}

// append renders piece i behind dst.
func (p *pieces) append(dst []byte, i int) []byte {
	var front [frame.AddressesLen + frame.TagLen]byte
	o, start := p.out, len(dst)
	n, skip := o.front(front[:])
	from, to := p.share(i)
	dst = append(dst, front[:n]...)
	dst = append(dst, o.Frame.Bytes[skip:p.payload]...)
	dst = append(dst, o.Frame.Bytes[from:to]...)
	b, grown := dst[start:], o.Tag.Growth()
	if o.Frame.Offload.GSOType != frame.GSONone {
		p.adjust(b, i, p.l3+grown, p.l4+grown)
	}
	if o.Frame.Offload.Flags&frame.FlagNeedsCsum != 0 {
		complete(b[p.l4+grown:], int(o.Frame.Offload.CsumOffset))
	}
	return dst
}

// adjust turns the copied headers of the super-frame into those of its segment
// i, but for the transport checksum, of which it corrects the seed.
func (p *pieces) adjust(b []byte, i, l3, l4 int) {
	o := &p.out.Frame.Offload
	if binary.BigEndian.Uint16(b[l3-2:]) == typeIPv4 {
		p.adjustIPv4(b[l3:l4], i, len(b)-l3)
	} else {
		put16(b[l3+ipv6Payload:], len(b)-l3-ipv6Len)
	}
	// The sender seeded the field with the sum of a pseudo-header, in which the
	// length is the super-frame's.
	field := b[l4+int(o.CsumOffset):]
	whole := len(p.out.Frame.Bytes) - p.l4
	put16(field, int(fold(uint64(binary.BigEndian.Uint16(field))+uint64(^uint16(whole))+uint64(len(b)-l4))))
	if o.GSOType == frame.GSOUDPL4 {
		put16(b[l4+udpLen:], len(b)-l4)
		return
	}
	binary.BigEndian.PutUint32(b[l4+tcpSeq:], binary.BigEndian.Uint32(b[l4+tcpSeq:])+uint32(i*p.size))
	if i > 0 {
		b[l4+tcpFlags] &^= tcpCWR // It says once that the window was reduced (RFC 3168 6.1.2).
	}
	if i < p.n-1 {
		b[l4+tcpFlags] &^= tcpFIN | tcpPSH
	}
}

// adjustIPv4 gives segment i an identification of its own, as the kernel does.
func (p *pieces) adjustIPv4(header []byte, i, total int) {
	put16(header[ipv4TotalLen:], total)
	put16(header[ipv4ID:], int(binary.BigEndian.Uint16(header[ipv4ID:]))+i)
	put16(header[ipv4Sum:], 0)
	put16(header[ipv4Sum:], int(^fold(sum(header))))
}

// complete replaces the seed at the offset by the Internet checksum of b (RFC
// 1071), seed included. A zero is sent as its other form, 0xffff: to UDP zero
// means that there is no checksum (RFC 768), to the rest they are equal.
func complete(b []byte, offset int) {
	c := ^fold(sum(b))
	if c == 0 {
		c = 0xffff
	}
	put16(b[offset:], int(c))
}

// sum adds b up in 16-bit words, the last padded with zero, eight bytes at a
// time: halves of 32 bits cannot overflow 64 in a frame's length.
func sum(b []byte) (s uint64) {
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		s += v>>32 + v&0xffffffff
	}
	var rest [8]byte
	copy(rest[:], b)
	v := binary.BigEndian.Uint64(rest[:])
	return s + v>>32 + v&0xffffffff
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func put16(b []byte, v int) { binary.BigEndian.PutUint16(b, uint16(v)) }
