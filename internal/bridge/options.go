package bridge

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink/nl"

	"github.com/vswitchd/vswitchd/frame"
)

// Attributes of linux/if_link.h that package nl has no name for.
const (
	brVLANStatsPerPort      = 45
	brMultiBoolopt          = 46
	brFDBMaxLearned         = 49
	brportNeighVLANSuppress = 43
	brportBackupNHID        = 44
)

// option is a setting that has no equivalent, and the value that needs none.
type option struct {
	attr  uint16
	usual int
	text  string
}

var bridgeOptions = []option{
	{nl.IFLA_BR_STP_STATE, 0, "stp_state is on: there is no spanning tree here, BPDUs are dropped and a loop stays one"},
	{nl.IFLA_BR_MCAST_SNOOPING, 0, "mcast_snooping is on: multicast goes to every member here, and the MDB is left out"},
	{nl.IFLA_BR_MCAST_QUERIER, 0, "mcast_querier is on: there is none here"},
	{nl.IFLA_BR_VLAN_STATS_ENABLED, 0, "vlan_stats_enabled is on: counters are by port here, not by VLAN"},
	{brVLANStatsPerPort, 0, "vlan_stats_per_port is on: counters are by port here, not by VLAN"},
	{nl.IFLA_BR_NF_CALL_IPTABLES, 0, "nf_call_iptables is on: frames do not pass netfilter here"},
	{nl.IFLA_BR_NF_CALL_IP6TABLES, 0, "nf_call_ip6tables is on: frames do not pass netfilter here"},
	{nl.IFLA_BR_NF_CALL_ARPTABLES, 0, "nf_call_arptables is on: frames do not pass netfilter here"},
}

// booleans are the bits of struct br_boolopt_multi (linux/if_bridge.h).
var booleans = []string{
	"no_linklocal_learn is on: addresses are learned from reserved frames that are relayed",
	"mcast_vlan_snooping is on: multicast goes to every member here",
	"mst_enabled is on: there is no spanning tree here",
}

var portOptions = []option{
	{nl.IFLA_BRPORT_MODE, 0, "hairpin is on: no frame leaves by the port it came from here"},
	{nl.IFLA_BRPORT_GUARD, 0, "guard is on: there is no BPDU guard here"},
	{nl.IFLA_BRPORT_PROTECT, 0, "root_block is on: there is no spanning tree here"},
	{nl.IFLA_BRPORT_FAST_LEAVE, 0, "fastleave is on: there is no multicast snooping here"},
	{nl.IFLA_BRPORT_MULTICAST_ROUTER, 1, "mcast_router is set: there is no multicast snooping here"},
	{nl.IFLA_BRPORT_MCAST_TO_UCAST, 0, "mcast_to_unicast is on: multicast stays multicast here"},
	{nl.IFLA_BRPORT_MCAST_MAX_GROUPS, 0, "mcast_max_groups is set: there is no multicast snooping here"},
	{nl.IFLA_BRPORT_PROXYARP, 0, "proxy_arp is on: nobody is answered for here"},
	{nl.IFLA_BRPORT_PROXYARP_WIFI, 0, "proxy_arp_wifi is on: nobody is answered for here"},
	{nl.IFLA_BRPORT_NEIGH_SUPPRESS, 0, "neigh_suppress is on: nobody is answered for here"},
	{brportNeighVLANSuppress, 0, "neigh_vlan_suppress is on: nobody is answered for here"},
	{nl.IFLA_BRPORT_VLAN_TUNNEL, 0, "vlan_tunnel is on: there are no tunnels here"},
	{nl.IFLA_BRPORT_BACKUP_PORT, 0, "backup_port is set: a port has none here"},
	{brportBackupNHID, 0, "backup_nhid is set: a port has none here"},
	{nl.IFLA_BRPORT_LOCKED, 0, "locked is on: a dynamic entry admits nobody here, a static one does"},
	{nl.IFLA_BRPORT_MAB, 0, "mab is on: here no entries are made for those who may not send"},
}

func notesOn(options []option, a attrs) (notes []string) {
	for _, o := range options {
		if a.number(o.attr, o.usual) != o.usual {
			notes = append(notes, o.text)
		}
	}
	return notes
}

// notes says what of the bridge as a whole has no equivalent.
func (b *bridge) notes() []string {
	notes := notesOn(bridgeOptions, b.data)
	if v := b.data[brMultiBoolopt]; len(v) >= 4 { // optval, then optmask
		for i, text := range booleans {
			if binary.NativeEndian.Uint32(v)>>i&1 != 0 {
				notes = append(notes, text)
			}
		}
	}
	stp := frame.MAC{0x01, 0x80, 0xc2}
	if m := b.data.mac(nl.IFLA_BR_GROUP_ADDR); m != stp && !m.IsZero() {
		notes = append(notes, fmt.Sprintf("group_address is %v: here it is a multicast address as any other", m))
	}
	if !b.aware() {
		return notes
	}
	// The attribute is in network byte order.
	if v := b.data[nl.IFLA_BR_VLAN_PROTOCOL]; len(v) == 2 && binary.BigEndian.Uint16(v) != frame.TypeCTag {
		notes = append(notes, "vlan_protocol is 802.1ad: the VLANs here are those of C-tags, an S-tag passes as any other frame")
	}
	if pvid := b.data.number(nl.IFLA_BR_VLAN_DEFAULT_PVID, 0); pvid != 0 {
		notes = append(notes, fmt.Sprintf("vlan_default_pvid is %d: a port that is added later has no VLAN here unless it is given one", pvid))
	}
	return notes
}
