package bridge

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// made is a bridge with a port, a persistent TAP that nobody has open.
func made(set func(b *bridge, p *link)) *bridge {
	p := &link{index: 2, master: 1, name: "tap0", kind: "tun", mtu: 1500, txqlen: 1000, up: true, port: attrs{}}
	p.data = attrs{nl.IFLA_TUN_PERSIST: {1}, nl.IFLA_TUN_TYPE: {unix.IFF_TAP}}
	b := &bridge{link: link{index: 1, name: "br0", kind: "bridge", mtu: 1500, txqlen: 1000, up: true, data: attrs{nl.IFLA_BR_STP_STATE: u32(1)}}}
	b.ports = []*link{p}
	set(b, p)
	return b
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

func TestSettingsOfABridgeAndTheirNotes(t *testing.T) {
	aware := func(b *bridge) { b.data[nl.IFLA_BR_VLAN_FILTERING] = []byte{1} }
	for name, c := range map[string]struct {
		set   func(b *bridge, p *link)
		yaml  string // a line
		notes string
	}{
		"no VLAN filtering":          {func(*bridge, *link) {}, "vlan_aware: false", ""},
		"STP off relays BPDUs":       {func(b *bridge, _ *link) { delete(b.data, nl.IFLA_BR_STP_STATE) }, "forward_reserved: [stp]", "relays BPDUs"},
		"STP on":                     {func(*bridge, *link) {}, "", "stp_state is on"},
		"ageing below the least":     {func(b *bridge, _ *link) { b.data[nl.IFLA_BR_AGEING_TIME] = u32(500) }, "  ageing: 10", "5 seconds"},
		"ageing above the most":      {func(b *bridge, _ *link) { b.data[nl.IFLA_BR_AGEING_TIME] = u32(4e9) }, "  ageing: 1000000", "nearest"},
		"ageing 0 is a hub":          {func(b *bridge, _ *link) { b.data[nl.IFLA_BR_AGEING_TIME] = u32(0) }, "  limit: 0", "learns nothing"},
		"fdb_max_learned":            {func(b *bridge, _ *link) { b.data[brFDBMaxLearned] = u32(20000) }, "  capacity: 20000", ""},
		"S-tags":                     {func(b *bridge, _ *link) { aware(b); b.data[nl.IFLA_BR_VLAN_PROTOCOL] = []byte{0x88, 0xa8} }, "", "802.1ad"},
		"C-tags":                     {func(b *bridge, _ *link) { aware(b); b.data[nl.IFLA_BR_VLAN_PROTOCOL] = []byte{0x81, 0} }, "vlan_aware: true", ""},
		"MST":                        {func(b *bridge, _ *link) { b.data[brMultiBoolopt] = append(u32(4), u32(7)...) }, "", "mst_enabled"},
		"group address":              {func(b *bridge, _ *link) { b.data[nl.IFLA_BR_GROUP_ADDR] = []byte{1, 0x80, 0xc2, 0, 0, 4} }, "", "01:80:c2:00:00:04"},
		"no addresses, no port":      {func(*bridge, *link) {}, "", "br0 has no addresses"},
		"blocking":                   {state(4, "", true), "    state: discarding", ""},
		"listening":                  {state(1, "", true), "    state: discarding", ""},
		"learning":                   {state(2, "", true), "    state: learning", ""},
		"disabled by hand":           {state(0, "veth", true), "    kind: netdev\n    state: discarding\n", ""},
		"disabled for want of links": {state(0, "", false), "  - name: tap0\n    adopt: true\n", ""},
		"NIC":                        {func(_ *bridge, p *link) { p.kind = "" }, "  - name: tap0\n    kind: netdev\n", ""},
		"vxlan":                      {func(_ *bridge, p *link) { p.kind = "vxlan" }, "  - name: tap0\n    kind: netdev\n", ""},
		"TAP of a VMM":               {func(_ *bridge, p *link) { p.carrier = true }, "  - name: tap0\n    kind: netdev\n", ""},
		"veth":                       {func(_ *bridge, p *link) { p.kind = "veth" }, "  - name: tap0\n    kind: netdev\n", "without the veth pair"},
		"TUN":                        {func(_ *bridge, p *link) { p.data[nl.IFLA_TUN_TYPE] = []byte{unix.IFF_TUN} }, "  # - name: tap0", "no Ethernet"},
		"txqlen that no port has":    {func(_ *bridge, p *link) { p.txqlen = 0 }, "  - name: tap0", "txqlen is 0"},
		"MTU that no port has":       {func(_ *bridge, p *link) { p.mtu = 65535 }, "  - name: tap0", "MTU is 65535"},
		"address that no port has":   {func(b *bridge, _ *link) { b.addrs = []address{{}} }, "  # - name: br0", "not an address"},
	} {
		b := made(c.set)
		i, text := imported(t, b)
		if !strings.Contains(text, c.yaml) || !strings.Contains(fmt.Sprint(i.Notes), c.notes) {
			t.Errorf("%s: no %q with %q in\n%s", name, c.yaml, c.notes, text)
		}
		for _, n := range i.Notes {
			if !strings.Contains(text, "# "+strings.SplitN(n.Text, "\n", 2)[0]) {
				t.Errorf("%s: the note %q is not in\n%s", name, n.Text, text)
			}
		}
	}
}

// state makes the port be in it, with STP off.
func state(n uint8, kind string, linked bool) func(b *bridge, p *link) {
	return func(b *bridge, p *link) {
		b.data[nl.IFLA_BR_STP_STATE] = u32(0)
		p.port[nl.IFLA_BRPORT_STATE] = []byte{n}
		if kind != "" {
			p.kind, p.carrier = kind, linked
		}
	}
}

func TestEveryFlagWithoutEquivalentIsNoted(t *testing.T) {
	b := made(func(b *bridge, p *link) {
		for _, o := range bridgeOptions {
			b.data[o.attr] = u32(1)
		}
		for _, o := range portOptions {
			p.port[o.attr] = []byte{byte(o.usual + 1)}
		}
	})
	i, _ := imported(t, b)
	for _, o := range bridgeOptions {
		if !slices.Contains(i.Notes, Note{"", o.text}) {
			t.Errorf("nothing says %q", o.text)
		}
	}
	for _, o := range portOptions {
		if !slices.Contains(i.Notes, Note{"tap0", o.text}) {
			t.Errorf("nothing says %q", o.text)
		}
	}
}

func TestPermanentEntriesAreTheHostsAndOthersTheirPorts(t *testing.T) {
	neighbour := func(link uint32, state uint16, last byte, vid uint16) []byte {
		msg := append([]byte{unix.AF_BRIDGE, 0, 0, 0}, u32(link)...)
		msg = append(binary.NativeEndian.AppendUint16(msg, state), 0, 0)
		for _, a := range []*nl.RtAttr{
			nl.NewRtAttr(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, last}),
			nl.NewRtAttr(unix.NDA_VLAN, nl.Uint16Attr(vid)), nl.NewRtAttr(ndaMaster, u32(1)),
		} {
			msg = append(msg, a.Serialize()...)
		}
		return msg
	}
	const learned = 0x04 // NUD_STALE
	b := made(func(b *bridge, p *link) {
		p.mac, p.data[nl.IFLA_TUN_TYPE] = frame.MAC{2, 0, 0, 0, 0, 9}, []byte{unix.IFF_TUN}
	})
	msgs := [][]byte{
		neighbour(2, unix.NUD_NOARP, 1, 0),     // static
		neighbour(2, unix.NUD_NOARP, 2, 10),    // not looked up without VLAN filtering
		neighbour(2, learned, 3, 0),            // not static
		neighbour(2, unix.NUD_PERMANENT, 9, 0), // the port's own
		neighbour(1, unix.NUD_PERMANENT, 4, 0), // the host's
	}
	if err := b.decodeFDB(msgs); err != nil {
		t.Fatal(err)
	}
	i, text := imported(t, b)
	if len(i.Config.FDB.Static) != 0 || len(i.LeftOut.Static) != 1 || i.LeftOut.Static[0].Port != "tap0" ||
		!strings.Contains(text, "\n  # static:\n  #   - mac: \"02:00:00:00:00:01\"\n") || !strings.Contains(text, "02:00:00:00:00:04 is the host's") {
		t.Errorf("%+v\n%s", i.LeftOut, text)
	}
}

func TestNamesOfLinksBecomeNamesOfPorts(t *testing.T) {
	links := []string{"a-b", "a\"b", "a\tb", "default", ".x", "fünf-zwölf", "\xff\xfe#", "p", "-", "p-", "0123456789abcde", "#123456789abcde", "true", "1e3"}
	want := []string{"br0", "a-b", "a-b-2", "a-b-3", "pdefault", "p.x", "f--nf-zw--lf", "p---", "p", "p--2", "p-", "0123456789abcde", "p-123456789abcd", "true", "1e3"}
	b := made(func(b *bridge, p *link) {
		b.ports = nil
		for i, name := range links {
			l := *p
			l.name, l.index = name, 2+i
			b.ports = append(b.ports, &l)
		}
	})
	names := b.portNames()
	for i, name := range want {
		if names[1+i] != name {
			t.Errorf("port %d is called %q, want %q", i, names[1+i], name)
		}
	}
	i, text := imported(t, b)
	if n := len(i.Config.Ports) + len(i.LeftOut.Ports); n != len(links) || !strings.Contains(text, `# the link is called "a\"b", which`) {
		t.Errorf("%d ports in\n%s", n, text)
	}
}
