package frame

import "encoding/binary"

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

// MaxSegments is the most segments that a super-frame may stand for: the largest
// one in pieces of 8 bytes, the least that Linux sends (TCP_MIN_GSO_SIZE,
// net/tcp.h). Without it one frame could become tens of thousands.
const MaxSegments = 65535 / 8

// Complete writes the checksum that f owes into its bytes, which only the worker
// that owns them may do. f must have been parsed and be no super-frame.
func (f *Frame) Complete() {
	if f.Offload.Flags&FlagNeedsCsum != 0 {
		complete(f.Bytes[f.Offload.CsumStart:], int(f.Offload.CsumOffset))
	}
	f.Offload = Offload{}
}

// Segments divides a super-frame into the frames that it stands for, whose
// checksums are complete. The zero value has none left.
type Segments struct {
	f *Frame
	// Of its bytes: where the network header is, where the transport header,
	// and where the payload that is divided.
	l3, l4, payload int
	i, n, size      int // the next, how many, and the payload of each but the last
}

// SegmentsOf begins with the first segment of f, a parsed super-frame. It
// reports false if f's headers are not those of its type, for which the kernel
// has EINVAL.
func SegmentsOf(f *Frame) (Segments, bool) {
	s := Segments{f: f, l4: int(f.Offload.CsumStart), payload: int(f.Offload.HdrLen), size: int(f.Offload.GSOSize)}
	s.n = max(1, (len(f.Bytes)-s.payload+s.size-1)/s.size)
	return s, s.findNetworkHeader()
}

// findNetworkHeader looks for it behind all tags, inner ones too.
func (s *Segments) findNetworkHeader() bool {
	b, o := s.f.Bytes, &s.f.Offload
	at := AddressesLen
	typ := binary.BigEndian.Uint16(b[at:])
	for ; typ == TypeCTag || typ == TypeSTag; typ = binary.BigEndian.Uint16(b[at:]) {
		if at += TagLen; at+2 > s.l4 {
			return false
		}
	}
	s.l3 = at + 2
	switch {
	case typ == typeIPv4 && o.GSOType&^GSOECN != GSOTCPv6:
		return s.l3+ipv4Len <= s.l4 && s.l3+int(b[s.l3]&0xf)*4 == s.l4
	case typ == typeIPv6 && o.GSOType&^GSOECN != GSOTCPv4:
		return s.l3+ipv6Len <= s.l4
	}
	return false
}

// Next renders the next segment at the beginning of room, behind headroom for an
// offload header, and makes it *to, with the addresses and the tag of the
// super-frame. It returns the rest of the room,
// or false if there is no segment left or no room for it.
func (s *Segments) Next(to *Frame, room []byte) (rest []byte, ok bool) {
	if s.i == s.n {
		return room, false
	}
	from := s.payload + s.i*s.size
	end := min(from+s.size, len(s.f.Bytes))
	n := VnetHdrLen + s.payload + end - from
	if n > len(room) {
		return room, false
	}
	*to = *s.f
	to.Bytes, to.Headroom, to.Offload = room[VnetHdrLen:n:n], VnetHdrLen, Offload{}
	copy(to.Bytes, s.f.Bytes[:s.payload])
	copy(to.Bytes[s.payload:], s.f.Bytes[from:end])
	s.adjust(to.Bytes)
	s.i++
	return room[n:], true
}

// Done reports whether there is no segment left.
func (s *Segments) Done() bool { return s.i == s.n }

// adjust turns the copied headers of the super-frame into those of its next
// segment b.
func (s *Segments) adjust(b []byte) {
	o := &s.f.Offload
	if binary.BigEndian.Uint16(b[s.l3-2:]) == typeIPv4 {
		s.adjustIPv4(b[s.l3:s.l4], len(b)-s.l3)
	} else {
		put16(b[s.l3+ipv6Payload:], len(b)-s.l3-ipv6Len)
	}
	// The sender seeded the field with the sum of a pseudo-header, in which the
	// length is the super-frame's.
	l4 := b[s.l4:]
	field := l4[o.CsumOffset:]
	whole := len(s.f.Bytes) - s.l4
	put16(field, int(fold(uint64(binary.BigEndian.Uint16(field))+uint64(^uint16(whole))+uint64(len(l4)))))
	if o.GSOType == GSOUDPL4 {
		put16(l4[udpLen:], len(l4))
	} else {
		s.adjustTCP(l4)
	}
	complete(l4, int(o.CsumOffset))
}

func (s *Segments) adjustTCP(header []byte) {
	binary.BigEndian.PutUint32(header[tcpSeq:], binary.BigEndian.Uint32(header[tcpSeq:])+uint32(s.i*s.size))
	if s.i > 0 {
		header[tcpFlags] &^= tcpCWR // It says once that the window was reduced (RFC 3168 6.1.2).
	}
	if s.i < s.n-1 {
		header[tcpFlags] &^= tcpFIN | tcpPSH
	}
}

// adjustIPv4 gives the segment an identification of its own, as the kernel does.
func (s *Segments) adjustIPv4(header []byte, total int) {
	put16(header[ipv4TotalLen:], total)
	put16(header[ipv4ID:], int(binary.BigEndian.Uint16(header[ipv4ID:]))+s.i)
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

// Sum returns the 16-bit one's complement sum of b (RFC 1071), which is 0xffff if
// b holds its own right checksum.
func Sum(b []byte) uint16 { return fold(sum(b)) }

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

func put16(b []byte, v int) { binary.BigEndian.PutUint16(b, uint16(v)) }
