package lab

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// newPair returns two hosts on one cable.
func newPair(t *testing.T) (a, b *Host) {
	t.Helper()
	a = &Host{Name: "a", NS: nettest.New(t), Interface: "eth0", Addr: netip.MustParsePrefix("10.0.0.1/24")}
	b = &Host{Name: "b", Interface: "eth0", Addr: netip.MustParsePrefix("10.0.0.2/24")}
	if err := a.NS.Do(func() error { b.NS = nettest.Wire(t, a.Interface); return nil }); err != nil {
		t.Fatal(err)
	}
	configure(t, a)
	configure(t, b)
	return a, b
}

func configure(t *testing.T, h *Host) {
	t.Helper()
	err := h.NS.Do(func() error {
		link, err := netlink.LinkByName(h.Interface)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(h.Addr.String())
		if err != nil {
			return err
		}
		return errors.Join(netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPingAnswered(t *testing.T) {
	a, b := newPair(t)
	for _, p := range []struct {
		from *Host
		to   netip.Addr
	}{{a, b.Addr.Addr()}, {b, a.Addr.Addr()}} {
		if rtt, err := p.from.Ping(p.to, 5*time.Second); err != nil || rtt <= 0 {
			t.Errorf("%s to %s: %v, error %v", p.from.Name, p.to, rtt, err)
		}
	}
}

func TestPingOfNobodyTimesOut(t *testing.T) {
	a, _ := newPair(t)
	_, err := a.Ping(netip.MustParseAddr("10.0.0.3"), 10*time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "host a: ping 10.0.0.3 from eth0: no answer within 10ms") {
		t.Errorf("error %v", err)
	}
}

func TestPingNamesWhatIsWrong(t *testing.T) {
	h := &Host{Name: "h", NS: nettest.New(t), Interface: "eth0"}
	for dst, want := range map[string]string{
		"::1":      "not an IPv4 address",
		"10.0.0.1": "send: network is unreachable",
	} {
		if _, err := h.Ping(netip.MustParseAddr(dst), time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", dst, err, want)
		}
	}
}

func TestOnlyTheRightReplyAnswers(t *testing.T) {
	request := newRequest()
	reply := func(change func([]byte)) []byte {
		m := bytes.Clone(request)
		m[0], m[2], m[3] = icmpReply, 0, 0
		change(m)
		sum := checksum(m)
		m[2], m[3] = byte(sum>>8), byte(sum)
		return m
	}
	right := reply(func([]byte) {})
	if !answers(right, request) {
		t.Error("the reply is not taken")
	}
	badSum := bytes.Clone(right)
	badSum[2] ^= 1
	for name, m := range map[string][]byte{
		"request itself":   request,
		"other identifier": reply(func(m []byte) { m[4] ^= 1 }),
		"other sequence":   reply(func(m []byte) { m[7] ^= 1 }),
		"changed payload":  reply(func(m []byte) { m[63] ^= 1 }),
		"other code":       reply(func(m []byte) { m[1] = 1 }),
		"wrong checksum":   badSum,
		"shorter":          right[:62],
		"empty":            nil,
	} {
		if answers(m, request) {
			t.Errorf("%s is taken for the reply", name)
		}
	}
}

func TestSplitIPv4RefusesWhatIsCut(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 19), append([]byte{0x44}, make([]byte, 30)...), append([]byte{0x4f}, make([]byte, 30)...)} {
		if _, _, ok := splitIPv4(b); ok {
			t.Errorf("% x is taken for a datagram", b)
		}
	}
}
