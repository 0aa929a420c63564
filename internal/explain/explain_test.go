package explain

import (
	"encoding/hex"
	"strings"
	"testing"
)

// Addresses of all frames here: from 02:00:00:00:00:01 to everybody.
const (
	addresses = "ffffffffffff 020000000001"
	told0     = "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff"
)

// Headers, to put frames together from.
const (
	arpRequest = "0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
	arpReply   = "0806 0001 0800 06 04 0002 020000000001 0a000001 020000000002 0a000002"
	ip6        = "86dd 60000000 %s %s 40 fe800000000000000000000000000001 ff020000000000000000000000000001"
	tcpSyn     = "04d2 0050 00000001 00000000 5002 ffff 0000 0000"
)

// ip4 returns the EtherType and header of a datagram.
func ip4(length, fragment, protocol string) string {
	return "0800 45 00 " + length + " 0001 " + fragment + " 40 " + protocol + " 0000 0a000001 0a000002"
}

func ip6Header(length, next string) string {
	return strings.Replace(strings.Replace(ip6, "%s", length, 1), "%s", next, 1)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var frames = map[string]struct{ frame, want string }{
	"ARP request":    {arpRequest, "ARP who-has 10.0.0.2 tell 10.0.0.1"},
	"ARP reply":      {arpReply + "000000000000", "ARP reply 10.0.0.1 is-at 02:00:00:00:00:01"},
	"ARP other":      {strings.Replace(arpReply, "04 0002", "04 0009", 1), "ARP operation 9"},
	"ARP of IPv6":    {"0806 0001 86dd 06 01 0001 020000000001 0a 000000000000 0a", "ARP not for IPv4 on Ethernet"},
	"ARP cut":        {"0806 0001 0800 06 04 0001 0200", "truncated ARP"},
	"ARP panic":      {"0806 0001 0800 ff 82 0001" + strings.Repeat("00", 300), "malformed ARP"},
	"C-TAG":          {"8100 6014" + arpRequest, "802.1Q VLAN 20 PCP 3, ARP who-has 10.0.0.2 tell 10.0.0.1"},
	"priority tag":   {"8100 f000 88b5 00", "802.1Q VLAN 0 PCP 7 DEI, EtherType 0x88b5, 1 bytes"},
	"S-TAG, C-TAG":   {"88a8 001e 8100 0014 88b5", "802.1ad VLAN 30 PCP 0, 802.1Q VLAN 20 PCP 0, EtherType 0x88b5, 0 bytes"},
	"tag cut":        {"8100 60", "truncated Dot1Q"},
	"tags only":      {strings.Repeat("8100 0001", 20), strings.Repeat("802.1Q VLAN 1 PCP 0, ", 7) + "more headers"},
	"unknown":        {"88b5 0102030405", "EtherType 0x88b5, 5 bytes"},
	"LLDP":           {"88cc 0207", "EtherType 0x88cc (LLDP), 2 bytes"},
	"spanning tree":  {"0003 424203 0000", "LLC DSAP 0x42 SSAP 0x42 (spanning tree), 3 bytes"},
	"tagged LLC":     {"8100 0014 0003 aaaa03 00", "802.1Q VLAN 20 PCP 0, LLC DSAP 0xaa SSAP 0xaa, 3 bytes"},
	"LLC cut":        {"0026 424203", "LLC DSAP 0x42 SSAP 0x42 (spanning tree), 3 bytes, truncated"},
	"LLC empty":      {"0000 0000", "LLC, 0 bytes"},
	"echo request":   {ip4("001c", "0000", "01") + "0800 0000 0007 0002 aabb", "IPv4 10.0.0.1 > 10.0.0.2, ICMP echo request id 7 seq 2, 0 bytes"},
	"echo reply":     {ip4("001d", "0000", "01") + "0000 0000 0007 0002 aabb", "IPv4 10.0.0.1 > 10.0.0.2, ICMP echo reply id 7 seq 2, 1 bytes"},
	"unreachable":    {ip4("001c", "0000", "01") + "0303 0000 0000 0000", "IPv4 10.0.0.1 > 10.0.0.2, ICMP DestinationUnreachable(Port), 0 bytes"},
	"TCP":            {ip4("002b", "4000", "06") + tcpSyn + "616263", "IPv4 10.0.0.1 > 10.0.0.2, TCP 1234 > 80 SYN, 3 bytes"},
	"TCP cut":        {ip4("002b", "4000", "06") + tcpSyn[:len("04d2 0050 00000001")], "IPv4 10.0.0.1 > 10.0.0.2, truncated TCP"},
	"TCP malformed":  {ip4("0028", "4000", "06") + strings.Replace(tcpSyn, "5002", "1002", 1), "IPv4 10.0.0.1 > 10.0.0.2, malformed TCP"},
	"UDP cut":        {ip4("0030", "0000", "11") + "0044 0043 001c 0000 01", "IPv4 10.0.0.1 > 10.0.0.2, UDP 68 > 67, 1 bytes, truncated"},
	"DNS left alone": {ip4("001d", "0000", "11") + "0035 0035 0009 0000 ff", "IPv4 10.0.0.1 > 10.0.0.2, UDP 53 > 53, 1 bytes"},
	"fragment":       {ip4("0016", "00b9", "11") + "0102", "IPv4 10.0.0.1 > 10.0.0.2, fragment at 1480, protocol 17, 2 bytes"},
	"GRE left alone": {ip4("0018", "0000", "2f") + "ffffffff", "IPv4 10.0.0.1 > 10.0.0.2, protocol 47, 4 bytes"},
	"IPv4 cut":       {"0800 4500", "truncated IPv4"},
	"IPv4 malformed": {strings.Replace(ip4("0014", "0000", "06"), "45", "41", 1), "malformed IPv4"},
	"IPv4, not 4":    {strings.Replace(ip4("0015", "0000", "fd"), "45", "65", 1) + "00", "IPv4 10.0.0.1 > 10.0.0.2, wrong version 6, protocol 253, 1 bytes"},
	"ICMPv6":         {ip6Header("0008", "3a") + "8500 0000 00000000", "IPv6 fe80::1 > ff02::1, ICMPv6 RouterSolicitation, 4 bytes"},
	"IPv6 other":     {ip6Header("0001", "fd") + "00", "IPv6 fe80::1 > ff02::1, next header 253, 1 bytes"},
	"IPv6 cut":       {"86dd 6000", "truncated IPv6"},
}

func TestFrameInWords(t *testing.T) {
	for name, tt := range frames {
		if got, want := Frame(unhex(t, addresses+tt.frame)), told0+", "+tt.want; got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestFrameTooShortForAddresses(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 13)} {
		if got := Frame(b); !strings.HasPrefix(got, "truncated frame, ") {
			t.Errorf("%d bytes: %q", len(b), got)
		}
	}
}

func TestFrameIsBounded(t *testing.T) {
	long := strings.ReplaceAll(ip6Header("ff00", "29"), "0000", "1111")
	b := unhex(t, addresses+long+strings.Repeat(long[len("86dd "):], 9))
	if got := Frame(b); len(got) != MaxLen || !strings.HasSuffix(got, "...") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte(nil))
	for _, tt := range frames {
		f.Add(unhex(f, addresses+tt.frame))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Frame(b)
		if len(got) == 0 || len(got) > MaxLen {
			t.Errorf("%d bytes in words", len(got))
		}
		for _, c := range []byte(got) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is not printable ASCII", got)
			}
		}
	})
}
