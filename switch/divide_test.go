package vswitch

import (
	"encoding/binary"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// super is a TCP super-frame of n bytes of payload in segments of 1,000, with
// its offload header.
func super(dst, src frame.MAC, n int, before ...byte) ([]byte, frame.Offload) {
	ip := []byte{8, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	binary.BigEndian.PutUint16(ip[4:], uint16(40+n))
	tcp := []byte{0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 9, 9, 0, 0, 0, 0}
	b := eth(dst, src, append(append(append(before, ip...), tcp...), make([]byte, n)...)...)
	start := 12 + len(before) + len(ip)
	return b, frame.Offload{
		Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, HdrLen: uint16(start + 20),
		GSOSize: 1000, CsumStart: uint16(start), CsumOffset: 16,
	}
}

// sendSuper sends a super-frame and waits until the switch is through with it.
func (r *rig) sendSuper(name string, b []byte, o frame.Offload) {
	r.Helper()
	c := r.ports[name].counters
	want := c.receive.frames.Load() + 1
	r.cables[name].SendOffload(b, o)
	r.settled(c, want)
}

// plugOf plugs in a port whose station takes over this work.
func (r *rig) plugOf(p config.Port, takes frame.Offloads) *porttest.Cable {
	r.Helper()
	c := porttest.NewCableOf(1024, takes)
	if err := r.Attach(p, c, upLink); err != nil {
		r.Fatal(err)
	}
	r.cables[p.Name] = c
	return c
}

// Ports that take super-frames get them whole; the others get the segments,
// tagged as their VLAN asks.
func TestSuperFrameIsDividedForPortsThatNeedIt(t *testing.T) {
	r := newRig(t, true, access("in", 10), access("whole", 10))
	r.plugOf(access("plain", 10), 0)
	r.plugOf(trunk("tagged", 10), frame.OffloadCsum)
	r.plugOf(access("tso", 10), porttest.AllOffloads&^frame.OffloadUSO)
	b, o := super(sta(9), sta(1), 60_000)
	r.sendSuper("in", b, o)
	r.balanced()
	for _, name := range []string{"whole", "tso"} {
		got := r.cables[name].Taken()
		if len(got) != 1 || len(got[0].Bytes) != len(b) || got[0].Offload != o {
			t.Errorf("%s got %d frames", name, len(got))
		}
	}
	for name, header := range map[string]int{"plain": 54, "tagged": 58} {
		got := r.cables[name].Taken()
		if len(got) != 60 {
			t.Fatalf("%s got %d frames, want 60 segments", name, len(got))
		}
		for i, s := range got {
			if len(s.Bytes) != header+1000 || s.Offload != (frame.Offload{}) {
				t.Fatalf("%s: segment %d has %d bytes and owes %+v", name, i, len(s.Bytes), s.Offload)
			}
			if seq := binary.BigEndian.Uint32(s.Bytes[header-16:]); seq != uint32(i*1000) {
				t.Fatalf("%s: segment %d has sequence number %d", name, i, seq)
			}
		}
	}
}

// More segments than the worker holds at a time, of more than one super-frame
// in a batch, between other frames: each port gets all in order.
func TestOrderIsKeptAroundDividedSuperFrames(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "in"})
	r.plugOf(config.Port{Name: "plain"}, 0)
	small := func(n byte) []byte { return eth(sta(9), sta(1), 0x88, 0xb5, n) }
	b, o := super(sta(9), sta(1), 4800)
	o.GSOSize = 48
	for n := range byte(10) {
		r.send("in", small(n))
		r.sendSuper("in", b, o)
	}
	r.balanced()
	got := r.cables["plain"].Taken()
	if len(got) != 10*101 {
		t.Fatalf("%d frames, want 1010", len(got))
	}
	for i, s := range got {
		if i%101 == 0 && s.Bytes[14] != byte(i/101) {
			t.Fatalf("frame %d is % x", i, s.Bytes[:20])
		}
		if i%101 != 0 && binary.BigEndian.Uint32(s.Bytes[38:]) != uint32((i%101-1)*48) {
			t.Fatalf("frame %d is % x", i, s.Bytes[:42])
		}
	}
}

func TestSuperFrameThatCannotBeDividedIsDroppedAtThatPort(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "in"}, config.Port{Name: "whole"})
	r.plugOf(config.Port{Name: "plain"}, 0)
	b, o := super(sta(9), sta(1), 3000)
	b[13] = 6 // ARP
	r.sendSuper("in", b, o)
	r.balanced()
	if n := r.drops("plain", frame.DropTransmitError); n != 1 {
		t.Errorf("counted %d times: %v", n, r.allDrops("plain"))
	}
	if n := len(r.cables["whole"].Taken()); n != 1 {
		t.Errorf("the port that takes it whole got %d frames", n)
	}
}

func TestChecksumIsCompletedForPortsThatNeedIt(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "in"})
	r.plugOf(config.Port{Name: "plain"}, 0)
	b, o := super(sta(9), sta(1), 2)
	o.GSOType, o.GSOSize, o.HdrLen = 0, 0, 0
	r.sendSuper("in", b, o)
	got := r.cables["plain"].Taken()
	if len(got) != 1 || got[0].Offload != (frame.Offload{}) || got[0].Bytes[50]|got[0].Bytes[51] == 0 {
		t.Errorf("%+v", got)
	}
}

func TestDividingDoesNotAllocate(t *testing.T) {
	w := bench(t, false, 1024, twoPorts()...)
	w.live.Load().ports[1].offloads = 0
	m, err := mapMemory()
	if err != nil {
		t.Fatal(err)
	}
	defer m.unmap()
	w.divider = divider{memory: m.room(), free: m.room()}
	b, o := super(frame.Broadcast, sta(1), 60_000)
	w.batch.N = 2
	if n := testing.AllocsPerRun(10, func() {
		for i := range w.batch.N {
			w.batch.Frames[i] = frame.Frame{Bytes: b, Offload: o}
		}
		w.relayBatch()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
