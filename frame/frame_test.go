package frame_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

var (
	dst = frame.MAC{0x02, 0, 0, 0, 0, 1}
	src = frame.MAC{0x02, 0, 0, 0, 0, 2}
)

// build makes a frame of what follows the addresses.
func build(rest ...byte) []byte {
	return bytes.Join([][]byte{dst[:], src[:], rest}, nil)
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		bytes  []byte
		want   frame.DropReason
		tagged bool
		tci    frame.TCI
		typ    uint16
	}{
		"empty":                      {nil, frame.DropTooShort, false, 0, 0},
		"13 bytes":                   {build(8), frame.DropTooShort, false, 0, 0},
		"14 bytes":                   {build(8, 0), frame.Keep, false, 0, 0x0800},
		"802.3 length":               {build(0, 46), frame.Keep, false, 0, 46},
		"C-TAG":                      {build(0x81, 0, 0x70, 10, 8, 6), frame.Keep, true, frame.MakeTCI(3, true, 10), 0x0806},
		"C-TAG cut short":            {build(0x81, 0, 0x70, 10, 8), frame.Keep, false, 0, frame.TypeCTag},
		"S-TAG is payload":           {build(0x88, 0xa8, 0, 5, 0x81, 0, 0, 7), frame.Keep, false, 0, frame.TypeSTag},
		"second C-TAG is payload":    {build(0x81, 0, 0, 5, 0x81, 0, 0, 7, 8, 0), frame.Keep, true, 5, frame.TypeCTag},
		"priority tag, reserved VID": {build(0x81, 0, 0xef, 0xff, 8, 0), frame.Keep, true, frame.MakeTCI(7, false, 4095), 0x0800},
	} {
		t.Run(name, func(t *testing.T) {
			f := frame.Frame{Bytes: c.bytes, Tagged: true, TCI: 99}
			if got := f.Parse(); got != c.want {
				t.Fatalf("Parse = %v, want %v", got, c.want)
			}
			if c.want != frame.Keep {
				return
			}
			if f.Dst != dst || f.Src != src || f.Tagged != c.tagged || f.TCI != c.tci || f.EtherType != c.typ {
				t.Errorf("got %+v", f)
			}
		})
	}
}

// tcp4 is the header of a TCPv4 frame, Ethernet to TCP, with n payload bytes.
func tcp4(n int) []byte {
	b := make([]byte, 54+n)
	copy(b, build(8, 0))
	b[14], b[23] = 0x45, 6
	b[46] = 5 << 4
	return b
}

func TestOffloadHeaderIsCheckedAgainstTheFrame(t *testing.T) {
	good := frame.Offload{Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, HdrLen: 54, GSOSize: 1000, CsumStart: 34, CsumOffset: 16}
	long := tcp4(5000)
	for name, c := range map[string]struct {
		change func(*frame.Offload)
		bytes  []byte
		want   frame.DropReason
	}{
		"super-frame":                     {func(*frame.Offload) {}, long, frame.Keep},
		"ECN":                             {func(o *frame.Offload) { o.GSOType |= frame.GSOECN }, long, frame.Keep},
		"checksum only":                   {func(o *frame.Offload) { o.GSOType, o.GSOSize = 0, 0 }, long, frame.Keep},
		"USO":                             {func(o *frame.Offload) { o.GSOType, o.CsumOffset = frame.GSOUDPL4, 6 }, long, frame.Keep},
		"HdrLen too small is not trusted": {func(o *frame.Offload) { o.HdrLen = 0 }, long, frame.Keep},
		"HdrLen beyond the frame":         {func(o *frame.Offload) { o.HdrLen = 6000 }, long, frame.DropOffloadHeader},
		"checksum start of a checksum alone in MAC header": {func(o *frame.Offload) { *o = frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 13, CsumOffset: 16} }, long, frame.DropOffloadHeader},
		"checksum start where a tag more would wrap":       {func(o *frame.Offload) { *o = frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 65532} }, tcp4(65490), frame.DropOffloadHeader},
		"checksum elsewhere than TCP has it":               {func(o *frame.Offload) { o.CsumOffset = 100 }, long, frame.DropOffloadHeader},
		"super-frame without room for an IP header":        {func(o *frame.Offload) { o.CsumStart = 33 }, long, frame.DropOffloadHeader},
		"TCPv6 needs more room":                            {func(o *frame.Offload) { o.GSOType, o.CsumStart = frame.GSOTCPv6, 53 }, long, frame.DropOffloadHeader},
		"checksum start in MAC header":                     {func(o *frame.Offload) { o.CsumStart = 13 }, long, frame.DropOffloadHeader},
		"checksum start beyond the frame":                  {func(o *frame.Offload) { o.CsumStart = 5054 }, long, frame.DropOffloadHeader},
		"checksum end beyond the frame":                    {func(o *frame.Offload) { o.CsumOffset = 5054 - 34 - 1 }, long, frame.DropOffloadHeader},
		"sums overflow 16 bits":                            {func(o *frame.Offload) { o.CsumStart, o.CsumOffset = 65535, 65535 }, long, frame.DropOffloadHeader},
		"segment size 0":                                   {func(o *frame.Offload) { o.GSOSize = 0 }, long, frame.DropOffloadHeader},
		"segments without checksum":                        {func(o *frame.Offload) { o.Flags = 0 }, long, frame.DropOffloadHeader},
		"UFO is unknown":                                   {func(o *frame.Offload) { o.GSOType = 3 }, long, frame.DropOffloadHeader},
		"type 255":                                         {func(o *frame.Offload) { o.GSOType = 255 }, long, frame.DropOffloadHeader},
		"ECN with UDP":                                     {func(o *frame.Offload) { o.GSOType = frame.GSOUDPL4 | frame.GSOECN }, long, frame.DropOffloadHeader},
		"TCP header cut short":                             {func(o *frame.Offload) { o.HdrLen = 50 }, long[:52], frame.DropOffloadHeader},
		"longer than any super-frame":                      {func(*frame.Offload) {}, tcp4(66000), frame.DropOffloadHeader},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			c.change(&o)
			f := frame.Frame{Bytes: c.bytes, Offload: o}
			if got := f.Parse(); got != c.want {
				t.Errorf("Parse = %v, want %v", got, c.want)
			}
		})
	}
	t.Run("checksum start inside the C-TAG", func(t *testing.T) {
		f := frame.Frame{Bytes: build(0x81, 0, 0, 5, 8, 0, 0, 0, 0, 0), Offload: frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 17}}
		if got := f.Parse(); got != frame.DropOffloadHeader {
			t.Errorf("Parse = %v", got)
		}
	})
	t.Run("HdrLen is made what the headers say", func(t *testing.T) {
		o := good
		o.HdrLen = 0
		f := frame.Frame{Bytes: long, Offload: o}
		if got := f.Parse(); got != frame.Keep || f.Offload != good {
			t.Errorf("Parse = %v, %+v", got, f.Offload)
		}
	})
	t.Run("TCP data offset below 5", func(t *testing.T) {
		b := tcp4(5000)
		b[46] = 4 << 4
		f := frame.Frame{Bytes: b, Offload: good}
		if got := f.Parse(); got != frame.DropOffloadHeader {
			t.Errorf("Parse = %v", got)
		}
	})
}

func TestWireLenIsThatOfTheLargestSegment(t *testing.T) {
	f := frame.Frame{Bytes: tcp4(5000), Offload: frame.Offload{
		Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, HdrLen: 54, GSOSize: 1460, CsumStart: 34, CsumOffset: 16,
	}}
	if got := f.WireLen(); got != 54+1460 {
		t.Errorf("WireLen = %d, want 1514", got)
	}
	f.Offload.GSOSize = 6000
	if got := f.WireLen(); got != 5054 {
		t.Errorf("WireLen of one segment = %d, want 5054", got)
	}
	f.Offload = frame.Offload{}
	if got := f.WireLen(); got != 5054 {
		t.Errorf("WireLen without offload = %d, want 5054", got)
	}
}

func TestOffloadRoundTripAndShift(t *testing.T) {
	o := frame.Offload{Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv6 | frame.GSOECN, HdrLen: 74, GSOSize: 1440, CsumStart: 54, CsumOffset: 16}
	var b [frame.VnetHdrLen]byte
	o.Encode(b[:])
	if got := frame.DecodeOffload(b[:]); got != o {
		t.Errorf("decoded %+v, want %+v", got, o)
	}
	if s := o.Shifted(4); s.HdrLen != 78 || s.CsumStart != 58 || s.CsumOffset != 16 || s.Shifted(-4) != o {
		t.Errorf("shifted %+v", s)
	}
	if s := (frame.Offload{}).Shifted(4); s != (frame.Offload{}) {
		t.Errorf("a frame that owes nothing shifted to %+v", s)
	}
}

func TestDecodeOffloadClearsWhatMeansNothing(t *testing.T) {
	// DATA_VALID (2) alone, with garbage in every other field.
	b := []byte{2, 0, 9, 9, 9, 9, 9, 9, 9, 9}
	if got := frame.DecodeOffload(b); got != (frame.Offload{}) {
		t.Errorf("got %+v, want the zero Offload", got)
	}
}

func TestTCI(t *testing.T) {
	tci := frame.MakeTCI(5, true, 1234)
	if tci.PCP() != 5 || !tci.DEI() || tci.VID() != 1234 {
		t.Errorf("parts of %#x: %d %v %d", tci, tci.PCP(), tci.DEI(), tci.VID())
	}
	if w := tci.WithVID(7); w.PCP() != 5 || !w.DEI() || w.VID() != 7 {
		t.Errorf("WithVID lost PCP or DEI: %#x", w)
	}
}

func TestReservedAddresses(t *testing.T) {
	for s, want := range map[string]bool{
		"01:80:c2:00:00:00": true, "01:80:c2:00:00:0f": true, "01:80:c2:00:00:10": false,
		"01:80:c2:00:01:00": false, "01:80:c3:00:00:00": false, "00:80:c2:00:00:00": false,
	} {
		m, err := frame.ParseMAC(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := m.Reserved(); got != want {
			t.Errorf("%s reserved = %v, want %v", s, got, want)
		}
	}
}

func TestParseMAC(t *testing.T) {
	for _, s := range []string{"02:00:5e:10:00:0a", "02-00-5E-10-00-0A"} {
		if m, err := frame.ParseMAC(s); err != nil || m.String() != "02:00:5e:10:00:0a" || frame.MACFromUint64(m.Uint64()) != m {
			t.Errorf("%s: %v %v", s, m, err)
		}
	}
	for _, s := range []string{"", "02:00:5e:10:00", "02:00:5e:10:00:0g", "02:00-5e:10:00:0a", "0200.5e10.000a", "02:00:5e:10:00:0a:"} {
		if _, err := frame.ParseMAC(s); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}

func TestEveryDropReasonIsNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for r := range frame.NumDropReasons {
		if r.String() == "" || r.Text() == "" || seen[r.String()] {
			t.Errorf("reason %d: name %q, text %q", r, r.String(), r.Text())
		}
		seen[r.String()] = true
	}
	if frame.NumDropReasons.String() != "unknown" {
		t.Error("a reason beyond the table has a name")
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	f := frame.Frame{Bytes: tcp4(100), Offload: frame.Offload{Flags: 1, CsumStart: 34, CsumOffset: 16}}
	if n := testing.AllocsPerRun(100, func() { f.Parse() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(build(0x81, 0, 0, 1, 8, 0), []byte{1, 1, 54, 0, 100, 0, 34, 0, 16, 0})
	f.Add(tcp4(3000), []byte{1, 1, 54, 0, 100, 0, 34, 0, 16, 0})
	f.Add(tcp4(3000), []byte{1, 5, 42, 0, 100, 0, 34, 0, 6, 0})
	f.Fuzz(func(t *testing.T, b, hdr []byte) {
		fr := frame.Frame{Bytes: b}
		if len(hdr) >= frame.VnetHdrLen {
			fr.Offload = frame.DecodeOffload(hdr)
		}
		if fr.Parse() != frame.Keep {
			return
		}
		if n := fr.WireLen(); n < frame.HeaderLen || n > len(b) {
			t.Errorf("WireLen %d of %d bytes", n, len(b))
		}
		if o := fr.Offload; o.Flags&frame.FlagNeedsCsum != 0 {
			binary.BigEndian.Uint16(b[int(o.CsumStart)+int(o.CsumOffset):]) // must be inside
		}
		if fr.Tagged && len(b) < frame.TaggedLen {
			t.Error("a tag beyond the end")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	f := frame.Frame{Bytes: build(0x81, 0, 0x70, 10, 8, 6)}
	b.ReportAllocs()
	for b.Loop() {
		f.Parse()
	}
}
