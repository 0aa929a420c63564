package port

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Joining: UDP datagrams that follow each other to one port are handed to the
// kernel as one super-frame, which it divides into the same datagrams, for the
// price of one. Only what has come in one batch is joined, so that none waits
// for another; only neighbours are, so that none overtakes another; and only
// those that the kernel's division gives back as they were.

// maxJoined is how many datagrams a super-frame may stand for: UDP_MAX_SEGMENTS
// of Linux before 6.11 (linux/udp.h).
const maxJoined = 64

// Offsets in the headers of a datagram: RFC 791, 8200, 768.
const (
	ipv4Len   = 20
	ipv4Total = 2
	ipv4ID    = 4
	ipv4Frag  = 6
	ipv4Proto = 9
	ipv4Sum   = 10
	ipv6Len   = 40
	ipv6Total = 4
	ipv6Next  = 6
	udpHdrLen = 8
	udpTotal  = 4
	udpSum    = 6
	protoUDP  = 17

	dontFragment = 0x4000
)

// datagram is where things are in a UDP datagram that can be joined.
type datagram struct {
	l3, l4 int // offsets of the network and the UDP header
	size   int // of the payload
	v6     bool
}

// datagramOf reports whether o's frame is a UDP datagram whose headers say what
// those of a segment would: nothing beside it in the frame, no options, no
// fragment, a right header checksum, and a UDP checksum that the sender leaves to
// others. One that is there may be wrong, and dividing would make it right.
func datagramOf(o *Out) (d datagram, ok bool) {
	f := o.Frame
	if f.Offload.CsumOffset != udpSum || f.Offload.GSOType != frame.GSONone {
		return d, false
	}
	b := f.Bytes
	d.l3, d.l4 = frame.HeaderLen, int(f.Offload.CsumStart)
	if f.Tagged {
		d.l3 = frame.TaggedLen
	}
	d.size = len(b) - d.l4 - udpHdrLen
	if d.size <= 0 || int(binary.BigEndian.Uint16(b[d.l4+udpTotal:])) != len(b)-d.l4 {
		return d, false
	}
	ip := b[d.l3:d.l4]
	switch {
	case f.EtherType == 0x0800 && len(ip) == ipv4Len: // ETH_P_IP
		return d, ip[0] == 0x45 && ip[ipv4Proto] == protoUDP &&
			binary.BigEndian.Uint16(ip[ipv4Frag:])&^dontFragment == 0 &&
			int(binary.BigEndian.Uint16(ip[ipv4Total:])) == len(b)-d.l3 && frame.Sum(ip) == 0xffff
	case f.EtherType == 0x86dd && len(ip) == ipv6Len: // ETH_P_IPV6
		d.v6 = true
		return d, ip[0]>>4 == 6 && ip[ipv6Next] == protoUDP &&
			int(binary.BigEndian.Uint16(ip[ipv6Total:])) == len(b)-d.l4
	}
	return d, false
}

// joinable returns how many of the first copies can go as one super-frame.
func joinable(out []Out) int {
	first := &out[0]
	d, ok := datagramOf(first)
	if !ok {
		return 1
	}
	n, total := 1, len(first.Frame.Bytes)
	for ; n < len(out) && n < maxJoined; n++ {
		o := &out[n]
		e, ok := datagramOf(o)
		if !ok || e.l4 != d.l4 || e.v6 != d.v6 || e.size > d.size || o.Tag != first.Tag || o.TCI != first.TCI ||
			!d.follows(first.Frame.Bytes, o.Frame.Bytes, n) {
			break
		}
		if total += e.size; total > frame.MaxLen {
			break
		}
		if e.size < d.size {
			return n + 1 // Only the last one may be shorter.
		}
	}
	return n
}

// follows reports whether b, a datagram too, is what a super-frame that begins
// with a, which d describes, would have as its i-th segment.
func (d *datagram) follows(a, b []byte, i int) bool {
	x, y := a[d.l4:d.l4+udpHdrLen], b[d.l4:d.l4+udpHdrLen]
	seed := [2]byte{x[udpSum], x[udpSum+1]}
	adjust(seed[:], binary.BigEndian.Uint16(x[udpTotal:]), binary.BigEndian.Uint16(y[udpTotal:]))
	if !bytes.Equal(x[:udpTotal], y[:udpTotal]) || !bytes.Equal(seed[:], y[udpSum:]) {
		return false
	}
	x, y = a[d.l3:d.l4], b[d.l3:d.l4]
	if d.v6 {
		return bytes.Equal(a[:d.l3], b[:d.l3]) && bytes.Equal(x[:ipv6Total], y[:ipv6Total]) && bytes.Equal(x[ipv6Next:], y[ipv6Next:])
	}
	// Where the datagram must not be fragmented its identification means nothing
	// (RFC 6864 4.1), and Linux sends zero in each.
	id, next := binary.BigEndian.Uint16(x[ipv4ID:]), binary.BigEndian.Uint16(y[ipv4ID:])
	atomic := x[ipv4Frag]&(dontFragment>>8) != 0 && next == id
	return (atomic || next == id+uint16(i)) && bytes.Equal(a[:d.l3], b[:d.l3]) &&
		bytes.Equal(x[:ipv4Total], y[:ipv4Total]) && bytes.Equal(x[ipv4Frag:ipv4Sum], y[ipv4Frag:ipv4Sum]) &&
		bytes.Equal(x[ipv4Sum+2:], y[ipv4Sum+2:])
}

// joint is the room to put a super-frame together.
type joint struct {
	front [frame.VnetHdrLen + frame.TaggedLen + frame.TagLen + ipv6Len + udpHdrLen]byte
	iov   [1 + maxJoined]unix.Iovec
}

// writeJoined writes the copies, which joinable has found, as one super-frame.
func (t *TAP) writeJoined(out []Out) frame.DropReason {
	var j joint
	why := t.writev(j.join(out))
	runtime.KeepAlive(&j) // The system call knows it as a number only.
	if why == frame.Keep {
		t.joined.Add(uint64(len(out)))
	}
	return why
}

// join returns the parts of the super-frame: the headers in j, and the payloads
// where they are.
func (j *joint) join(out []Out) []unix.Iovec {
	front, iov := j.front[:], j.iov[:1+len(out)]
	first := &out[0]
	d, _ := datagramOf(first)
	b := first.Frame.Bytes
	payload := d.l4 + udpHdrLen

	n, skip := first.front(front[frame.VnetHdrLen:])
	n += frame.VnetHdrLen
	n += copy(front[n:], b[skip:payload])
	total := 0
	for i := range out {
		rest := out[i].Frame.Bytes[payload:]
		iov[1+i].Base = unsafe.SliceData(rest)
		iov[1+i].SetLen(len(rest))
		total += len(rest)
	}
	d.enlarge(front[:n], total)
	o := first.Frame.Offload
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOUDPL4, uint16(d.size), uint16(payload)
	o.Shifted(first.Tag.Growth()).Encode(front)
	iov[0].Base = &front[0]
	iov[0].SetLen(n)
	return iov
}

// enlarge turns the headers at the end of b from those of a datagram into those of
// a super-frame with that much payload.
func (d *datagram) enlarge(b []byte, payload int) {
	udp := b[len(b)-udpHdrLen:]
	ip := b[len(b)-udpHdrLen-(d.l4-d.l3) : len(b)-udpHdrLen]
	was, is := uint16(udpHdrLen+d.size), uint16(udpHdrLen+payload)
	binary.BigEndian.PutUint16(udp[udpTotal:], is)
	// The sender's seed of the checksum has the length in it.
	adjust(udp[udpSum:], was, is)
	if d.v6 {
		binary.BigEndian.PutUint16(ip[ipv6Total:], is)
		return
	}
	adjust(ip[ipv4Sum:], ^(was + ipv4Len), ^(is + ipv4Len))
	binary.BigEndian.PutUint16(ip[ipv4Total:], is+ipv4Len)
}

// adjust replaces one summand in a 16-bit one's complement sum (RFC 1624).
func adjust(sum []byte, was, is uint16) {
	s := uint32(binary.BigEndian.Uint16(sum)) + uint32(^was) + uint32(is)
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(sum, uint16(s+s>>16))
}
