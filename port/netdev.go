package port

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// netdev is what the kernel tells about a link, any link.
type netdev struct {
	Link
	alias     string
	linkGroup uint32
	kind      string // IFLA_INFO_KIND: "tun" for TUNs and TAPs, "" for a NIC
	ethernet  bool   // ARPHRD_ETHER: neither lo nor a TUN, a tunnel of IP or the like
	promisc   bool   // asked for by somebody, not only in force
	master    int    // index of the bridge, bond or the like that it belongs to; 0: none
	slaveKind string // IFLA_INFO_SLAVE_KIND: the master's kind
	genMode   int    // how IPv6 makes its addresses; -1: there is no IPv6 on the link

	// Of kind "tun" only.
	tap, persistent, multiQueue bool
	pi, vnetHdr                 bool // the flags of its last user
	queues                      int  // of its users, if it is a multi-queue TAP
	// attached says that somebody has it open: the last to close it takes the
	// carrier away (__tun_detach, drivers/net/tun.c).
	attached     bool
	owner, group int // -1: not set
}

// query asks for the link called name in the network namespace nsid; ENODEV if
// there is none. The kernel takes alternative names too: Ifname tells. It is one request over a socket of the own namespace: naming
// another by its id takes CAP_NET_ADMIN over that, but no entering it.
func query(nsid int, name string) (*netdev, error) {
	return ask(nsid, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// queryIndex is query for a link that is known by index.
func queryIndex(nsid, index int) (*netdev, error) {
	which := nl.NewIfInfomsg(unix.AF_UNSPEC)
	which.Index = int32(index)
	return ask(nsid, which)
}

// deleteLink deletes a link of the network namespace nsid.
func deleteLink(nsid, index int) error {
	which := nl.NewIfInfomsg(unix.AF_UNSPEC)
	which.Index = int32(index)
	_, err := linkRequest(unix.RTM_DELLINK, unix.NLM_F_ACK, nsid, which).Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func linkRequest(proto, flags, nsid int, which ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(proto, flags)
	for _, data := range which {
		req.AddData(data)
	}
	if nsid != OwnNSID {
		req.AddData(nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(nsid))))
	}
	return req
}

func ask(nsid int, which ...nl.NetlinkRequestData) (*netdev, error) {
	msgs, err := linkRequest(unix.RTM_GETLINK, 0, nsid, which...).Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	if len(msgs) != 1 || len(msgs[0]) < unix.SizeofIfInfomsg {
		return nil, unix.EBADMSG
	}
	d := newNetdev()
	d.NSID = nsid
	return d, d.decode(msgs[0])
}

func newNetdev() *netdev { return &netdev{owner: -1, group: -1, genMode: -1} }

// The offset of tx_dropped in struct rtnl_link_stats64 (linux/if_link.h).
const txDroppedOffset = 7 * 8

func (d *netdev) decode(m []byte) error {
	head := nl.DeserializeIfInfomsg(m)
	d.Index = int(head.Index)
	d.AdminUp = head.Flags&unix.IFF_UP != 0
	d.Up = isUp(head.Flags)
	d.ethernet = head.Type == unix.ARPHRD_ETHER
	d.promisc = head.Flags&unix.IFF_PROMISC != 0
	return eachAttr(m[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) error {
		switch kind {
		case unix.IFLA_IFNAME:
			d.Ifname = unix.ByteSliceToString(v)
		case unix.IFLA_ADDRESS:
			copy(d.MAC[:], v)
		case unix.IFLA_MTU:
			d.MTU = number(v)
		case unix.IFLA_TXQLEN:
			d.TxQLen = number(v)
		case unix.IFLA_IFALIAS:
			d.alias = unix.ByteSliceToString(v)
		case unix.IFLA_GROUP:
			d.linkGroup = uint32(number(v))
		case unix.IFLA_MASTER:
			d.master = number(v)
		case unix.IFLA_AF_SPEC:
			return eachAttr(v, d.decodeFamily)
		case unix.IFLA_CARRIER:
			d.attached = number(v) != 0
		case unix.IFLA_STATS64:
			if len(v) >= txDroppedOffset+8 {
				d.KernelDrops = binary.NativeEndian.Uint64(v[txDroppedOffset:])
			}
		case unix.IFLA_LINKINFO:
			return eachAttr(v, d.decodeInfo)
		}
		return nil
	})
}

// isUp tells whether frames pass a link with these flags of struct ifinfomsg.
func isUp(flags uint32) bool {
	const passes = unix.IFF_UP | unix.IFF_LOWER_UP
	return flags&passes == passes
}

func (d *netdev) decodeInfo(kind uint16, v []byte) error {
	switch {
	case kind == nl.IFLA_INFO_KIND:
		d.kind = unix.ByteSliceToString(v)
	case kind == nl.IFLA_INFO_SLAVE_KIND:
		d.slaveKind = unix.ByteSliceToString(v)
	case kind == nl.IFLA_INFO_DATA && d.kind == KindTUN:
		return eachAttr(v, d.decodeTUN)
	}
	return nil
}

func (d *netdev) decodeFamily(family uint16, v []byte) error {
	if family != unix.AF_INET6 {
		return nil
	}
	return eachAttr(v, func(kind uint16, v []byte) error {
		if kind == unix.IFLA_INET6_ADDR_GEN_MODE {
			d.genMode = number(v)
		}
		return nil
	})
}

func (d *netdev) decodeTUN(kind uint16, v []byte) error {
	switch kind {
	case nl.IFLA_TUN_TYPE:
		d.tap = number(v) == unix.IFF_TAP
	case nl.IFLA_TUN_PERSIST:
		d.persistent = number(v) != 0
	case nl.IFLA_TUN_MULTI_QUEUE:
		d.multiQueue = number(v) != 0
	case nl.IFLA_TUN_NUM_QUEUES:
		d.queues = number(v)
	case nl.IFLA_TUN_PI:
		d.pi = number(v) != 0
	case nl.IFLA_TUN_VNET_HDR:
		d.vnetHdr = number(v) != 0
	case nl.IFLA_TUN_OWNER:
		d.owner = number(v)
	case nl.IFLA_TUN_GROUP:
		d.group = number(v)
	}
	return nil
}

func eachAttr(b []byte, f func(kind uint16, v []byte) error) error {
	attrs, err := nl.ParseRouteAttr(b)
	for i := 0; i < len(attrs) && err == nil; i++ {
		err = f(attrs[i].Attr.Type&nl.NLA_TYPE_MASK, attrs[i].Value)
	}
	return err
}

// number reads an attribute of one or four bytes.
func number(v []byte) int {
	switch len(v) {
	case 1:
		return int(v[0])
	case 4:
		return int(binary.NativeEndian.Uint32(v))
	}
	return 0
}
