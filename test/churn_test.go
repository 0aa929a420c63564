package test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/metrics"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

var churnTime = flag.Duration("churn.time", 3*time.Second, "how long ports come and go")

func newSwitch(t *testing.T) *vswitch.Switch {
	t.Helper()
	s, err := vswitch.New(&config.Config{VLANAware: new(false)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// eventually waits for what the kernel or another goroutine brings about: that
// wrong returns nil.
func eventually(t *testing.T, wrong func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		err := wrong()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("for a minute: %v", err)
		}
	}
}

// plugged adds a port whose link is eth0 of a namespace of its own.
func plugged(t *testing.T, s *vswitch.Switch, p config.Port) *netns.NS {
	t.Helper()
	ns := nettest.New(t)
	p.Netns, p.Ifname = ns.Path(), "eth0"
	if err := s.Add(nettest.Port(t, p)); err != nil {
		t.Fatal(err)
	}
	return ns
}

// churn adds ports, has each send a frame and removes them, until stop.
func churn(t *testing.T, s *vswitch.Switch, farm *netns.NS, names []string, stop <-chan struct{}) error {
	t.Helper()
	for p := nettest.Port(t, config.Port{Netns: farm.Path()}); ; {
		for i, name := range names {
			p.Name = name
			if err := s.Add(p); err != nil {
				return err
			}
			h := lab.Host{Name: name, NS: farm, Interface: name}
			if err := h.Send(numbered(frame.Broadcast, frame.MAC{2, 0xc0, name[1], name[2], 0, byte(i)}, 0)); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := s.Remove(name); err != nil {
				return err
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

// reconfigure changes ports back and forth, until stop.
func reconfigure(s *vswitch.Switch, names []string, stop <-chan struct{}) error {
	for i := 0; ; i++ {
		for _, name := range names {
			err := s.Set(name, func(p config.Port) (config.Port, error) {
				p.Flood, p.Learning, p.Isolated = new(i%2 == 0), new(i%3 == 0), config.Group(i%4)
				p.MTU, p.Up = 1400+i%100, new(i%10 != 0)
				return p, nil
			})
			if err != nil {
				return err
			}
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
}

func scrape(s *vswitch.Switch, stop <-chan struct{}) error {
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(metrics.NewCollector(s, metrics.Build{}))
	for pace := time.NewTicker(10 * time.Millisecond); ; {
		if _, err := reg.Gather(); err != nil {
			return err
		}
		select {
		case <-stop:
			pace.Stop()
			return nil
		case <-pace.C:
		}
	}
}

// unbalanced says what is wrong with the books of a switch at rest.
func unbalanced(s *vswitch.Switch) (err error) {
	sum := s.Departed()
	for _, p := range s.Ports() {
		if in := p.Stats.Relayed + p.Stats.DroppedAt(frame.Ingress); in != p.Stats.Receive.Frames {
			err = errors.Join(err, fmt.Errorf("port %s received %d, relayed and dropped %d", p.Config.Name, p.Stats.Receive.Frames, in))
		}
		sum.Add(p.Stats)
	}
	if in := sum.Relayed + sum.DroppedAt(frame.Ingress); in != sum.Receive.Frames {
		err = errors.Join(err, fmt.Errorf("%d frames received, %d relayed or dropped", sum.Receive.Frames, in))
	}
	if out := sum.Transmit.Frames + sum.DroppedAt(frame.Egress); out != sum.Copies {
		err = errors.Join(err, fmt.Errorf("%d copies made, %d transmitted or dropped", sum.Copies, out))
	}
	return err
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTrafficDoesNotNoticeThatPortsComeAndGo(t *testing.T) {
	nettest.Need(t)
	s := newSwitch(t)
	hosts, addrs := make([]*netns.NS, 3), make([]netip.Addr, 3)
	for i := range hosts {
		addrs[i] = netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)})
		hosts[i] = plugged(t, s, config.Port{Name: fmt.Sprint("host", i), IP: []netip.Prefix{netip.PrefixFrom(addrs[i], 24)}})
	}
	x := nettest.NewStation(t, plugged(t, s, config.Port{Name: "x"}), "eth0")
	y := nettest.NewStation(t, plugged(t, s, config.Port{Name: "y"}), "eth0")
	xMAC, yMAC := frame.MAC{2, 0xaa, 0, 0, 0, 1}, frame.MAC{2, 0xaa, 0, 0, 0, 2}
	y.From = xMAC[:]
	if err := y.Send(numbered(frame.Broadcast, yMAC, 0)); err != nil {
		t.Fatal(err)
	}

	plugged(t, s, config.Port{Name: "r0"})
	plugged(t, s, config.Port{Name: "r1"})

	traffic := newCrew(t)
	for i := range hosts {
		j := (i + 1) % len(hosts)
		c, d := dial(t, hosts[i], hosts[j], addrs[j])
		for _, st := range []*stream{{from: c, to: d, seed: [32]byte{byte(i)}}, {from: d, to: c, seed: [32]byte{byte(i), 1}}} {
			traffic.start("TCP write", func() error { return st.write(traffic.stop) })
			traffic.start("TCP read", st.read)
		}
	}
	seq := &sequence{from: x, to: y, src: xMAC, dst: yMAC}
	traffic.start("send in sequence", func() error { return seq.send(traffic.stop) })
	traffic.start("receive in sequence", seq.receive)

	farm := nettest.New(t)
	names := make([][]string, 6)
	for i := 4; i <= 50; i++ {
		names[i%6] = append(names[i%6], fmt.Sprintf("p%02d", i))
	}
	// What is made at first use is not a leak.
	over := make(chan struct{})
	close(over)
	if err := errors.Join(churn(t, s, farm, []string{"p99"}, over), scrape(s, over)); err != nil {
		t.Fatal(err)
	}
	fds, goroutines := descriptors(t), runtime.NumGoroutine()

	work := newCrew(t)
	for _, n := range names {
		work.start("churn", func() error { return churn(t, s, farm, n, work.stop) })
	}
	work.start("reconfigure", func() error { return reconfigure(s, []string{"r0", "r1"}, work.stop) })
	work.start("scrape", func() error { return scrape(s, work.stop) })
	time.Sleep(*churnTime)
	work.end()
	eventually(t, func() error {
		if f, g := descriptors(t), runtime.NumGoroutine(); f > fds || g > goroutines {
			return fmt.Errorf("%d descriptors and %d goroutines, %d and %d before ports came and went", f, g, fds, goroutines)
		}
		return nil
	})
	traffic.end()
	eventually(t, func() error { return unbalanced(s) })

	entries, err := s.FDB(vswitch.FDBFilter{})
	for _, e := range entries {
		if !slices.Contains([]string{"host0", "host1", "host2", "x", "y", "r0", "r1"}, e.Port) {
			t.Errorf("the FDB holds %+v of a removed port", e)
		}
	}
	if n := len(s.Ports()); err != nil || n != 7 {
		t.Errorf("%d ports are left, want 7; error %v", n, err)
	}
	t.Logf("%d frames from ports that are gone, %d in sequence", s.Departed().Receive.Frames, seq.sent.Load())
}

// The FDB is bounded, and who floods it displaces none but his own.
func TestRandomSourcesDoNotDisplaceAKnownPair(t *testing.T) {
	s, cables := newSwitch(t), map[string]*porttest.Cable{}
	for _, name := range []string{"a", "b", "third", "flooder"} {
		cables[name] = porttest.NewCable(256)
		if err := s.Attach(config.Port{Name: name}, cables[name], port.Link{MTU: 1500, Up: true}); err != nil {
			t.Fatal(err)
		}
	}
	a, b, mine := frame.MAC{2, 0, 0, 0, 0, 1}, frame.MAC{2, 0, 0, 0, 0, 2}, frame.MAC{2, 0, 0, 0, 0, 3}
	sent := map[string]uint64{}
	send := func(name string, f []byte) {
		sent[name]++
		cables[name].Send(f)
	}
	settled := func() {
		t.Helper()
		eventually(t, func() error {
			for _, p := range s.Ports() {
				if n := p.Stats.Receive.Frames; n != sent[p.Config.Name] {
					return fmt.Errorf("port %s received %d of %d frames", p.Config.Name, n, sent[p.Config.Name])
				}
			}
			return nil
		})
	}
	send("a", numbered(frame.Broadcast, a, 0))
	send("b", numbered(frame.Broadcast, b, 0))
	send("flooder", numbered(frame.Broadcast, mine, 0))
	settled()
	for range 100_000 {
		source := frame.MACFromUint64(rand.Uint64())
		source[0] = source[0]&^1 | 4 // of a station, but of none of the three
		send("flooder", numbered(mine, source, 0))
	}
	settled()
	stats, _ := s.FDBStats()
	if stats.Dynamic > stats.Capacity || stats.Refused == 0 {
		t.Errorf("the FDB holds %d of %d addresses and refused %d", stats.Dynamic, stats.Capacity, stats.Refused)
	}
	for _, c := range cables {
		c.Taken()
	}
	for i := range uint32(100) {
		send("a", numbered(b, a, i))
		send("b", numbered(a, b, i))
	}
	settled()
	for name, want := range map[string]int{"a": 100, "b": 100, "third": 0, "flooder": 0} {
		if got := len(cables[name].Taken()); got != want {
			t.Errorf("port %s sent %d frames, want %d", name, got, want)
		}
	}
	if err := unbalanced(s); err != nil {
		t.Error(err)
	}
}
