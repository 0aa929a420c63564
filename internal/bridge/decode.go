package bridge

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// bridge is a Linux bridge with what belongs to it.
type bridge struct {
	link
	ports  []*link // in the order of the kernel
	above  []*link // links that stand on the bridge, such as VLAN interfaces
	addrs  []address
	static []entry // what is not learned
}

// link is a bridge or one of its ports.
type link struct {
	index, master, below int
	name, kind           string // kind is IFLA_INFO_KIND, "" for a NIC
	mac                  frame.MAC
	mtu, txqlen          int
	up, carrier          bool
	data, port           attrs // of the kind, and of the bridge port

	pvid             frame.VID
	tagged, untagged config.VIDs
}

// address is one of the bridge device.
type address struct {
	netip.Prefix
	dynamic bool // It has a lifetime, from DHCP or a router advertisement.
}

// entry is one of the bridge's FDB.
type entry struct {
	config.StaticEntry
	link  int  // index of the link behind which the address is
	local bool // The bridge device itself gets the frames.
}

// attrs are the attributes of a message. Of several of one type it has the last.
type attrs map[uint16][]byte

func parse(b []byte) (attrs, error) {
	list, err := nl.ParseRouteAttr(b)
	all := make(attrs, len(list))
	for _, a := range list {
		all[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
	}
	return all, err
}

// number returns a number of one, two or four bytes, and fallback if the
// kernel gave none.
func (a attrs) number(attr uint16, fallback int) int {
	switch v := a[attr]; len(v) {
	case 1:
		return int(v[0])
	case 2:
		return int(binary.NativeEndian.Uint16(v))
	case 4:
		return int(binary.NativeEndian.Uint32(v))
	}
	return fallback
}

func (a attrs) mac(attr uint16) (m frame.MAC) {
	copy(m[:], a[attr])
	return m
}

// decode finds the bridge called name.
func (d *dumps) decode(name string) (*bridge, error) {
	links := map[int]*link{}
	b := &bridge{}
	var order []*link
	for _, msg := range d.Links {
		l, err := decodeLink(msg)
		if err != nil {
			return nil, err
		}
		links[l.index] = l
		order = append(order, l)
	}
	if i := slices.IndexFunc(order, func(l *link) bool { return l.name == name && l.kind == "bridge" }); i >= 0 {
		b.link = *order[i]
		links[b.index] = &b.link
	}
	if b.index == 0 {
		return nil, ErrNotBridge
	}
	for _, l := range order {
		switch {
		case l.master == b.index:
			b.ports = append(b.ports, l)
		case l.below == b.index && l.index != b.index:
			b.above = append(b.above, l)
		}
	}
	for _, msg := range d.VLANs {
		if err := decodeVLANs(msg, links); err != nil {
			return nil, err
		}
	}
	if err := b.decodeFDB(d.Neighbours); err != nil {
		return nil, err
	}
	return b, b.decodeAddresses(d.Addresses)
}

// split parts a message into its fixed head and its attributes.
func split(msg []byte, size int) ([]byte, attrs, error) {
	if len(msg) < size {
		return nil, nil, unix.EBADMSG
	}
	a, err := parse(msg[size:])
	return msg[:size], a, err
}

func decodeLink(msg []byte) (*link, error) {
	raw, a, err := split(msg, unix.SizeofIfInfomsg)
	if err != nil {
		return nil, err
	}
	info, err := parse(a[unix.IFLA_LINKINFO])
	if err != nil {
		return nil, err
	}
	head := nl.DeserializeIfInfomsg(raw)
	l := &link{
		index: int(head.Index), master: a.number(unix.IFLA_MASTER, 0),
		name: unix.ByteSliceToString(a[unix.IFLA_IFNAME]), kind: unix.ByteSliceToString(info[nl.IFLA_INFO_KIND]),
		mac: a.mac(unix.IFLA_ADDRESS), mtu: a.number(unix.IFLA_MTU, 0), txqlen: a.number(unix.IFLA_TXQLEN, 0),
		up: head.Flags&unix.IFF_UP != 0, carrier: a.number(unix.IFLA_CARRIER, 0) != 0,
	}
	// With it, the index is that of another network namespace.
	if _, elsewhere := a[unix.IFLA_LINK_NETNSID]; !elsewhere {
		l.below = a.number(unix.IFLA_LINK, 0)
	}
	if l.data, err = parse(info[nl.IFLA_INFO_DATA]); err != nil {
		return nil, err
	}
	l.port, err = parse(info[nl.IFLA_INFO_SLAVE_DATA])
	return l, err
}

// decodeVLANs gives a link its VLANs, which come as single ones and as the two
// ends of a range.
func decodeVLANs(msg []byte, links map[int]*link) error {
	raw, a, err := split(msg, unix.SizeofIfInfomsg)
	if err != nil {
		return err
	}
	l := links[int(nl.DeserializeIfInfomsg(raw).Index)]
	list, err := nl.ParseRouteAttr(a[unix.IFLA_AF_SPEC])
	if l == nil || err != nil {
		return err
	}
	first := uint16(0)
	for _, one := range list {
		if one.Attr.Type != nl.IFLA_BRIDGE_VLAN_INFO || len(one.Value) < nl.SizeofBridgeVlanInfo {
			continue
		}
		v := nl.DeserializeBridgeVlanInfo(one.Value)
		if v.Flags&nl.BRIDGE_VLAN_INFO_RANGE_END == 0 {
			first = v.Vid
		}
		if v.Flags&nl.BRIDGE_VLAN_INFO_RANGE_BEGIN == 0 {
			l.join(frame.VID(first), frame.VID(v.Vid), v.Flags)
		}
	}
	return nil
}

func (l *link) join(first, last frame.VID, flags uint16) {
	var vids []frame.VID
	for v := max(first, 1); v <= min(last, frame.VIDMax); v++ {
		vids = append(vids, v)
	}
	if flags&nl.BRIDGE_VLAN_INFO_PVID != 0 {
		l.pvid = last
	}
	set := &l.tagged
	if flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0 {
		set = &l.untagged
	}
	*set = set.Union(config.VIDsOf(vids...))
}

const (
	sizeofNdmsg = 12 // struct ndmsg (linux/neighbour.h): family, 3 bytes, ifindex, state, flags, type
	ndaMaster   = 9  // NDA_MASTER
)

// decodeFDB keeps the entries that are not learned and that the bridge looks
// up: without VLAN filtering those of VLAN 0, with it all others.
func (b *bridge) decodeFDB(msgs [][]byte) error {
	for _, msg := range msgs {
		head, a, err := split(msg, sizeofNdmsg)
		if err != nil {
			return err
		}
		vid := frame.VID(a.number(unix.NDA_VLAN, 0))
		if a.number(ndaMaster, 0) != b.index || (vid != 0) != b.aware() {
			continue
		}
		e := entry{StaticEntry: config.StaticEntry{MAC: a.mac(unix.NDA_LLADDR), VLAN: vid}}
		e.link = int(binary.NativeEndian.Uint32(head[4:]))
		state := binary.NativeEndian.Uint16(head[8:])
		e.local = state&unix.NUD_PERMANENT != 0
		if (e.local && !b.isOwn(e.MAC)) || state&unix.NUD_NOARP != 0 {
			b.static = append(b.static, e)
		}
	}
	return nil
}

// isOwn reports whether the kernel made the entry: for the address of the
// bridge or of one of its ports.
func (b *bridge) isOwn(m frame.MAC) bool {
	return m == b.mac || slices.ContainsFunc(b.ports, func(l *link) bool { return l.mac == m })
}

func (b *bridge) decodeAddresses(msgs [][]byte) error {
	for _, msg := range msgs {
		raw, a, err := split(msg, unix.SizeofIfAddrmsg)
		if err != nil {
			return err
		}
		head := nl.DeserializeIfAddrmsg(raw)
		if int(head.Index) != b.index || head.Scope == unix.RT_SCOPE_LINK {
			continue
		}
		v := a[unix.IFA_LOCAL]
		if v == nil { // IPv6 has it only with a peer.
			v = a[unix.IFA_ADDRESS]
		}
		ip, _ := netip.AddrFromSlice(v)
		flags := a.number(unix.IFA_FLAGS, int(head.Flags))
		b.addrs = append(b.addrs, address{netip.PrefixFrom(ip, int(head.Prefixlen)), flags&unix.IFA_F_PERMANENT == 0})
	}
	return nil
}

func (b *bridge) aware() bool { return b.data.number(nl.IFLA_BR_VLAN_FILTERING, 0) != 0 }
