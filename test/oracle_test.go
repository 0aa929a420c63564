// Package test has what only shows on the whole: the switch beside a Linux
// bridge, and under change.
package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// oracle sends the same frames through both.
type oracle struct {
	*testing.T
	*rand.Rand
	kernel   *kernelBridge
	s        *vswitch.Switch
	stations []*nettest.Station // of the switch
	aware    bool
	serial   uint32
}

func newOracle(t *testing.T, ports ...config.Port) *oracle {
	t.Helper()
	nettest.Need(t)
	aware := ports[0].VLANs().Member.Len() > 0
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed was %d", seed)
		}
	})
	o := &oracle{T: t, Rand: rand.New(rand.NewPCG(seed, 0)), kernel: newKernelBridge(t, len(ports), aware), aware: aware}
	s, err := vswitch.New(&config.Config{VLANAware: &aware}, vswitch.Options{})
	o.must(err)
	t.Cleanup(func() { o.must(s.Close()) })
	o.s = s
	for i, p := range ports {
		ns := nettest.New(t)
		p.Name, p.Ifname, p.Netns = fmt.Sprint("p", i), "eth0", ns.Path()
		o.must(s.Add(nettest.Port(t, p)))
		o.stations = append(o.stations, nettest.NewStation(t, ns, "eth0"))
		if aware && o.kernel != nil {
			o.must(o.kernel.setVLANs(i, p))
		}
	}
	return o
}

func (o *oracle) must(err error) {
	o.Helper()
	if err != nil {
		o.Fatal(err)
	}
}

// flags draws the flags of every port.
func (o *oracle) flags() {
	for i := range o.stations {
		draw := func() *bool { return new(o.IntN(4) != 0) }
		learning, flood, mcast, bcast, isolated := draw(), draw(), draw(), draw(), config.Group(o.IntN(3)&1)
		o.must(o.s.Set(fmt.Sprint("p", i), func(p config.Port) (config.Port, error) {
			p.Learning, p.Flood, p.McastFlood, p.BcastFlood, p.Isolated = learning, flood, mcast, bcast, isolated
			o.must(o.kernel.set(i, p))
			return p, nil
		}))
	}
}

// frame draws a frame. What the two are known to treat differently is left out:
// 01-80-C2-00-00-00 to -0F, of which Linux relays some (all but -01 can be
// configured, and -00 is relayed while STP is off); zero sources, which Linux
// drops; tags cut short, which no station sends; and, with VLANs, a tag inside
// another, with which Linux lets a frame hop to a VLAN.
func (o *oracle) frame() []byte {
	host := func() frame.MAC { return frame.MAC{2, 0, 0, 0, 0, byte(1 + o.IntN(6))} }
	dst, src := host(), host()
	switch o.IntN(8) {
	case 0:
		dst = frame.Broadcast
	case 1:
		dst = frame.MAC{0x01, 0, 0x5e, 0, 0, byte(o.IntN(2))}
	case 2:
		if o.IntN(8) == 0 {
			src[0] |= 1
		}
	}
	b, room := slices.Concat(dst[:], src[:]), 1514
	ctag := func(vids ...uint16) {
		tci := uint16(o.IntN(16))<<12 | vids[o.IntN(len(vids))]
		b, room = binary.BigEndian.AppendUint16(append(b, 0x81, 0x00), tci), 1518
	}
	switch o.IntN(8) {
	case 0, 1, 2:
		ctag(10, 20, 30, 0, 4095)
	case 3:
		b = append(b, 0x88, 0xa8, 0, 20)
	case 4:
		ctag(10, 20, 0)
		if !o.aware {
			ctag(30, 40)
		}
	}
	b = append(b, [][]byte{{0x88, 0xb5}, {0x88, 0xb6}, {0, 46, 0xf0, 0xf0, 3}}[o.IntN(3)]...)
	o.serial++
	b = binary.BigEndian.AppendUint32(b, o.serial)
	return append(b, make([]byte, max(0, []int{0, 60, 60, 60, room}[o.IntN(5)]-len(b)))...)
}

// round sends bursts, each from one station, and compares what the stations of
// both receive. Frames of two stations do not overtake each other, so even the
// order over all of them must be the same.
func (o *oracle) round(bursts int) {
	before := o.transmitted()
	for range bursts {
		from := o.IntN(len(o.stations))
		name := fmt.Sprint("p", from)
		p, _, err := o.s.Port(name)
		o.must(err)
		received := p.Stats.Receive.Frames
		for range 1 + o.IntN(8) {
			f := o.frame()
			o.must(o.stations[from].Send(f))
			o.must(o.kernel.stations[from].Send(f))
			received++
		}
		for deadline := time.Now().Add(5 * time.Second); p.Stats.Receive.Frames != received; p, _, err = o.s.Port(name) {
			o.must(err)
			if time.Now().After(deadline) {
				o.Fatalf("port %s received %d of %d frames", name, p.Stats.Receive.Frames, received)
			}
		}
	}
	for i, n := range o.transmitted() {
		o.compare(i, n-before[i])
	}
}

func (o *oracle) transmitted() (frames []uint64) {
	for _, p := range o.s.Ports() {
		frames = append(frames, p.Stats.Transmit.Frames)
		for why, n := range p.Stats.Dropped {
			if r := frame.DropReason(why); n != 0 && (r.Direction() == frame.Egress || r == frame.DropKernelQueue) {
				o.Fatalf("port %s lost %d frames: %s", p.Config.Name, n, r.Text())
			}
		}
	}
	return frames
}

func (o *oracle) compare(station int, frames uint64) {
	for i := range frames {
		got, err := o.stations[station].Recv(5 * time.Second)
		o.must(err)
		want, err := o.kernel.stations[station].Recv(5 * time.Second)
		if err != nil || !bytes.Equal(got, want) {
			o.Fatalf("frame %d of %d to station %d: the switch sent\n% x\nand the Linux bridge, error %v,\n% x", i, frames, station, got[:min(32, len(got))], err, want[:min(32, len(want))])
		}
	}
}

// run compares some two thousand frames. The calling thread stays on one
// processor, whose backlog then keeps the order of what the bridge is sent.
func (o *oracle) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	o.must(unix.SchedGetaffinity(0, &all))
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	o.must(unix.SchedSetaffinity(0, &one))
	defer func() { o.must(unix.SchedSetaffinity(0, &all)) }()

	o.round(100)
	for range 8 {
		o.flags()
		o.round(50)
	}
	// Nobody may get more than was compared.
	for i, k := range o.kernel.stations {
		for _, st := range []*nettest.Station{o.stations[i], k} {
			if f, err := st.Recv(20 * time.Millisecond); err == nil {
				o.Errorf("station %d got one frame more: % x", i, f[:min(32, len(f))])
			}
		}
	}
}

func TestForwardsAsALinuxBridgeDoes(t *testing.T) {
	newOracle(t, config.Port{}, config.Port{}, config.Port{}, config.Port{}).run()
}

// A port of a Linux bridge with one VLAN admits frames tagged with it too.
func TestForwardsAsAVLANAwareLinuxBridgeDoes(t *testing.T) {
	ten := config.Port{Access: 10, FrameTypes: config.FrameTypesAll}
	o := newOracle(t, ten, config.Port{Access: 20, FrameTypes: config.FrameTypesAll}, ten,
		config.Port{Trunk: config.VIDsOf(10, 20, 30)}, config.Port{Trunk: config.VIDsOf(10, 20), Native: 20})
	if o.kernel == nil {
		t.Log("not compared: this kernel's bridge has no VLAN filtering")
		return
	}
	o.run()
}
