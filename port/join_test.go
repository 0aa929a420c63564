package port

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// flow makes the datagrams of one UDP flow as a station with checksum offload
// sends them.
type flow struct {
	tag  []byte // behind the addresses
	v6   bool
	df   bool
	id   uint16 // of the next datagram, in IPv4
	port uint16
}

func (f *flow) datagram(payload ...byte) *frame.Frame {
	b := append(append(append([]byte{}, otherMAC[:]...), stationMAC[:]...), f.tag...)
	udp := binary.BigEndian.AppendUint16([]byte{0x10, 0}, f.port)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(payload)))
	var pseudo []byte
	if f.v6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 5)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
		b = append(b, 17, 64)
		pseudo = append(bytes.Repeat([]byte{0xfd, 1}, 8), bytes.Repeat([]byte{0xfd, 2}, 8)...)
		b = append(b, pseudo...)
	} else {
		ip := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
		binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
		binary.BigEndian.PutUint16(ip[4:], f.id)
		if f.df {
			ip[6] = 0x40
		} else {
			f.id++
		}
		binary.BigEndian.PutUint16(ip[10:], ^frame.Sum(ip))
		b = append(append(b, 8, 0), ip...)
		pseudo = slices.Clone(ip[12:])
	}
	pseudo = append(pseudo, 0, 17)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(8+len(payload)))
	fr := &frame.Frame{Offload: frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: uint16(len(b)), CsumOffset: 6}}
	b = append(b, udp...)
	b = binary.BigEndian.AppendUint16(b, frame.Sum(pseudo))
	fr.Bytes = append(b, payload...)
	return fr
}

func outs(t testing.TB, tag TagAction, frames ...*frame.Frame) (out []Out) {
	t.Helper()
	for _, f := range frames {
		if why := f.Parse(); why != frame.Keep {
			t.Fatal(why)
		}
		out = append(out, Out{Frame: f, Tag: tag, TCI: 7})
	}
	return out
}

// superFrame is the super-frame that the kernel would get for all of out.
func superFrame(out []Out) *frame.Frame {
	var j joint
	var b []byte
	for _, v := range j.join(out) {
		b = append(b, unsafe.Slice(v.Base, v.Len)...)
	}
	return &frame.Frame{Bytes: b[frame.VnetHdrLen:], Offload: frame.DecodeOffload(b)}
}

// gives checks that out joined becomes the same as what would have been sent without
// joining, but for the identification of datagrams that must not be fragmented, which
// means nothing.
func gives(t testing.TB, out []Out) {
	t.Helper()
	f := superFrame(out)
	if why := f.Parse(); why != frame.Keep {
		t.Fatalf("the super-frame: %v", why)
	}
	segments, ok := frame.SegmentsOf(f)
	if !ok {
		t.Fatal("the super-frame cannot be divided")
	}
	for i := range out {
		var s frame.Frame
		if _, ok := segments.Next(&s, make([]byte, 2000)); !ok {
			t.Fatalf("%d segments of %d", i, len(out))
		}
		want := alone(&out[i])
		if ip := len(want) - len(out[i].Frame.Bytes) + int(out[i].Frame.Offload.CsumStart) - ipv4Len; out[i].Frame.EtherType == 0x0800 && want[ip+6]&0x40 != 0 {
			copy(want[ip+4:ip+6], s.Bytes[ip+4:ip+6])
			copy(want[ip+10:ip+12], []byte{0, 0})
			binary.BigEndian.PutUint16(want[ip+10:], ^frame.Sum(want[ip:ip+20]))
		}
		same(t, s.Bytes, want)
	}
	if !segments.Done() {
		t.Error("more segments than datagrams")
	}
}

// alone is the copy as it arrives if it is not joined, checksum completed.
func alone(o *Out) []byte {
	var front [frame.AddressesLen + frame.TagLen]byte
	n, skip := o.front(front[:])
	f := frame.Frame{Bytes: slices.Concat(front[:n], o.Frame.Bytes[skip:]), Offload: o.Frame.Offload.Shifted(o.Tag.Growth())}
	f.Complete()
	return f.Bytes
}

func TestJoinedDatagramsDivideIntoThemselves(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, tag := range []TagAction{TagKeep, TagPush, TagPop, TagReplace} {
		for n := range 200 {
			f := &flow{v6: n%2 == 0, df: n%4 < 2, id: uint16(rnd.Uint32()), port: uint16(n)}
			if tag == TagPop || tag == TagReplace {
				f.tag = []byte{0x81, 0, 0, 9}
			}
			size := 1 + rnd.IntN(1400)
			var frames []*frame.Frame
			for range 2 + rnd.IntN(30) {
				frames = append(frames, f.datagram(randomBytes(rnd, size)...))
			}
			frames = append(frames, f.datagram(randomBytes(rnd, 1+rnd.IntN(size))...))
			out := outs(t, tag, frames...)
			k := joinable(out)
			if k != len(out) && (k+1)*(size+60) < frame.MaxLen {
				t.Fatalf("%d of %d datagrams of %d bytes are joined", k, len(out), size)
			}
			gives(t, out[:k])
		}
	}
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// What a kernel's division would not give back is not joined, whichever of two
// datagrams has it.
func TestDatagramsThatDifferAreNotJoined(t *testing.T) {
	sumIP := func(f *frame.Frame) {
		ip := f.Bytes[14:34]
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^frame.Sum(ip))
	}
	set := func(at int, v byte) func(*frame.Frame) {
		return func(f *frame.Frame) { f.Bytes[at] = v; sumIP(f) }
	}
	v4 := map[string]func(*frame.Frame){
		"destination address":   set(5, 9),
		"source address":        set(11, 9),
		"ToS":                   set(15, 4),
		"identification":        set(18, 99),
		"may be fragmented":     set(20, 0),
		"more fragments":        set(20, 0x60),
		"fragment offset":       set(21, 1),
		"reserved flag":         set(20, 0xc0),
		"TTL":                   set(22, 63),
		"TCP":                   set(23, 6),
		"IP source":             set(29, 9),
		"IP destination":        set(33, 9),
		"source port":           set(35, 9),
		"destination port":      set(37, 9),
		"options":               set(14, 0x46),
		"IP header checksum":    func(f *frame.Frame) { f.Bytes[24]++ },
		"IP total length":       func(f *frame.Frame) { f.Bytes[17]--; sumIP(f) },
		"UDP length":            func(f *frame.Frame) { f.Bytes[39]-- },
		"seed of the checksum":  func(f *frame.Frame) { f.Bytes[41]++ },
		"finished checksum":     func(f *frame.Frame) { f.Complete() },
		"super-frame":           func(f *frame.Frame) { f.Offload.GSOType, f.Offload.GSOSize = frame.GSOUDPL4, 50 },
		"checksum of no UDP":    func(f *frame.Frame) { f.Offload.CsumOffset = 16 },
		"another place for it":  func(f *frame.Frame) { f.Offload.CsumStart += 2 },
		"padding behind it":     func(f *frame.Frame) { f.Bytes = append(f.Bytes, 0) },
		"EtherType":             set(13, 6),
		"no payload at all":     func(f *frame.Frame) { *f = *(&flow{df: true}).datagram() },
		"longer than the first": func(f *frame.Frame) { *f = *(&flow{df: true}).datagram(make([]byte, 101)...) },
	}
	for name, spoil := range v4 {
		f := &flow{df: true}
		frames := []*frame.Frame{f.datagram(make([]byte, 100)...), f.datagram(make([]byte, 100)...)}
		spoil(frames[1])
		if n := joinable(outs(t, TagKeep, frames...)); n != 1 {
			t.Errorf("%s of the second: %d are joined", name, n)
		}
		if name == "longer than the first" {
			continue
		}
		frames[0], frames[1] = frames[1], frames[0]
		if n := joinable(outs(t, TagKeep, frames...)); n != 1 {
			t.Errorf("%s of the first: %d are joined", name, n)
		}
	}
	six := &flow{v6: true}
	for name, at := range map[string]int{"traffic class": 15, "flow label": 17, "next header": 20, "hop limit": 21, "source": 37, "destination": 53} {
		frames := []*frame.Frame{six.datagram(make([]byte, 100)...), six.datagram(make([]byte, 100)...)}
		frames[1].Bytes[at]++
		if n := joinable(outs(t, TagKeep, frames...)); n != 1 {
			t.Errorf("IPv6 %s: %d are joined", name, n)
		}
	}
	f := &flow{df: true}
	out := outs(t, TagPush, f.datagram(1, 2), f.datagram(3, 4))
	out[1].TCI = 8
	if n := joinable(out); n != 1 {
		t.Errorf("tags: %d are joined", n)
	}
	out = outs(t, TagKeep, f.datagram(1, 2), f.datagram(3), f.datagram(4))
	if n := joinable(out); n != 2 {
		t.Errorf("%d are joined past a shorter one", n)
	}
}

func TestLongestRunThatIsJoined(t *testing.T) {
	f := &flow{df: true}
	var small, large []*frame.Frame
	for range 2 * maxJoined {
		small, large = append(small, f.datagram(1, 2)), append(large, f.datagram(make([]byte, 1472)...))
	}
	if n := joinable(outs(t, TagKeep, small...)); n != maxJoined {
		t.Errorf("%d small ones are joined", n)
	}
	if n := joinable(outs(t, TagKeep, large...)); n != (frame.MaxLen-42)/1472 {
		t.Errorf("%d large ones are joined", n)
	}
}

// The kernel's own verdict: every datagram arrives at a socket, in order, and the
// UDP layer finds nothing wrong.
func TestJoinedDatagramsArriveAtASocket(t *testing.T) {
	tap := open(t, TAPConfig{Ifname: "join0", Up: true, MAC: &otherMAC, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}})
	if tap.Offloads()&frame.OffloadUSO == 0 {
		nettest.Lack(t, "the kernel has no USO")
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.Bind(s, &unix.SockaddrInet4{Port: 4242}); err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	f := &flow{port: 4242}
	var frames []*frame.Frame
	for i := range byte(40) {
		frames = append(frames, f.datagram(bytes.Repeat([]byte{i}, 100)...))
	}
	frames = append(frames, f.datagram(99))
	tap.SetCoalesce(true)
	out := outs(t, TagKeep, frames...)
	tap.Transmit(out)
	if out[0].Reason != frame.Keep || tap.Coalesced() != 41 {
		t.Fatalf("%v, %d datagrams joined", out[0].Reason, tap.Coalesced())
	}
	b := make([]byte, 200)
	for i := range frames {
		n, _, err := unix.Recvfrom(s, b, 0)
		if err != nil {
			t.Fatal(err)
		}
		same(t, b[:n], frames[i].Bytes[42:])
	}
	tap.SetCoalesce(false)
	tap.Transmit(out)
	if tap.Coalesced() != 41 {
		t.Error("datagrams are joined although that is off")
	}
}

func TestJoiningDoesNotAllocate(t *testing.T) {
	f := &flow{df: true}
	out := outs(t, TagKeep, f.datagram(make([]byte, 18)...), f.datagram(make([]byte, 18)...))
	var j joint
	if n := testing.AllocsPerRun(100, func() {
		if joinable(out) == 2 {
			j.join(out)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// mixed makes a copy for each byte of plan, as hostile stations may send them: of a
// or b, which flow it goes on, with what else the byte says. What cannot be parsed is
// left out.
func mixed(hdr, a, b []byte, tag TagAction, plan []byte) (out []Out) {
	var sent [2]uint16
	for i, step := range plan {
		from := step & 1
		f := &frame.Frame{Bytes: bytes.Clone([][]byte{a, b}[from]), Offload: frame.DecodeOffload(hdr)}
		if f.Parse() != frame.Keep {
			continue
		}
		if d, ok := datagramOf(&Out{Frame: f}); ok {
			if step&planShorter != 0 {
				f.Bytes = f.Bytes[:len(f.Bytes)-(d.size-1)/2]
				d.enlarge(f.Bytes[:d.l4+udpHdrLen], d.size-(d.size-1)/2)
			}
			if ip := f.Bytes[d.l3:d.l4]; !d.v6 && step&planSameID == 0 {
				id := binary.BigEndian.Uint16(ip[ipv4ID:])
				binary.BigEndian.PutUint16(ip[ipv4ID:], id+sent[from])
				adjust(ip[ipv4Sum:], ^id, ^(id + sent[from]))
			}
			sent[from]++
		}
		if at := (int(step>>4)*4 + i%4) % len(f.Bytes); step&planSpoil != 0 {
			f.Bytes[at] ^= 1 << (i % 8)
			if ip := frame.HeaderLen; at >= ip && at < ip+ipv4Len && len(f.Bytes) >= ip+ipv4Len && at&^1 != ip+ipv4Sum && f.EtherType == 0x0800 {
				// Or else the sum gives it away.
				binary.BigEndian.PutUint16(f.Bytes[ip+ipv4Sum:], 0)
				binary.BigEndian.PutUint16(f.Bytes[ip+ipv4Sum:], ^frame.Sum(f.Bytes[ip:ip+ipv4Len]))
			}
		}
		if f.Parse() != frame.Keep {
			continue
		}
		o := Out{Frame: f, Tag: tag, TCI: 7}
		if !f.Tagged && (tag == TagPop || tag == TagReplace) {
			o.Tag = TagPush
		}
		out = append(out, o)
	}
	return out
}

// Bits of a byte of the plan; the lowest is the flow, the upper four are where the
// copy is spoiled.
const (
	planSameID  = 2
	planShorter = 4
	planSpoil   = 8
)

// FuzzJoin feeds runs of copies of two frames as hostile stations make them: what is
// joined the kernel's division gives back.
func FuzzJoin(f *testing.F) {
	longest := func(t testing.TB, hdr, a, b []byte, tag uint8, plan []byte) (most int) {
		t.Helper()
		for out := mixed(hdr, a, b, TagAction(tag%4), plan); len(out) > 0; {
			n := joinable(out)
			if n > maxJoined {
				t.Errorf("%d are joined", n)
			}
			if n > 1 {
				gives(t, out[:n])
			}
			most, out = max(most, n), out[n:]
		}
		return most
	}
	flows := []*flow{{df: true}, {id: 0xffff}, {v6: true}, {tag: []byte{0x81, 0, 0, 9}, df: true}}
	for i, fl := range flows {
		other := *flows[(i+1)%len(flows)]
		other.port++
		for _, size := range []int{100, 1472, 7, 1} {
			a, b := fl.datagram(make([]byte, size)...), other.datagram(make([]byte, size)...)
			hdr := make([]byte, frame.VnetHdrLen)
			a.Offload.Encode(hdr)
			plans := map[string]int{ // and how many are joined at least
				string(make([]byte, 100)):                                         min(maxJoined, (frame.MaxLen-len(a.Bytes))/size+1),
				string(append(make([]byte, 20), planShorter)):                     21,
				string([]byte{planShorter, 0, 0, 0, planShorter, 0, 0}):           4,
				strings.Repeat("\x00\x00\x00\x00\x01\x01\x01\x01\x01\x00\x01", 6): 4,
				strings.Repeat(string(rune(planSameID)), 30):                      1,
			}
			for at := range byte(16) {
				// Each fifth copy is spoiled, at each of four bytes in turn.
				plans[strings.Repeat(string([]byte{0, 0, 0, 0, at<<4 | planSpoil}), 8)] = 4
			}
			for plan, want := range plans {
				if n := longest(f, hdr, a.Bytes, b.Bytes, uint8(i), []byte(plan)); n < want {
					f.Fatalf("flow %d with datagrams of %d bytes, plan %q: at most %d are joined, want %d", i, size, plan, n, want)
				}
				f.Add(hdr, a.Bytes, b.Bytes, uint8(i), []byte(plan))
			}
		}
	}
	f.Fuzz(func(t *testing.T, hdr, a, b []byte, tag uint8, plan []byte) {
		if len(hdr) < frame.VnetHdrLen || len(a) > 1600 || len(b) > 1600 || len(plan) > 2*maxJoined {
			return
		}
		longest(t, hdr, a, b, tag, plan)
	})
}
