package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/explain"
)

var (
	askerMAC     = frame.MAC{2, 0, 0, 0, 0, 1}
	responderMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}
	asker4       = netip.MustParseAddr("10.0.0.1")
	asker6       = netip.MustParseAddr("fd00::1")
	responder4   = netip.MustParseAddr("10.0.0.254")
	responder6   = netip.MustParseAddr("fd00::12:34fe")
)

func newResponder(t testing.TB) *Responder {
	t.Helper()
	r := NewResponder(ResponderConfig{
		Name: "probe", MAC: &responderMAC, MTU: 1500,
		IP: []netip.Prefix{netip.PrefixFrom(responder4, 24), netip.PrefixFrom(responder6, 64)},
	})
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// eth puts addresses and a type in front of a body.
func eth(dst, src frame.MAC, typ uint16, body []byte) []byte {
	return slices.Concat(dst[:], src[:], binary.BigEndian.AppendUint16(nil, typ), body)
}

func arp(op byte, sha frame.MAC, spa, tpa netip.Addr) []byte {
	return slices.Concat([]byte{0, 1, 8, 0, 6, 4, 0, op}, sha[:], spa.AsSlice(), make([]byte, 6), tpa.AsSlice())
}

func ipv4(src, dst netip.Addr, change func(header []byte), icmp []byte) []byte {
	h := slices.Concat([]byte{0x45, 0x10, 0, byte(20 + len(icmp)), 7, 7, 0x40, 0, 3, 1, 0, 0}, src.AsSlice(), dst.AsSlice())
	change(h)
	putSum(h[10:], h)
	return append(h, icmp...)
}

func icmp4(kind, code byte) []byte {
	b := append([]byte{kind, code, 0, 0, 0, 9, 0, 1}, "payload"...)
	putSum(b[2:], b)
	return b
}

func ipv6(src, dst netip.Addr, hop byte, icmp []byte) []byte {
	b := slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(len(icmp)), 58, hop}, src.AsSlice(), dst.AsSlice(), icmp)
	putSum6(b)
	return b
}

func icmp6(kind, code byte) []byte { return append([]byte{kind, code, 0, 0, 0, 9, 0, 1}, "payload"...) }

func solicit(target netip.Addr, options ...byte) []byte {
	return slices.Concat([]byte{135, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice(), options)
}

func sourceMACOption() []byte { return append([]byte{1, 1}, askerMAC[:]...) }

func keep([]byte) {}

// groupMAC is the address that the solicited-node group of the responder has.
var groupMAC = frame.MAC{0x33, 0x33, 0xff, 0x12, 0x34, 0xfe}

// questions are those that have an answer, and what there is to say about it.
func questions() map[string]struct{ asked, want string } {
	ask := func(dst frame.MAC, typ uint16, body []byte) string { return string(eth(dst, askerMAC, typ, body)) }
	return map[string]struct{ asked, want string }{
		"ARP":         {ask(frame.Broadcast, 0x0806, arp(1, askerMAC, asker4, responder4)), "02:00:00:00:00:fe > 02:00:00:00:00:01, ARP reply 10.0.0.254 is-at 02:00:00:00:00:fe"},
		"ARP unicast": {ask(responderMAC, 0x0806, arp(1, askerMAC, asker4, responder4)), "02:00:00:00:00:fe > 02:00:00:00:00:01, ARP reply 10.0.0.254 is-at 02:00:00:00:00:fe"},
		"ARP probe":   {ask(frame.Broadcast, 0x0806, arp(1, askerMAC, netip.IPv4Unspecified(), responder4)), "ARP reply 10.0.0.254 is-at 02:00:00:00:00:fe"},
		"ping":        {ask(responderMAC, 0x0800, ipv4(asker4, responder4, keep, icmp4(8, 0))), "02:00:00:00:00:fe > 02:00:00:00:00:01, IPv4 10.0.0.254 > 10.0.0.1, ICMP echo reply id 9 seq 1, 7 bytes"},
		"ping padded": {ask(responderMAC, 0x0800, append(ipv4(asker4, responder4, keep, icmp4(8, 0)), make([]byte, 11)...)), "echo reply id 9 seq 1, 7 bytes"},
		"ping6":       {ask(responderMAC, 0x86dd, ipv6(asker6, responder6, 3, icmp6(128, 0))), "IPv6 fd00::12:34fe > fd00::1, ICMPv6 EchoReply"},
		"NS":          {ask(groupMAC, 0x86dd, ipv6(asker6, solicitedNode(responder6), 255, solicit(responder6, sourceMACOption()...))), "02:00:00:00:00:fe > 02:00:00:00:00:01, IPv6 fd00::12:34fe > fd00::1, ICMPv6 NeighborAdvertisement"},
		"NS unicast":  {ask(responderMAC, 0x86dd, ipv6(asker6, responder6, 255, solicit(responder6))), "IPv6 fd00::12:34fe > fd00::1, ICMPv6 NeighborAdvertisement"},
		"NS of DAD":   {ask(groupMAC, 0x86dd, ipv6(netip.IPv6Unspecified(), solicitedNode(responder6), 255, solicit(responder6))), "02:00:00:00:00:fe > 33:33:00:00:00:01, IPv6 fd00::12:34fe > ff02::1, ICMPv6 NeighborAdvertisement"},
	}
}

// answerTo returns what the station answers, or nothing.
func answerTo(r *Responder, asked []byte) []byte {
	to := make([]byte, frame.SlotLen)
	return to[:r.answer(to, asked)]
}

func TestResponderAnswersWhatItIsAsked(t *testing.T) {
	r := newResponder(t)
	for name, q := range questions() {
		got := answerTo(r, []byte(q.asked))
		if text := explain.Frame(got); !strings.Contains(text, q.want) {
			t.Errorf("%s: %s, want %s", name, text, q.want)
		}
		checkSums(t, name, got)
	}
}

func TestAnswersMayBeRouted(t *testing.T) {
	r := newResponder(t)
	if four, six := answerTo(r, []byte(questions()["ping"].asked)), answerTo(r, []byte(questions()["ping6"].asked)); four[14+8] != 64 || six[14+7] != 64 {
		t.Errorf("TTL %d, hop limit %d", four[14+8], six[14+7])
	}
}

// checkSums fails unless the checksums of the frame are right.
func checkSums(t *testing.T, name string, f []byte) {
	t.Helper()
	if len(f) < 14 {
		return
	}
	switch b := f[14:]; binary.BigEndian.Uint16(f[12:]) {
	case 0x0800:
		if frame.Sum(b[:20]) != 0xffff || frame.Sum(b[20:]) != 0xffff {
			t.Errorf("%s: a checksum of % x is wrong", name, f)
		}
	case 0x86dd:
		if sum6(b) != 0xffff {
			t.Errorf("%s: the checksum of % x is wrong", name, f)
		}
	}
}

func TestAdvertisementSaysWhoAnswersAndWhom(t *testing.T) {
	r := newResponder(t)
	option := append([]byte{2, 1}, responderMAC[:]...)
	for name, flags := range map[string]byte{"NS": 0x60, "NS unicast": 0x60, "NS of DAD": 0x20} {
		got := answerTo(r, []byte(questions()[name].asked))
		if len(got) != 14+40+32 || got[14+7] != 255 || got[14+40+4] != flags || !bytes.HasSuffix(got, slices.Concat(responder6.AsSlice(), option)) {
			t.Errorf("%s: % x", name, got)
		}
	}
}

func TestResponderAnswersWithTheTagOfTheQuestion(t *testing.T) {
	r := newResponder(t)
	tag := []byte{0x81, 0, 0xa0, 10}
	for name, q := range questions() {
		want := answerTo(r, []byte(q.asked))
		asked := []byte(q.asked[:12] + string(tag) + q.asked[12:])
		if got := answerTo(r, asked); !bytes.Equal(got, slices.Concat(want[:12], tag, want[12:])) {
			t.Errorf("%s: % x, untagged % x", name, got, want)
		}
	}
}

func TestResponderIsSilentToAllElse(t *testing.T) {
	r := newResponder(t)
	other4, other6 := netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::7")
	fromOther := func(change func(src *frame.MAC)) []byte {
		src := askerMAC
		change(&src)
		return eth(frame.Broadcast, src, 0x0806, arp(1, src, asker4, responder4))
	}
	ping4 := func(change func([]byte)) []byte {
		return eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, responder4, change, icmp4(8, 0)))
	}
	from4 := func(src string) []byte {
		return eth(responderMAC, askerMAC, 0x0800, ipv4(netip.MustParseAddr(src), responder4, keep, icmp4(8, 0)))
	}
	from6 := func(src string) []byte {
		return eth(responderMAC, askerMAC, 0x86dd, ipv6(netip.MustParseAddr(src), responder6, 64, icmp6(128, 0)))
	}
	ns := func(src, dst netip.Addr, hop byte, body []byte) []byte {
		return eth(groupMAC, askerMAC, 0x86dd, ipv6(src, dst, hop, body))
	}
	group, none := solicitedNode(responder6), netip.IPv6Unspecified()
	broken := func(f []byte) []byte { f[len(f)-1] ^= 1; return f }
	wrongSum := ping4(keep)
	wrongSum[14+10] ^= 1
	for name, asked := range map[string][]byte{
		"group source":              fromOther(func(m *frame.MAC) { m[0] |= 1 }),
		"broadcast source":          fromOther(func(m *frame.MAC) { *m = frame.Broadcast }),
		"zero source":               fromOther(func(m *frame.MAC) { *m = frame.MAC{} }),
		"its own question":          fromOther(func(m *frame.MAC) { *m = responderMAC }),
		"ARP for another":           eth(frame.Broadcast, askerMAC, 0x0806, arp(1, askerMAC, asker4, other4)),
		"ARP reply":                 eth(responderMAC, askerMAC, 0x0806, arp(2, askerMAC, asker4, responder4)),
		"ARP in another's name":     eth(frame.Broadcast, askerMAC, 0x0806, arp(1, frame.MAC{2, 0, 0, 0, 0, 9}, asker4, responder4)),
		"ARP to another":            eth(frame.MAC{2, 9}, askerMAC, 0x0806, arp(1, askerMAC, asker4, responder4)),
		"ping to a group":           eth(frame.Broadcast, askerMAC, 0x0800, ipv4(asker4, responder4, keep, icmp4(8, 0))),
		"ping of another":           eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, other4, keep, icmp4(8, 0))),
		"ping of the broadcast":     eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, netip.MustParseAddr("10.0.0.255"), keep, icmp4(8, 0))),
		"ping from itself":          from4("10.0.0.254"),
		"ping from the broadcast":   from4("10.0.0.255"),
		"ping from all ones":        from4("255.255.255.255"),
		"ping from a group":         from4("224.0.0.1"),
		"ping from nobody":          from4("0.0.0.0"),
		"ping from loopback":        from4("127.0.0.1"),
		"first fragment":            ping4(func(h []byte) { h[6] = 0x20 }),
		"last fragment":             ping4(func(h []byte) { h[6], h[7] = 0, 1 }),
		"options":                   ping4(func(h []byte) { h[0] = 0x46 }),
		"longer than the frame":     ping4(func(h []byte) { h[3]++ }),
		"shorter than IP":           ping4(func(h []byte) { h[3] = 19 }),
		"wrong IP checksum":         wrongSum,
		"echo with a code":          eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, responder4, keep, icmp4(8, 1))),
		"echo6 with a code":         eth(responderMAC, askerMAC, 0x86dd, ipv6(asker6, responder6, 64, icmp6(128, 1))),
		"echo reply":                eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, responder4, keep, icmp4(0, 0))),
		"timestamp":                 eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, responder4, keep, icmp4(13, 0))),
		"wrong ICMP checksum":       broken(ping4(keep)),
		"ping6 to a group":          eth(groupMAC, askerMAC, 0x86dd, ipv6(asker6, responder6, 64, icmp6(128, 0))),
		"ping6 of a group":          eth(responderMAC, askerMAC, 0x86dd, ipv6(asker6, netip.MustParseAddr("ff02::1"), 64, icmp6(128, 0))),
		"ping6 of another":          eth(responderMAC, askerMAC, 0x86dd, ipv6(asker6, other6, 64, icmp6(128, 0))),
		"ping6 from itself":         from6(responder6.String()),
		"ping6 from a group":        from6("ff02::1"),
		"ping6 from nobody":         from6("::"),
		"wrong ICMPv6 checksum":     broken(from6("fd00::1")),
		"echo6 reply":               eth(responderMAC, askerMAC, 0x86dd, ipv6(asker6, responder6, 64, icmp6(129, 0))),
		"NS through a router":       ns(asker6, group, 254, solicit(responder6)),
		"NS for another":            ns(asker6, solicitedNode(other6), 255, solicit(other6)),
		"NS to all nodes":           ns(asker6, allNodes, 255, solicit(responder6)),
		"NS from a group":           ns(allNodes, group, 255, solicit(responder6)),
		"NS from itself":            ns(responder6, group, 255, solicit(responder6)),
		"NS with an empty option":   ns(asker6, group, 255, solicit(responder6, 1, 0, 0, 0, 0, 0, 0, 0)),
		"NS with an option cut off": ns(asker6, group, 255, solicit(responder6, 1, 2, 0, 0, 0, 0, 0, 0)),
		"NS of DAD with an address": ns(none, group, 255, solicit(responder6, sourceMACOption()...)),
		"NS of DAD to one":          ns(none, responder6, 255, solicit(responder6)),
		"NS to a broadcast":         eth(frame.Broadcast, askerMAC, 0x86dd, ipv6(asker6, group, 255, solicit(responder6))),
		"NS cut short":              ns(asker6, group, 255, solicit(responder6)[:20]),
		"UDP":                       eth(responderMAC, askerMAC, 0x0800, ipv4(asker4, responder4, func(h []byte) { h[9] = 17 }, icmp4(8, 0))),
		"another type":              eth(responderMAC, askerMAC, 0x88b5, arp(1, askerMAC, asker4, responder4)),
	} {
		if got := answerTo(r, asked); len(got) != 0 {
			t.Errorf("%s: %s", name, explain.Frame(got))
		}
	}
	for name, q := range questions() {
		for n := range strings.TrimRight(q.asked, "\x00") {
			if got := answerTo(r, []byte(q.asked[:n])); len(got) != 0 {
				t.Errorf("%s, %d bytes of it: %s", name, n, explain.Frame(got))
			}
		}
	}
}

// offer gives the frame to the responder as the switch would.
func offer(r *Responder, frames ...string) (reasons []frame.DropReason) {
	out := make([]Out, len(frames))
	for i, b := range frames {
		f := &frame.Frame{Bytes: []byte(b)}
		f.Parse()
		out[i].Frame = f
	}
	r.Transmit(out)
	for _, o := range out {
		reasons = append(reasons, o.Reason)
	}
	return reasons
}

func TestResponderGivesItsAnswersToTheSwitchInOrder(t *testing.T) {
	r, b := newResponder(t), newBatch()
	all := questions()
	ping := all["ping"].asked
	ping = ping[:12] + "\x81\x00\xa0\x0a" + ping[12:]
	offer(r, all["ARP"].asked, ping, "not of its concern", all["ping6"].asked)
	if err := r.ReadBatch(b); err != nil || b.N != 3 {
		t.Fatalf("%d answers, %v", b.N, err)
	}
	for i, asked := range []string{all["ARP"].asked, ping, all["ping6"].asked} {
		if got := b.Live()[i].Bytes; !bytes.Equal(got, answerTo(r, []byte(asked))) {
			t.Errorf("answer %d: %s", i, explain.Frame(got))
		}
	}
}

func TestResponderDropsQuestionsThatFindItsQueueFull(t *testing.T) {
	r, b := newResponder(t), newBatch()
	all, taken := questions(), 0
	long := all["ping padded"].asked + strings.Repeat("\x00", 1300)
	for offer(r, long)[0] == frame.Keep {
		taken++
	}
	other := strings.Repeat("\x02", len(long))
	if got := offer(r, long, other); !slices.Equal(got, []frame.DropReason{frame.DropQueueFull, frame.Keep}) {
		t.Errorf("%v", got)
	}
	for answered := 0; answered < taken; answered += b.N {
		if err := r.ReadBatch(b); err != nil {
			t.Fatal(err)
		}
	}
	if got := offer(r, long); got[0] != frame.Keep {
		t.Errorf("once there is room again: %v", got)
	}
}

func TestCloseEndsAWaitingResponder(t *testing.T) {
	r, ended := newResponder(t), make(chan error)
	go func() { ended <- r.ReadBatch(newBatch()) }()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestResponderHasAnAddressOfItsOwn(t *testing.T) {
	mac := func(ip string) frame.MAC {
		link, _ := NewResponder(ResponderConfig{IP: []netip.Prefix{netip.MustParsePrefix(ip)}}).Link()
		return link.MAC
	}
	if a := mac("10.0.0.254/24"); a != mac("10.0.0.254/16") || a == mac("10.0.0.253/24") || a[0] != 2 {
		t.Errorf("%v", a)
	}
	r := newResponder(t)
	if err := r.SetLink(LinkChange{MAC: &askerMAC, MTU: new(9000)}); err != nil {
		t.Fatal(err)
	}
	if link, err := r.Link(); err != nil || link.MAC != askerMAC || link.MTU != 9000 || !link.Up {
		t.Errorf("%+v, %v", link, err)
	}
	if err := r.SetLink(LinkChange{Up: new(false)}); !errors.Is(err, ErrNotSupported) {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	for _, q := range questions() {
		f.Add([]byte(q.asked))
		f.Add([]byte(q.asked[:12] + "\x81\x00\xa0\x0a" + q.asked[12:]))
	}
	r := newResponder(f)
	const growth = optionMACLen // of an advertisement beyond its solicitation
	f.Fuzz(func(t *testing.T, asked []byte) {
		if len(asked) > frame.MaxTaggedLen {
			return
		}
		before := bytes.Clone(asked)
		got := answerTo(r, asked)
		if !bytes.Equal(asked, before) {
			t.Error("the question was changed")
		}
		if len(got) == 0 {
			return
		}
		dst, src, from := frame.MAC(got[:6]), frame.MAC(got[6:12]), frame.MAC(asked[6:12])
		if len(got) > len(asked)+growth || src != responderMAC || from.IsGroup() || dst != from && dst != allNodesMAC {
			t.Errorf("asked % x, answered % x", asked, got)
		}
		if len(answerTo(r, got)) != 0 {
			t.Errorf("it answers its own answer % x", got)
		}
	})
}
