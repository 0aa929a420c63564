package vswitch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// filters loads the host's ingress with n filters that match nothing, through
// all of which the kernel takes each frame that is written to the port.
func (h host) filters(t *testing.T, n int) {
	t.Helper()
	h.set(t, func(l netlink.Link) error {
		index := l.Attrs().Index
		ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}}
		err := netlink.QdiscAdd(ingress)
		for i := 0; i < n && err == nil; i++ {
			err = netlink.FilterAdd(&netlink.U32{
				FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
				Sel: &netlink.TcU32Sel{Nkeys: 1, Flags: netlink.TC_U32_TERMINAL, Keys: []netlink.TcU32Key{
					{Mask: 0xffffffff, Val: 0xdead0000 + uint32(i), Off: 4},
				}},
				ClassId: netlink.MakeHandle(0xffff, 1),
			})
		}
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			nettest.Lack(t, "the kernel has no ingress qdisc or no u32 filters")
		}
		if err != nil {
			return fmt.Errorf("load filters: %w", err)
		}
		return nil
	})
}

func (h host) noFilters(t *testing.T) {
	t.Helper()
	h.set(t, func(l netlink.Link) error {
		return netlink.QdiscDel(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}})
	})
}

// A station that makes writes dear gets a queue of its own, which fills and drops
// its own frames; another one behind the same worker loses none. Once it is cheap
// again it is treated like any.
func TestDearPortIsContainedAndLetOut(t *testing.T) {
	s := realSwitch(t, false)
	events := s.Watch(EventFilter{Types: []EventType{TypePort}})
	defer events.Close()
	dear, other := plugHost(t, s, config.Port{Name: "dear"}), plugHost(t, s, config.Port{Name: "other"})
	in := porttest.NewCable(1024)
	if err := s.Attach(config.Port{Name: "in"}, in, port.Link{MTU: 1500, Up: true}); err != nil {
		t.Fatal(err)
	}
	toDear, toOther := eth(sta(1), sta(3), 0x88, 0xb5), eth(sta(2), sta(3), 0x88, 0xb5)
	if err := errors.Join(s.AddFDB(sta(1), 0, "dear"), s.AddFDB(sta(2), 0, "other")); err != nil {
		t.Fatal(err)
	}
	happened := func(kind EventKind) bool {
		buf := make([]Event, 16)
		n, _, _ := events.take(buf)
		for _, e := range buf[:n] {
			if e.Kind == kind && e.Port == "dear" {
				return true
			}
		}
		return false
	}
	dear.filters(t, 10_000)
	eventually(t, "containment", func() bool {
		for range 200 {
			in.Send(toDear)
		}
		return happened(PortContained)
	})

	other.From = []byte{2, 0, 0, 0, 0, 3}
	for n := range uint32(500) {
		for range 20 {
			in.Send(toDear)
		}
		binary.BigEndian.PutUint32(toOther[16:], n)
		in.Send(toOther)
		got, err := other.Recv(5 * time.Second)
		if err != nil || binary.BigEndian.Uint32(got[16:]) != n {
			t.Fatalf("frame %d: got % x, %v", n, got, err)
		}
	}
	eventually(t, "a full queue", func() bool {
		for range 500 {
			in.Send(toDear)
		}
		p, _, err := s.Port("dear")
		return err == nil && p.Contained && p.Containments == 1 && p.Stats.Dropped[frame.DropQueueFull] > 0
	})

	dear.noFilters(t)
	for begin := time.Now(); !happened(PortReleased); time.Sleep(time.Millisecond) {
		for range 40 {
			in.Send(toDear)
		}
		if time.Since(begin) > time.Minute {
			t.Fatal("it is contained for good as long as there are frames for it")
		}
	}
	dear.From = []byte{2, 0, 0, 0, 0, 4}
	last := eth(sta(1), sta(4), 0x88, 0xb5)
	eventually(t, "a frame", func() bool { // What came before may fill its socket.
		in.Send(last)
		got, err := dear.Recv(100 * time.Millisecond)
		return err == nil && bytes.HasPrefix(got, last)
	})
	p, _, err := s.Port("dear")
	if err != nil || p.Contained || p.QueueLost != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	r := &rig{TB: t, Switch: s}
	r.balanced()
}

func TestContainedPortIsRemoved(t *testing.T) {
	s := realSwitch(t, false)
	dear := plugHost(t, s, config.Port{Name: "dear"})
	dear.filters(t, 10_000)
	in := porttest.NewCable(1024)
	if err := s.Attach(config.Port{Name: "in"}, in, port.Link{MTU: 1500, Up: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "containment", func() bool {
		for range 200 {
			in.Send(eth(sta(1), sta(3), 0x88, 0xb5))
		}
		p, _, err := s.Port("dear")
		return err == nil && p.Contained
	})
	if err := s.Remove("dear"); err != nil {
		t.Error(err)
	}
	r := &rig{TB: t, Switch: s}
	r.balanced()
}
