package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/vswitchd/vswitchd/frame"
)

// Validate checks a port by itself, for a switch that is VLAN aware or not.
// Whether its names clash with those of other ports, only Config.Validate can
// tell. The error is Problems, all of them.
func (p Port) Validate(vlanAware bool) error { return p.problems(vlanAware).err() }

func (p *Port) problems(vlanAware bool) Problems {
	var ps Problems
	p.validateNames(&ps)
	p.validateDescription(&ps)
	p.validateMTU(&ps)
	switch k := p.kind(); k {
	case KindTAP:
		p.validateTAP(&ps)
		p.validateIP(&ps)
		p.validateGateway(&ps)
	case KindStream, KindDgram:
		p.validateSockets(&ps)
	case KindNetdev:
		p.validateNetdev(&ps)
	case KindResponder:
		p.validateResponder(&ps)
		p.validateIP(&ps)
	default:
		ps.add("kind", quote(k)+" is not a kind of port", "write "+KindTAP+", "+KindStream+", "+KindDgram+", "+KindNetdev+" or "+KindResponder+", or leave it out")
	}
	if vlanAware {
		p.validateVLANs(&ps)
	} else {
		p.refuseVLANs(&ps)
	}
	p.validateFlags(&ps)
	return ps
}

var portName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

func (p *Port) validateNames(ps *Problems) {
	switch {
	case p.Name == "":
		ps.add("name", "is missing", "give the port a name")
	case !portName.MatchString(p.Name):
		ps.add("name", quote(p.Name)+" is not a port name", fmt.Sprintf("write 1 to %d letters, digits, dots, hyphens and underscores, the first a letter or digit", MaxPortName))
	}
}

func (p *Port) validateDescription(ps *Problems) {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(p.Description) > MaxDescription || strings.ContainsFunc(p.Description, unprintable) {
		ps.add("description", "is longer than a line of text or is none", fmt.Sprintf("write at most %d bytes that can be printed", MaxDescription))
	}
}

// validIfname is the kernel's dev_valid_name (net/core/dev.c), less '%', which
// it takes for a template of names.
func validIfname(s string) bool {
	bad := func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("/:%", r) }
	return len(s) <= MaxIfname && s != "." && s != ".." && !strings.ContainsFunc(s, bad)
}

// minMTU6 is the smallest MTU of a link with IPv6, in bytes (RFC 8200 clause 5).
const minMTU6 = 1280

func (p *Port) validateMTU(ps *Problems) {
	if p.MTU != 0 && (p.MTU < frame.MinMTU || p.MTU > frame.MaxMTU) {
		ps.add("mtu", fmt.Sprintf("is %d", p.MTU), fmt.Sprintf("write %d to %d bytes", frame.MinMTU, frame.MaxMTU))
	}
	six := func(ip netip.Prefix) bool { return ip.Addr().Is6() }
	if p.MTU >= frame.MinMTU && p.MTU < minMTU6 && slices.ContainsFunc(p.IP, six) {
		ps.add("mtu", fmt.Sprintf("is %d, too small for the IPv6 address", p.MTU), fmt.Sprintf("write %d bytes or more", minMTU6))
	}
}

func (p *Port) validateTAP(ps *Problems) {
	if key := p.firstKey("listen", "dial"); key != "" {
		ps.add(key, "a TAP has no socket", "leave it out, or write kind: "+KindStream+" or "+KindDgram)
	}
	if p.Link != "" {
		ps.add("link", "a TAP has a link of its own, which ifname names", "leave it out, or write kind: "+KindNetdev)
	}
	p.validateIfname(ps, "ifname", p.Ifname)
	p.validateMAC(ps)
	if p.TxQLen < 0 || p.TxQLen > MaxTxQLen {
		ps.add("txqlen", fmt.Sprintf("is %d", p.TxQLen), fmt.Sprintf("write 1 to %d frames", MaxTxQLen))
	}
	if p.Persistent && p.Owner == "" {
		ps.add("persistent", "needs an owner: without one, any local user may open the TAP", "write owner: with the user who may open it")
	}
	if p.Persistent && p.Netns != "" {
		ps.add("persistent", "and netns exclude each other: the link would end with its namespace", "leave one of them out")
	}
	if p.Ephemeral && p.Netns == "" {
		ps.add("ephemeral", "needs a netns: the port goes with that namespace", "write netns: with the namespace of the container, or leave ephemeral out")
	}
	p.validateAdopt(ps)
}

func (p *Port) validateMAC(ps *Problems) {
	if p.MAC != nil && (p.MAC.IsGroup() || p.MAC.IsZero()) {
		ps.add("mac", p.MAC.String()+" is not the address of a station", "write a unicast address such as 02:00:5e:10:00:01, whose first octet is even")
	}
}

// validateIfname checks the key that names the link, which else is called as the
// port.
func (p *Port) validateIfname(ps *Problems, key, ifname string) {
	if ifname == "" && portName.MatchString(p.Name) && len(p.Name) > MaxIfname {
		ps.add("name", fmt.Sprintf("%s has %d bytes and would be the link's name too, for which Linux allows %d", p.Name, len(p.Name), MaxIfname), "write "+key+": with the name of the link, or a shorter name")
	}
	if ifname != "" && !validIfname(ifname) {
		ps.add(key, quote(ifname)+" is not a name that a link can have", fmt.Sprintf("write 1 to %d bytes without / : %% and spaces, and neither . nor ..", MaxIfname))
	}
}

// validateNetdev checks a port of somebody else's link.
func (p *Port) validateNetdev(ps *Problems) {
	if p.Ifname != "" {
		ps.add("ifname", "the link of a netdev is there already, and keeps its name", "write link: with its name")
	}
	p.refuse(ps, "the link of a netdev is somebody else's, of which only mtu and up can be set",
		"listen", "dial", "mac", "txqlen", "ip", "gateway", "persistent", "ephemeral", "adopt", "owner", "group")
	p.validateIfname(ps, "link", p.Link)
}

func (p *Port) validateAdopt(ps *Problems) {
	if !p.Adopt {
		return
	}
	if p.Netns != "" {
		ps.add("adopt", "and netns exclude each other: opening the TAP in that namespace would keep the namespace alive", "leave one of them out")
	}
	if key := p.firstKey("persistent", "owner", "group"); key != "" {
		ps.add(key, "an adopted TAP is persistent and stays with its owner and group", "leave it out, or leave out adopt")
	}
}

// ofALink are the keys that only a link of the kernel has.
var ofALink = []string{"link", "ifname", "netns", "gateway", "txqlen", "up", "persistent", "ephemeral", "adopt", "owner", "group", "offload", "coalesce"}

// refuse says of each of the keys that is set that the port cannot have it.
func (p *Port) refuse(ps *Problems, msg string, keys ...string) {
	for _, key := range keys {
		if p.firstKey(key) != "" {
			ps.add(key, msg, "leave it out")
		}
	}
}

// validateResponder checks a port that answers by itself.
func (p *Port) validateResponder(ps *Problems) {
	p.refuse(ps, "a responder is a station of the switch, not a link of the kernel", ofALink...)
	p.refuse(ps, "a responder has no socket", "listen", "dial")
	p.validateMAC(ps)
	if len(p.IP) == 0 {
		ps.add("ip", "is missing: a responder answers for its addresses", "write one such as 192.0.2.1/24")
	}
}

// validateSockets checks a port of a kind that is a unix socket.
func (p *Port) validateSockets(ps *Problems) {
	p.refuse(ps, "a "+p.Kind+" is a socket, not a link of the kernel", append([]string{"mac", "ip"}, ofALink...)...)
	switch {
	case p.Kind == KindStream && (p.Listen == "") == (p.Dial == ""):
		ps.add("listen", "a stream has one socket, either to listen at or to dial", "write listen: with the path of a socket to make, or dial: with the path of one to connect to")
	case p.Kind == KindDgram && (p.Listen == "" || p.Dial == ""):
		ps.add("listen", "a dgram has two sockets, its own and the station's", "write listen: with the path of a socket to make, and dial: with the path of the station's")
	case p.Listen == p.Dial:
		ps.add("dial", "is the port's own socket", "write the path of the station's")
	}
	validateSocket(ps, "listen", p.Listen)
	validateSocket(ps, "dial", p.Dial)
}

func (p *Port) validateIP(ps *Problems) {
	for i, ip := range p.IP {
		a, path := ip.Addr(), fmt.Sprintf("ip[%d]", i)
		hostBits := a.BitLen() - ip.Bits()
		switch {
		case !ip.IsValid():
			ps.add(path, "is not an address with its prefix length", "write one such as 192.0.2.1/24")
		case a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			ps.add(path, ip.String()+" cannot be the address of a link", "write a unicast address such as 192.0.2.1/24")
		case hostBits > 1 && ip.Masked() == ip:
			ps.add(path, ip.String()+" is the network, not an address in it", "write one such as "+netip.PrefixFrom(a.Next(), ip.Bits()).String())
		}
	}
}

func (p *Port) validateGateway(ps *Problems) {
	if len(p.Gateway) > 0 && p.Netns == "" {
		ps.add("gateway", "needs a netns: routes of the host are not the switch's", "leave it out, and add the route with ip route")
	}
	for i, g := range p.Gateway {
		path := fmt.Sprintf("gateway[%d]", i)
		sameFamily := func(other netip.Addr) bool { return other.Is4() == g.Is4() }
		switch {
		case slices.ContainsFunc(p.Gateway[:i], sameFamily):
			ps.add(path, g.String()+" is the second one of its family", "write one for IPv4 and one for IPv6 at most")
		case !g.IsLinkLocalUnicast() && !slices.ContainsFunc(p.IP, func(ip netip.Prefix) bool { return ip.Contains(g) }):
			ps.add(path, g.String()+" is in none of the networks of ip", "write the address of a neighbour, or the ip of its network")
		}
	}
}

// vlanForms are the three ways to give a port its VLANs; a port uses one.
var vlanForms = [...][]string{{"access"}, {"trunk", "native"}, {"pvid", "tagged", "untagged"}}

// firstKey returns the first of the keys that the port has set, if any.
func (p *Port) firstKey(keys ...string) string {
	v := reflect.ValueOf(p).Elem()
	for _, key := range keys {
		if !v.Field(fieldOfPort[key]).IsZero() {
			return key
		}
	}
	return ""
}

// fieldOfPort is indexOf a key of a port, of which every change of one among a
// thousand asks some thousands of times.
var fieldOfPort = func() map[string]int {
	fields := map[string]int{}
	for i, key := range jsonKeys(reflect.TypeFor[Port]()) {
		fields[key] = i
	}
	return fields
}()

func (p *Port) validateVLANs(ps *Problems) {
	used := ""
	for _, form := range vlanForms {
		key := p.firstKey(form...)
		if key != "" && used != "" {
			ps.add(key, "and "+used+" exclude each other", "write access: for one VLAN without tags, or trunk: and native:, or pvid:, tagged: and untagged:")
		}
		used = cmp.Or(used, key)
	}
	if used == "native" {
		ps.add("native", "needs a trunk", "write access: for one VLAN without tags, or trunk: as well")
	}
	if v := max(p.Access, p.Native, p.PVID); v > frame.VIDMax {
		ps.add(used, fmt.Sprintf("is %d", v), "write a VLAN from 1 to 4094")
	}
	if both := p.Tagged.intersect(p.Untagged); len(both) > 0 {
		ps.add("untagged", "VLANs "+both.String()+" are in tagged too", "write each VLAN in one of them")
	}
	switch p.FrameTypes {
	case "", FrameTypesAll, FrameTypesTagged, FrameTypesUntagged:
	default:
		ps.add("frame_types", "is "+quote(string(p.FrameTypes)), "write all, tagged or untagged")
	}
}

func (p *Port) refuseVLANs(ps *Problems) {
	for _, key := range slices.Concat(vlanForms[0], vlanForms[1], vlanForms[2], []string{"frame_types", "ingress_filtering"}) {
		if p.firstKey(key) != "" {
			ps.add(key, "the switch is not VLAN aware: it passes tags untouched and its ports have no VLANs", "leave it out, or write vlan_aware: true")
		}
	}
}

func (p *Port) validateFlags(ps *Problems) {
	switch p.Role {
	case "", RoleHost, RoleUplink:
	default:
		ps.add("role", "is "+quote(string(p.Role)), "write host or uplink")
	}
	switch p.State {
	case "", StateForwarding, StateLearning, StateDiscarding:
	default:
		ps.add("state", "is "+quote(string(p.State)), "write forwarding, learning or discarding")
	}
	if p.Limit != nil && *p.Limit < 0 {
		ps.add("limit", fmt.Sprintf("is %d", *p.Limit), "write the most addresses learned on the port, 0 or more; leave it out for no limit")
	}
}
