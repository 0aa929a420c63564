package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// super describes a super-frame to be built.
type super struct {
	tags    []uint16 // TPIDs behind the addresses, outermost first
	v6      bool
	between []byte // IPv4 options or IPv6 extension headers with next ones chained
	udp     bool
	options []byte // of TCP
	flags   byte   // of TCP
	payload int
	gso     int
}

// The addresses of the frames here.
var toStation, fromOther = MAC{2, 0, 0, 0, 0, 2}, MAC{2, 0, 0, 0, 0, 1}

const firstID, firstSeq = 0xfffe, 0xffff_fff0 // both wrap

// build makes the frame as a station with offloads sends it: lengths of the
// whole, and the sum of the pseudo-header in the transport checksum.
func (s super) build() *Frame {
	b := append(append([]byte{}, toStation[:]...), fromOther[:]...)
	for i, tpid := range s.tags {
		b = binary.BigEndian.AppendUint16(b, tpid)
		b = binary.BigEndian.AppendUint16(b, uint16(100+i))
	}
	var l4 []byte
	proto, field := byte(6), 16
	if s.udp {
		proto, field = 17, 6
		l4 = binary.BigEndian.AppendUint16([]byte{0, 1, 0, 2}, uint16(8+s.payload))
		l4 = append(l4, 0, 0)
	} else {
		l4 = []byte{0, 1, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, byte(20+len(s.options)) / 4 << 4, s.flags, 9, 9, 0, 0, 0, 7}
		binary.BigEndian.PutUint32(l4[4:], firstSeq)
		l4 = append(l4, s.options...)
	}
	for i := range s.payload {
		l4 = append(l4, byte(i*7+i>>8))
	}
	var pseudo []byte
	if s.v6 {
		next := proto
		if len(s.between) > 0 {
			next = 0 // hop-by-hop options
		}
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 5)
		b = binary.BigEndian.AppendUint16(b, uint16(len(s.between)+len(l4)))
		b = append(b, next, 64)
		from, to := bytes.Repeat([]byte{0xfd, 1}, 8), bytes.Repeat([]byte{0xfd, 2}, 8)
		b = append(append(b, from...), to...)
		pseudo = append(append(pseudo, from...), to...)
	} else {
		b = append(b, 8, 0)
		ip := []byte{byte(0x45 + len(s.between)/4), 0, 0, 0, 0xff, 0xfe, 0x40, 0, 64, proto, 0xbe, 0xef, 10, 0, 0, 1, 10, 0, 0, 2}
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(s.between)+len(l4)))
		pseudo = append(pseudo, ip[12:20]...)
		b = append(b, ip...)
	}
	pseudo = append(pseudo, 0, proto)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(l4)))
	binary.BigEndian.PutUint16(l4[field:], slowSum(pseudo))
	b = append(b, s.between...)
	f := &Frame{Bytes: append(b, l4...)}
	f.Offload = Offload{
		Flags: FlagNeedsCsum, GSOType: s.gsoType(), GSOSize: uint16(s.gso),
		CsumStart: uint16(len(b)), CsumOffset: uint16(field),
	}
	return f
}

func (s super) gsoType() uint8 {
	switch {
	case s.gso == 0:
		return GSONone
	case s.udp:
		return GSOUDPL4
	case s.v6:
		return GSOTCPv6 | s.flags&tcpCWR // The bit of GSO_ECN is the same.
	}
	return GSOTCPv4 | s.flags&tcpCWR
}

// slowSum is the sum of RFC 1071 as that writes it.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i]) << 8
		if i+1 < len(b) {
			s += uint32(b[i+1])
		}
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// dissected is a complete frame taken apart with nothing but its own bytes.
type dissected struct {
	tags            []uint16
	id              uint16 // of IPv4
	between         []byte
	seq             uint32
	flags           byte
	options, data   []byte
	ack, win, ports []byte
}

// dissect fails unless all lengths and checksums of the frame are right.
func dissect(b []byte) (d dissected, err error) {
	b = b[12:]
	for ; b[0] == 0x81 || b[0] == 0x88 && b[1] == 0xa8; b = b[4:] {
		d.tags = append(d.tags, binary.BigEndian.Uint16(b[2:]))
	}
	typ, ip := binary.BigEndian.Uint16(b), b[2:]
	var pseudo, l4 []byte
	var proto byte
	switch typ {
	case 0x0800:
		n := int(ip[0]&15) * 4
		if got := int(binary.BigEndian.Uint16(ip[2:])); got != len(ip) {
			return d, fmt.Errorf("IPv4 total length %d of %d", got, len(ip))
		}
		if slowSum(ip[:n]) != 0xffff {
			return d, fmt.Errorf("IPv4 header checksum of % x", ip[:n])
		}
		d.id, d.between, l4, proto = binary.BigEndian.Uint16(ip[4:]), ip[20:n], ip[n:], ip[9]
		pseudo = slices.Clone(ip[12:20])
	case 0x86dd:
		if got := int(binary.BigEndian.Uint16(ip[4:])); got != len(ip)-40 {
			return d, fmt.Errorf("IPv6 payload length %d of %d", got, len(ip)-40)
		}
		pseudo, proto, l4 = slices.Clone(ip[8:40]), ip[6], ip[40:]
		for proto == 0 || proto == 60 {
			n := int(l4[1]+1) * 8
			d.between = append(d.between, l4[:n]...)
			proto, l4 = l4[0], l4[n:]
		}
	default:
		return d, fmt.Errorf("type %#x", typ)
	}
	pseudo = append(pseudo, 0, proto)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(l4)))
	if slowSum(append(pseudo, l4...)) != 0xffff {
		return d, fmt.Errorf("transport checksum of protocol %d", proto)
	}
	d.ports = l4[:4]
	if proto == 17 {
		if got := int(binary.BigEndian.Uint16(l4[4:])); got != len(l4) {
			return d, fmt.Errorf("UDP length %d of %d", got, len(l4))
		}
		if l4[6]|l4[7] == 0 {
			return d, errors.New("UDP says that it has no checksum")
		}
		d.data = l4[8:]
		return d, nil
	}
	n := int(l4[12]>>4) * 4
	d.seq, d.flags, d.ack, d.win = binary.BigEndian.Uint32(l4[4:]), l4[13], l4[8:12], l4[14:16]
	d.options, d.data = l4[20:n], l4[n:]
	return d, nil
}

// cut parses the frame and returns the frames that it becomes for a port that
// takes over nothing.
func cut(t testing.TB, f *Frame) [][]byte {
	t.Helper()
	if why := f.Parse(); why != Keep {
		t.Fatalf("the frame does not parse: %v", why)
	}
	if f.Offload.GSOType == GSONone {
		f.Complete()
		return [][]byte{f.Bytes}
	}
	before := slices.Clone(f.Bytes)
	segments, ok := SegmentsOf(f)
	if !ok {
		t.Fatal("not divided")
	}
	room := make([]byte, 2*MaxTaggedLen)
	var all [][]byte
	for !segments.Done() {
		var s Frame
		rest, ok := segments.Next(&s, room)
		if !ok {
			t.Fatal("no room for a segment")
		}
		if s.Offload != (Offload{}) || s.Dst != f.Dst || s.TCI != f.TCI || len(room)-len(rest) != int(s.Headroom)+len(s.Bytes) {
			t.Fatalf("the segment owes %+v, has tag %v and %d bytes", s.Offload, s.TCI, len(s.Bytes))
		}
		all = append(all, slices.Clone(s.Bytes))
	}
	if !bytes.Equal(f.Bytes, before) {
		t.Fatal("the super-frame was changed")
	}
	return all
}

// joins checks the segments of s.
func (s super) joins(t *testing.T) {
	t.Helper()
	var joined []byte
	pieces := cut(t, s.build())
	for i, b := range pieces {
		d, err := dissect(b)
		if err != nil {
			t.Fatalf("%+v: segment %d: %v", s, i, err)
		}
		last := i == len(pieces)-1
		if !s.v6 && s.gso != 0 && d.id != uint16(firstID+i) {
			t.Fatalf("%+v: segment %d has IPv4 id %#x", s, i, d.id)
		}
		if !bytes.Equal(d.between, s.between) || !bytes.Equal(d.options, s.options) {
			t.Fatalf("%+v: segment %d lost options", s, i)
		}
		if !last && len(d.data) != s.gso || last && s.gso != 0 && len(d.data) > s.gso {
			t.Fatalf("%+v: segment %d has %d bytes", s, i, len(d.data))
		}
		want := s.flags
		if i > 0 {
			want &^= 0x80 // CWR
		}
		if !last {
			want &^= 0x09 // FIN, PSH
		}
		if !s.udp && (d.flags != want || d.seq != uint32(firstSeq+i*s.gso)&0xffff_ffff) {
			t.Fatalf("%+v: segment %d has flags %#x, want %#x, and seq %#x", s, i, d.flags, want, d.seq)
		}
		if len(d.tags) != len(s.tags) {
			t.Fatalf("%+v: segment %d has tags %v", s, i, d.tags)
		}
		joined = append(joined, d.data...)
	}
	f := s.build()
	if !bytes.Equal(joined, f.Bytes[len(f.Bytes)-s.payload:]) {
		t.Fatalf("%+v: %d segments do not join to the original", s, len(pieces))
	}
}

var (
	hopByHop = []byte{60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0} // and destination options
	fourNOPs = []byte{1, 1, 1, 1}
)

// everySuper yields super-frames of each kind.
func everySuper(yield func(super)) {
	tagged := [][]uint16{nil, {0x8100}, {0x8100, 0x8100}, {0x88a8, 0x8100}}
	for _, tags := range tagged {
		for _, v6 := range []bool{false, true} {
			for _, between := range [][]byte{nil, fourNOPs} {
				for _, udp := range []bool{false, true} {
					s := super{tags: tags, v6: v6, between: between, udp: udp, payload: 10_001, gso: 1448}
					if v6 && between != nil {
						s.between = slices.Clone(hopByHop)
						if udp {
							s.between[8] = 17
						}
					}
					if !udp {
						s.flags, s.options = 0x80|0x40|0x10|0x08|0x01, bytes.Repeat([]byte{1}, 12)
					}
					yield(s)
				}
			}
		}
	}
}

func TestSegmentsJoinToTheSuperFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	everySuper(func(s super) {
		s.joins(t)
		for range 40 { // Also one segment, whole ones only, small ones, none but headers.
			s := s
			s.payload, s.gso = rnd.IntN(5000), 4+rnd.IntN(3000)
			s.joins(t)
		}
		s.payload = 2 * s.gso
		s.joins(t)
	})
}

func TestSuperFrameOfTheMostSegmentsIsDivided(t *testing.T) {
	super{v6: true, payload: 65_535 - 60, gso: 8, flags: 0x10}.joins(t)
	f := super{v6: true, payload: 65_535 - 60, gso: 7, flags: 0x10}.build()
	if why := f.Parse(); why != DropOffloadHeader {
		t.Errorf("one segment more: %v", why)
	}
}

func TestSegmentWaitsForRoom(t *testing.T) {
	f := super{payload: 3000, gso: 1000}.build()
	f.Parse()
	segments, _ := SegmentsOf(f)
	var s Frame
	if rest, ok := segments.Next(&s, make([]byte, 1063)); ok || len(rest) != 1063 {
		t.Errorf("a segment of 1064 bytes is rendered into 1063")
	}
	if _, ok := segments.Next(&s, make([]byte, 1064)); !ok {
		t.Error("it is not rendered once there is room")
	}
}

func TestChecksumIsCompleted(t *testing.T) {
	everySuper(func(s super) {
		if !s.v6 {
			return // The checksum of the IPv4 header is complete in a frame that is not divided.
		}
		s.gso, s.payload = 0, 333
		s.joins(t)
	})
}

// A checksum that comes out as zero would tell UDP that there is none.
func TestZeroChecksumIsSentAsItsOtherForm(t *testing.T) {
	s := super{v6: true, udp: true, payload: 2}
	f := s.build()
	n := len(f.Bytes)
	var seed [2]byte
	copy(seed[:], cut(t, s.build())[0][n-4:n-2])
	// With data that adds what the sum lacks of 0xffff.
	binary.BigEndian.PutUint16(f.Bytes[n-2:], fold(uint64(binary.BigEndian.Uint16(seed[:]))+uint64(binary.BigEndian.Uint16(f.Bytes[n-2:]))))
	if got := cut(t, f)[0][n-4 : n-2]; !bytes.Equal(got, []byte{0xff, 0xff}) {
		t.Errorf("the checksum is sent as % x", got)
	}
}

func TestSuperFrameWithWrongHeadersIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Frame){
		"type of IPv6 on IPv4":       func(f *Frame) { f.Offload.GSOType = GSOTCPv6 },
		"ARP":                        func(f *Frame) { f.Bytes[13] = 6 },
		"IPv4 header elsewhere":      func(f *Frame) { f.Bytes[14] = 0x46 },
		"nothing but tags":           func(f *Frame) { copy(f.Bytes[12:], bytes.Repeat([]byte{0x88, 0xa8, 0, 1}, 6)) },
		"no room for an IPv6 header": func(f *Frame) { f.Bytes[12], f.Bytes[13], f.Offload.GSOType = 0x86, 0xdd, GSOTCPv6 },
	} {
		f := super{payload: 3000, gso: 1000}.build()
		spoil(f)
		f.Parse() // It refuses some of them already.
		if _, ok := SegmentsOf(f); ok {
			t.Errorf("%s: divided", name)
		}
	}
}

func TestSegmentationDoesNotAllocate(t *testing.T) {
	f := super{payload: 60_000, gso: 1448}.build()
	f.Parse()
	room := make([]byte, 1<<17)
	var s Frame
	if n := testing.AllocsPerRun(100, func() {
		segments, _ := SegmentsOf(f)
		for rest := room; !segments.Done(); {
			rest, _ = segments.Next(&s, rest)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNeedsNamesTheWork(t *testing.T) {
	for want, o := range map[string]Offload{
		"":              {},
		"csum":          {Flags: FlagNeedsCsum},
		"csum tso4":     {Flags: FlagNeedsCsum, GSOType: GSOTCPv4},
		"csum tso6":     {Flags: FlagNeedsCsum, GSOType: GSOTCPv6},
		"csum tso4 ecn": {Flags: FlagNeedsCsum, GSOType: GSOTCPv4 | GSOECN},
		"csum uso":      {Flags: FlagNeedsCsum, GSOType: GSOUDPL4},
	} {
		if got := o.Needs().String(); got != want {
			t.Errorf("%+v needs %q, want %q", o, got, want)
		}
	}
}

// FuzzSegment feeds frames and headers as a hostile station makes them: what
// Parse lets through is divided without a panic, and into no more frames than
// are allowed.
func FuzzSegment(f *testing.F) {
	everySuper(func(s super) {
		s.payload = 3000
		b := s.build()
		hdr := make([]byte, VnetHdrLen)
		b.Offload.Encode(hdr)
		f.Add(append(hdr, b.Bytes...))
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < VnetHdrLen {
			return
		}
		in := &Frame{Bytes: b[VnetHdrLen:], Offload: DecodeOffload(b)}
		if in.Parse() != Keep {
			return
		}
		if in.Offload.GSOType != GSONone {
			if _, ok := SegmentsOf(in); !ok {
				return
			}
		}
		if n := len(cut(t, in)); n > MaxSegments {
			t.Errorf("%d segments", n)
		}
	})
}
