package port

import (
	"errors"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

type report struct {
	tap *TAP
	l   Link
	err error
}

type reports chan report

// watching starts a Monitor whose reports are kept.
func watching(t *testing.T, taps ...*TAP) (*Monitor, reports) {
	t.Helper()
	nettest.Need(t)
	c := make(reports, 10_000)
	m, err := NewMonitor(func(tap *TAP, l Link, err error) { c <- report{tap, l, err} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	for _, tap := range taps {
		m.Add(tap)
	}
	return m, c
}

// until returns the first report that is as wanted; what came before is
// dropped.
func (c reports) until(t *testing.T, what string, wanted func(report) bool) report {
	t.Helper()
	for {
		select {
		case r := <-c:
			if wanted(r) {
				return r
			}
		case <-time.After(patience):
			t.Fatal("no report: " + what)
		}
	}
}

func (c reports) next(t *testing.T) report {
	t.Helper()
	return c.until(t, "the next", func(report) bool { return true })
}

func within(t *testing.T, ns *netns.NS, ifname string, set func(netlink.Link) error) {
	t.Helper()
	do := func() error { ipLink(t, ifname, set); return nil }
	if ns == nil {
		_ = do()
	} else if err := ns.Do(do); err != nil {
		t.Fatal(err)
	}
}

func TestMonitorReportsChanges(t *testing.T) {
	there := nettest.New(t)
	for name, ns := range map[string]*netns.NS{"own namespace": nil, "other namespace": there} {
		t.Run(name, func(t *testing.T) {
			cfg := named("watch0")
			if ns != nil {
				cfg.Netns = ns.Path()
			}
			tap := open(t, cfg)
			m, c := watching(t, tap)
			first := c.next(t)
			if first.tap != tap || first.l != linkOf(t, tap) || !first.l.Up || first.err != nil {
				t.Errorf("%+v", first)
			}

			within(t, ns, "watch0", netlink.LinkSetDown)
			c.until(t, "down", func(r report) bool { return !r.l.AdminUp && !r.l.Up })
			within(t, ns, "watch0", netlink.LinkSetUp)
			c.until(t, "up", func(r report) bool { return r.l.AdminUp && r.l.Up })
			within(t, ns, "watch0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1280) })
			c.until(t, "mtu", func(r report) bool { return r.l.MTU == 1280 })
			within(t, ns, "watch0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, stationMAC[:]) })
			c.until(t, "MAC", func(r report) bool { return r.l.MAC == stationMAC })
			within(t, ns, "watch0", func(l netlink.Link) error { return netlink.LinkSetName(l, "renamed0") })
			c.until(t, "name", func(r report) bool { return r.l.Ifname == "renamed0" })
			within(t, ns, "renamed0", netlinkDel)
			if r := c.until(t, "gone", func(r report) bool { return r.err != nil }); r.err != ErrGone || r.tap != tap {
				t.Errorf("%+v", r)
			}
			if n := m.Resyncs(); n != 0 {
				t.Errorf("%d resyncs", n)
			}
			if len(m.watched) != 0 {
				t.Error("a TAP that is gone is still watched")
			}
		})
	}
}

func TestMonitorFollowsAMove(t *testing.T) {
	a, b := nettest.New(t), nettest.New(t)
	tap := open(t, named("move0"))
	_, c := watching(t, tap)
	if r := c.next(t); r.l.NSID != OwnNSID {
		t.Errorf("%+v", r)
	}
	last := OwnNSID
	from := (*netns.NS)(nil)
	for _, to := range []*netns.NS{a, b} {
		fd, err := unix.Open(to.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		within(t, from, "move0", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, fd) })
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
		r := c.until(t, "moved", func(r report) bool { return r.l.NSID != last })
		if r.err != nil || r.l.Ifname != "move0" {
			t.Errorf("%+v", r)
		}
		last = r.l.NSID
		within(t, to, "move0", netlink.LinkSetUp)
		c.until(t, "up after the move", func(r report) bool { return r.l.Up && r.l.NSID == last })
		from = to
	}
}

// A network namespace that ends takes its ids away first, so that no event of
// its links arrives: the end itself must be noticed.
func TestMonitorReportsTheEndOfANamespace(t *testing.T) {
	ns := nettest.New(t)
	cfg := named("eth0")
	cfg.Netns = ns.Path()
	tap := open(t, cfg)
	bystander := open(t, named("by0"))
	_, c := watching(t, tap, bystander)
	c.next(t)
	c.next(t)
	ns.Close()
	if r := c.next(t); r.tap != tap || r.err != ErrGone {
		t.Errorf("%+v", r)
	}
	within(t, nil, "by0", netlink.LinkSetDown)
	c.until(t, "down of another", func(r report) bool {
		if r.tap != bystander || r.err != nil {
			t.Errorf("%+v", r)
		}
		return !r.l.Up
	})
}

func TestMonitorReportsTheEndOfAContainer(t *testing.T) {
	cmd := container(t)
	cfg := named("eth0")
	cfg.Netns = pidOf(cmd)
	tap := open(t, cfg)
	_, c := watching(t, tap)
	c.next(t)
	kill(cmd)
	if r := c.next(t); r.err != ErrGone {
		t.Errorf("%+v", r)
	}
}

// Two links may have the same index in two namespaces.
func TestMonitorTellsNamespacesApart(t *testing.T) {
	a, b := nettest.New(t), nettest.New(t)
	cfg := named("eth0")
	cfg.Netns = a.Path()
	inA := open(t, cfg)
	cfg.Netns = b.Path()
	inB := open(t, cfg)
	b = renumbered(t, b, linkOf(t, inA).Index)
	_, c := watching(t, inA, inB)
	c.next(t)
	c.next(t)
	if linkOf(t, inA).Index != linkOf(t, inB).Index {
		t.Fatal("the links have different indices")
	}
	for mtu := 1400; mtu < 1410; mtu++ {
		within(t, a, "eth0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, mtu) })
		c.until(t, "mtu in a", func(r report) bool {
			if r.tap != inA {
				t.Errorf("%+v, although nothing happened in its namespace", r)
			}
			return r.l.MTU == mtu
		})
	}
	within(t, b, "eth0", netlink.LinkSetDown)
	c.until(t, "down in b", func(r report) bool { return r.tap == inB && !r.l.Up })
}

// renumbered moves eth0 from a namespace to a new one, where it is up and has the
// index.
func renumbered(t *testing.T, from *netns.NS, index int) (to *netns.NS) {
	t.Helper()
	to = nettest.New(t)
	fd, err := unix.Open(to.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	within(t, from, "eth0", func(l netlink.Link) error {
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(l.Attrs().Index)
		req.AddData(msg)
		req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(fd))))
		req.AddData(nl.NewRtAttr(unix.IFLA_NEW_IFINDEX, nl.Uint32Attr(uint32(index))))
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
	within(t, to, "eth0", netlink.LinkSetUp)
	return to
}

func TestMonitorRemoveEndsReports(t *testing.T) {
	tap, other := open(t, named("rem0")), open(t, named("rem1"))
	m, c := watching(t, tap, other)
	c.next(t)
	c.next(t)
	m.Remove(tap)
	within(t, nil, "rem0", netlink.LinkSetDown)
	within(t, nil, "rem1", netlink.LinkSetDown)
	onlyOther := func(up bool) func(report) bool {
		return func(r report) bool {
			if r.tap != other {
				t.Errorf("%+v", r)
			}
			return r.l.Up == up
		}
	}
	c.until(t, "other down", onlyOther(false))
	m.Add(tap)
	c.until(t, "added again", func(r report) bool { return r.tap == tap && !r.l.Up })
	// A closed TAP is its owner's business.
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	within(t, nil, "rem1", netlink.LinkSetUp)
	c.until(t, "other up", onlyOther(true))
}

func TestMonitorReportMayUseTheMonitor(t *testing.T) {
	tap := open(t, named("self0"))
	started, got := make(chan *Monitor, 1), make(chan error, 1)
	m, err := NewMonitor(func(tap *TAP, _ Link, _ error) {
		m := <-started
		m.Remove(tap)
		got <- nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Add(tap)
	started <- m
	<-got
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// After lost events every link is read anew.
func TestMonitorResyncsAfterOverrun(t *testing.T) {
	quiet, noisy := open(t, named("quiet0")), open(t, named("noisy0"))
	resume, c := make(chan bool), make(reports, 10_000)
	m, err := NewMonitor(func(tap *TAP, l Link, err error) {
		c <- report{tap, l, err}
		<-resume
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	if err := errors.Join(m.conn.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1)
	}), err); err != nil {
		t.Fatal(err)
	}
	m.Add(quiet)
	c.next(t)
	resume <- true
	m.Add(noisy)
	c.next(t)
	// The Monitor is held in its report: nobody reads.
	for i := range 100 {
		within(t, nil, "noisy0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1000+i) })
	}
	within(t, nil, "quiet0", netlink.LinkSetDown)
	close(resume)
	for seen := 0; seen != 3; {
		switch r := c.next(t); {
		case r.tap == quiet && !r.l.Up:
			seen |= 1
		case r.tap == noisy && r.l.MTU == 1099:
			seen |= 2
		}
	}
	if m.Resyncs() == 0 {
		t.Error("no resync was counted")
	}
}

// At the time of the look a link that went down may be up again.
func TestMonitorReportsThatALinkWasDown(t *testing.T) {
	there := nettest.New(t)
	tap, other := open(t, named("flap0")), open(t, named("other0"))
	resume, c := make(chan bool), make(reports, 10_000)
	m, err := NewMonitor(func(tap *TAP, l Link, err error) {
		c <- report{tap, l, err}
		<-resume
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(resume); _ = m.Close() })
	of := func(tap *TAP, what string, up bool) {
		t.Helper()
		if r := c.next(t); r.tap != tap || r.l.Up != up || r.err != nil {
			t.Fatalf("%s: %+v", what, r)
		}
	}
	m.Add(tap)
	of(tap, "the first", true)
	// Of the time before the first report nothing is told.
	within(t, nil, "flap0", netlink.LinkSetDown)
	within(t, nil, "flap0", netlink.LinkSetUp)
	resume <- true
	of(tap, "up", true)
	resume <- true
	m.Add(other)
	of(other, "the first", true)
	within(t, nil, "flap0", netlink.LinkSetDown)
	within(t, nil, "flap0", netlink.LinkSetUp)
	resume <- true
	of(tap, "was down", false)
	resume <- true
	of(tap, "up again", true)

	resume <- true
	within(t, nil, "other0", func(l netlink.Link) error { return netlink.LinkSetMTU(l, 1400) })
	of(other, "mtu", true)
	fd, err := unix.Open(there.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	within(t, nil, "flap0", func(l netlink.Link) error { return netlink.LinkSetNsFd(l, fd) })
	within(t, there, "flap0", netlink.LinkSetUp)
	resume <- true
	of(tap, "was down for the move", false)
	resume <- true
	if of(tap, "up there", true); linkOf(t, tap).NSID == OwnNSID {
		t.Error("not moved")
	}
}

// A state that cannot be read is tried again, and holds up no other.
func TestMonitorRetries(t *testing.T) {
	tap := wrapped(t, someFile(t)) // not a TAP: every question fails
	real := open(t, named("real0"))
	m, c := watching(t, tap)
	if r := c.next(t); r.tap != tap || r.err == nil || errors.Is(r.err, ErrGone) {
		t.Errorf("%+v", r)
	}
	m.Add(real)
	c.until(t, "of another", func(r report) bool { return r.tap == real && r.err == nil })
	c.until(t, "the next try", func(r report) bool { return r.tap == tap && r.err != nil })
}

func TestMonitorCloseEndsReports(t *testing.T) {
	tap := open(t, named("end0"))
	m, c := watching(t, tap)
	c.next(t)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	m.Add(tap) // harmless
	m.Remove(tap)
	select {
	case <-m.done:
	default:
		t.Error("Close returned before the last report")
	}
}

// What is not from the kernel or makes no sense must not be believed.
func TestEventsAreChecked(t *testing.T) {
	kernel, process := &unix.SockaddrNetlink{}, &unix.SockaddrNetlink{Pid: 1}
	events := map[linkKey]bool{}
	if !note(events, []byte("junk of another process"), nil, process) || len(events) != 0 {
		t.Error(events)
	}
	header := func(n byte, kind uint16) []byte {
		return []byte{n, 0, 0, 0, byte(kind), byte(kind >> 8), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	}
	for _, bad := range [][]byte{
		header(200, unix.RTM_NEWLINK),
		header(16, unix.RTM_NEWLINK),
		append(header(20, unix.RTM_DELLINK), 0, 0, 0, 0),
		header(16, unix.RTM_DELNSID),
		append(header(28, unix.RTM_DELNSID), 0, 0, 0, 0, 99, 0, 1, 0, 0, 0, 0, 0),
	} {
		if note(events, bad, nil, kernel) || len(events) != 0 {
			t.Errorf("%x: taken, %v", bad, events)
		}
	}
	if note(events, nil, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, kernel) {
		t.Error("a broken control message was taken")
	}
}
