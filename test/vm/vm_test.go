// Package vm boots virtual machines behind the ports of a vswitchd: QEMU, a
// Linux kernel of Debian's, and this test binary as its only program.
package vm

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/internal/lab"
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
	{"Dgram", "--kind dgram --listen SOCKET --dial SOCKET.vm --access 10", "dgram,local.type=unix,local.path=SOCKET.vm,remote.type=unix,remote.path=SOCKET", 0, 1500},
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
	d.do(t, "port", "add", name, "--access", "10", "--netns", ns.PID(), "--ifname", "eth0", "--ip", addr.String(), "--mtu", "9000")
	return lab.Host{Name: name, NS: ns, Interface: "eth0", Addr: addr}
}

func configure(g *Guest, vid, mtu int) {
	g.t.Helper()
	name := "eth0"
	if vid != 0 {
		g.Run("link", name, mtu)
		g.Run("vlan", name, vid)
		name += fmt.Sprint(".", vid)
	}
	g.Run("link", name, mtu, guestAddr)
}

// transfer moves 4 MiB each way at once and compares what was sent with what
// was received, by their SHA-256. No checksum was wrong at either end.
func transfer(t *testing.T, g *Guest, host lab.Host) {
	t.Helper()
	const size = 4 << 20
	conn := connect(t, g, host, size)
	sent, received, err := exchange(conn, size)
	its, itsErr := g.answer()
	if err := errors.Join(err, itsErr); err != nil || its != received+" "+sent {
		t.Errorf("the guest sent and received %s, the host received %s and sent %s; error %v", its, received, sent, err)
	}
	var snmp []byte
	err = host.NS.Do(func() (err error) {
		snmp, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	for name, text := range map[string]string{"guest": g.Run("read", "/proc/net/snmp"), "host": string(snmp)} {
		if n := inCsumErrors.FindStringSubmatch(text); err != nil || n == nil || n[1] != "0" {
			t.Errorf("%s: TcpInCsumErrors is %q, want 0; error %v", name, n, err)
		}
	}
}

// inCsumErrors finds the last counter of TCP in /proc/net/snmp.
var inCsumErrors = regexp.MustCompile(`(?m)^Tcp: .*InCsumErrors\nTcp: .* (\d+)$`)

// connect has the guest begin to exchange so many bytes, and returns the host's
// end of the connection.
func connect(t *testing.T, g *Guest, host lab.Host, size int64) *net.TCPConn {
	t.Helper()
	var l *net.TCPListener
	err := host.NS.Do(func() (err error) {
		l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(host.Addr.Addr(), 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	deadline := time.Now().Add(patience)
	if err := errors.Join(l.SetDeadline(deadline), g.send("exchange", l.Addr(), size)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	return conn
}

// killInTransfer kills the guest while data flow both ways, and others talk.
func killInTransfer(t *testing.T, g *Guest, host, other lab.Host) {
	t.Helper()
	defer pinging(t, host, other)()
	conn := connect(t, g, host, 1<<40)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = conn.ReadFrom(rand.NewChaCha8([32]byte{})) // It ends as conn is closed.
	}()
	_, err := io.CopyN(io.Discard, conn, 1<<20)
	g.Kill()
	_ = conn.SetLinger(0) // Nobody is left to acknowledge anything.
	_ = conn.Close()
	<-wrote
	if err != nil {
		t.Errorf("before the guest was killed: %v", err)
	}
}

// pinging has one host ping another until the function that it returns is
// called. Each ping must be answered.
func pinging(t *testing.T, from, to lab.Host) (end func()) {
	t.Helper()
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		for pace := time.NewTicker(10 * time.Millisecond); ; {
			if _, err := from.Ping(to.Addr.Addr(), patience); err != nil {
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
