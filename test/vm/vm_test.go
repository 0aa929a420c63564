// Package vm boots virtual machines behind the ports of a vswitchd: QEMU, a
// Linux kernel of Debian's, and this test binary as its only program.
package vm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) {
	if os.Args[0] == "/init" {
		guest()
	}
	nettest.Main(m)
}

// attachments are the ways of a guest to the switch. SOCKET stands for a path.
var attachments = []struct {
	name   string
	port   string // flags of `vswitchctl port add`
	netdev string
	vid    int // of the guest's own VLAN interface; 0: it sends untagged
	mtu    int
}{
	{"StreamListens", "--kind stream --listen SOCKET --access 10", "stream,server=off,addr.type=unix,addr.path=SOCKET", 0, 1500},
	{"StreamDialsTrunkOfJumboFrames", "--kind stream --dial SOCKET --trunk 10,20 --mtu 9000", "stream,server=on,addr.type=unix,addr.path=SOCKET", 10, 9000},
}

// The addresses of the stations, all in VLAN 10.
var (
	hostAddr  = netip.MustParsePrefix("10.9.0.1/24")
	otherAddr = netip.MustParsePrefix("10.9.0.2/24")
	guestAddr = netip.MustParsePrefix("10.9.0.3/24")
)

// A guest gets through, is cut off in the middle of a transfer, which nobody
// else notices, and is back on its port when it is started again.
func TestGuest(t *testing.T) {
	nettest.Need(t)
	boot := newImage(t)
	d := newDaemon(t)
	host, other := d.station(t, "host", hostAddr), d.station(t, "other", otherAddr)
	for _, a := range attachments {
		t.Run(a.name, func(t *testing.T) {
			place := strings.NewReplacer("SOCKET", d.path(a.name))
			d.do(t, append([]string{"port", "add", "vm"}, strings.Fields(place.Replace(a.port))...)...)
			defer d.do(t, "port", "del", "vm")
			start := func() *Guest {
				g := boot.Boot(t, place.Replace(a.netdev))
				configure(g, a.vid, a.mtu)
				eventually(t, func() error { return d.linkIs(true, "vm") })
				g.Run("ping", hostAddr.Addr(), a.mtu)
				return g
			}

			g := start()
			transfer(t, g, host)
			killInTransfer(t, g, host, other)
			eventually(t, func() error { return errors.Join(d.linkIs(false, "vm"), d.unbalanced()) })

			start().End()
			eventually(t, func() error { return errors.Join(d.linkIs(false, "vm"), d.unbalanced()) })
		})
	}
}

// station adds a TAP in a namespace of its own.
func (d *daemon) station(t *testing.T, name string, addr netip.Prefix) lab.Host {
	t.Helper()
	ns := nettest.New(t)
	d.do(t, "port", "add", name, "--access", "10", "--netns", ns.Path(), "--ifname", "eth0", "--ip", addr.String(), "--mtu", "9000")
	return lab.Host{Name: name, NS: ns, Interface: "eth0", Addr: addr}
}

func configure(g *Guest, vid, mtu int) {
	g.t.Helper()
	if vid == 0 {
		g.Run("link", "eth0", mtu, guestAddr)
		return
	}
	g.Run("link", "eth0", mtu)
	g.Run("vlan", "eth0", vid)
	g.Run("link", fmt.Sprint("eth0.", vid), mtu, guestAddr)
}

// transfer moves 4 MiB each way at once and compares what was sent with what
// was received, by their SHA-256. No checksum was wrong at either end.
func transfer(t *testing.T, g *Guest, host lab.Host) {
	t.Helper()
	const size = 4 << 20
	l := listen(t, host.NS)
	sums := make(chan string, 1)
	go func() {
		conn, err := accept(l)
		if err != nil {
			sums <- err.Error()
			return
		}
		defer conn.Close()
		s, err := exchange(conn, size)
		sums <- fmt.Sprint(s, err)
	}()
	var sent, received string
	_, _ = fmt.Sscan(g.Run("exchange", l.Addr(), size), &sent, &received) // As exchange writes them.
	if got, want := <-sums, fmt.Sprint(received, " ", sent, error(nil)); got != want {
		t.Errorf("the host sent and received %s, the guest received and sent %s", got, want)
	}
	for name, text := range map[string]string{"guest": g.Run("read", "/proc/net/snmp"), "host": snmp(t, host.NS)} {
		if n := counter(t, text, "Tcp:", "InCsumErrors"); n != "0" {
			t.Errorf("%s: TcpInCsumErrors is %s, want 0", name, n)
		}
	}
}

// killInTransfer kills the guest while data flow both ways, and others talk.
func killInTransfer(t *testing.T, g *Guest, host, other lab.Host) {
	t.Helper()
	defer pinging(t, host, other)()
	l := listen(t, host.NS)
	const endless = 1 << 40
	if err := g.send("exchange", l.Addr(), endless); err != nil {
		t.Fatal(err)
	}
	conn, err := accept(l)
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = conn.ReadFrom(zeros{}) // It ends as the test closes the connection.
	}()
	_, err = io.CopyN(io.Discard, conn, 1<<20)
	g.Kill()
	_ = conn.SetLinger(0) // Nobody is left to acknowledge anything.
	_ = conn.Close()
	<-wrote
	if err != nil {
		t.Errorf("before the guest was killed: %v", err)
	}
}

// zeros is an endless Reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// pinging has one host ping another until the function that it returns is
// called. Each ping must be answered.
func pinging(t *testing.T, from, to lab.Host) (end func()) {
	t.Helper()
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		pace := time.NewTicker(10 * time.Millisecond)
		defer pace.Stop()
		for {
			_, err := from.Ping(to.Addr.Addr(), patience)
			if err != nil {
				result <- err
				return
			}
			select {
			case <-stop:
				result <- nil
				return
			case <-pace.C:
			}
		}
	}()
	return func() {
		t.Helper()
		close(stop)
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func listen(t *testing.T, ns *netns.NS) *net.TCPListener {
	t.Helper()
	var l *net.TCPListener
	err := ns.Do(func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(hostAddr.Addr(), 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func accept(l *net.TCPListener) (*net.TCPConn, error) {
	deadline := time.Now().Add(patience)
	if err := l.SetDeadline(deadline); err != nil {
		return nil, err
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(deadline)
}

func snmp(t *testing.T, ns *netns.NS) string {
	t.Helper()
	var text []byte
	err := ns.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// counter reads /proc/net/snmp: a line of names, then one of values.
func counter(t *testing.T, text, group, name string) string {
	t.Helper()
	var names []string
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] != group {
			continue
		}
		if names == nil {
			names = words
			continue
		}
		for i := range names {
			if names[i] == name {
				return words[i]
			}
		}
	}
	t.Fatalf("no %s %s in:\n%s", group, name, text)
	return ""
}
