// Package config is the switch's configuration: one type that the startup
// file, the control API and the switch share, read strictly and validated as a
// whole. Names of keys are iproute2's where it has one.
package config

import (
	"net"
	"net/netip"

	"github.com/vswitchd/vswitchd/frame"
)

// Defaults and limits. The ageing figures are 802.1Q table 8-6's.
const (
	DefaultAgeing   = 300       // seconds
	MinAgeing       = 10        // seconds; 0 means never
	MaxAgeing       = 1_000_000 // seconds
	DefaultCapacity = 16_384    // addresses
	MinCapacity     = 1_024     // addresses
	MaxCapacity     = 1_048_576 // addresses
	DefaultMTU      = 1500      // bytes
	DefaultTxQLen   = 1000      // frames
	MaxTxQLen       = 100_000   // frames
	MaxStatic       = 16_384    // static entries in a configuration
	MaxPortName     = 32        // bytes
	MaxIfname       = 15        // bytes, IFNAMSIZ-1 (linux/if.h)
	MaxSocketPath   = 107       // bytes, sun_path without its NUL (unix(7))
	MaxDescription  = 255       // bytes, as an alias of a link may have (IFALIASZ, linux/if.h)
	DefaultListen   = "127.0.0.1:9876"
	ListenNone      = "none"
)

// The kinds of ports, by what attaches the station.
const (
	KindTAP    = "tap"    // a TAP device
	KindStream = "stream" // a unix socket with the framing of QEMU's -netdev stream
	KindDgram  = "dgram"  // a unix datagram socket, a frame in each datagram, as QEMU's -netdev dgram

	KindNetdev = "netdev" // a link that somebody else owns

	KindResponder = "responder" // a station of the switch's own, which answers ARP, ND and ping
)

// Config is a whole configuration.
type Config struct {
	// VLANAware must be stated: true is an 802.1Q bridge, false a plain bridge
	// that passes tags untouched.
	VLANAware *bool `json:"vlan_aware,omitempty"`
	// ForwardReserved lists which of 01-80-C2-00-00-00..0F every port relays.
	ForwardReserved Reserved `json:"forward_reserved,omitempty"`
	FDB             FDB      `json:"fdb,omitzero"`
	Control         Control  `json:"control,omitzero"`
	Metrics         Metrics  `json:"metrics,omitzero"`
	// Nice is the scheduling priority of the daemon, -20 (first) to 19; nil is the
	// one it was started with, but -20 while it starves beside other processes.
	Nice  *int   `json:"nice,omitempty"`
	Ports []Port `json:"ports,omitempty"`
	// AutoAttach are rules that make ports of links as they appear. The first that
	// matches a link counts.
	AutoAttach []AutoAttach `json:"auto_attach,omitempty"`
}

// FDB configures the forwarding database.
type FDB struct {
	// Ageing is in seconds, 10 to 1,000,000, or 0 for never; nil is 300.
	Ageing *int `json:"ageing,omitempty"`
	// Capacity is the most addresses, learned and static together: 1,024 to
	// 1,048,576; 0 is 16,384. Fixed while the daemon runs.
	Capacity int `json:"capacity,omitempty"`
	// Limit is the most learned addresses; nil is only limited by Capacity.
	Limit *int `json:"limit,omitempty"`
	// Static are the entries that are not learned, at most MaxStatic.
	Static []StaticEntry `json:"static,omitempty"`
}

// StaticEntry is an FDB entry that neither moves nor ages: a station behind a
// port, or with Blackhole instead of Port one that gets no frames.
type StaticEntry struct {
	MAC frame.MAC `json:"mac"`
	// VLAN is 0 where the switch is not VLAN aware.
	VLAN      frame.VID `json:"vlan,omitempty"`
	Port      string    `json:"port,omitempty"`
	Blackhole bool      `json:"blackhole,omitempty"`
}

// Control configures the control socket.
type Control struct {
	// Socket is an absolute path; empty is the default for the user.
	Socket string `json:"socket,omitempty"`
	// Group may open the socket beside the daemon's user; a name or number.
	Group string `json:"group,omitempty"`
}

// Metrics configures the web listener.
type Metrics struct {
	// Listen is a host:port; empty is 127.0.0.1:9876 and "none" is no listener.
	Listen string `json:"listen,omitempty"`
	// WebConfig is the path of an exporter-toolkit file with TLS and users.
	WebConfig string `json:"web_config,omitempty"`
	// Page serves the page that shows the switch; nil: if Listen is a loopback
	// address.
	Page *bool `json:"page,omitempty"`
}

// ShowsPage reports whether the web listener serves the page. What a page shows,
// such as the addresses of the stations, is more than the metrics tell: beyond
// this machine nobody sees it unasked.
func (m Metrics) ShowsPage() bool {
	if m.Page != nil {
		return *m.Page
	}
	if m.Listen == "" {
		return true
	}
	host, _, _ := net.SplitHostPort(m.Listen)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Port is one switch port. The zero value of each field but Name is its default.
type Port struct {
	Name string `json:"name"`
	// Description is for people, and for programs to know their ports by: one line
	// of at most MaxDescription bytes.
	Description string `json:"description,omitempty"`
	// Kind is how the port is attached: "stream", "dgram", "netdev", "responder", or
	// "tap", also if empty.
	Kind string `json:"kind,omitempty"`
	// Listen and Dial are absolute paths of sockets: to make, and to connect to. A
	// stream has one of them, a dgram both, and of the link nothing but an MTU.
	Listen string `json:"listen,omitempty"`
	Dial   string `json:"dial,omitempty"`

	// Link is the name of the link that a netdev port takes; empty: the port's name.
	// Of it only MTU and Up can be set, and are put back when the port goes.
	Link string `json:"link,omitempty"`

	// The link behind the port.
	Ifname     string         `json:"ifname,omitempty"`     // name of the link; empty: the port's name
	Netns      string         `json:"netns,omitempty"`      // name, path, pid or PID@START of the namespace it is moved to, or is in
	MAC        *frame.MAC     `json:"mac,omitempty"`        // address of the link, the station's; nil: made by the kernel, or of a responder's first IP
	MTU        int            `json:"mtu,omitempty"`        // 0: 1500, or that of a link that was there
	TxQLen     int            `json:"txqlen,omitempty"`     // 0: 1000, or that of an adopted link; the switch's receive queue
	Up         *bool          `json:"up,omitempty"`         // nil: true
	IP         []netip.Prefix `json:"ip,omitempty"`         // addresses given to the link, or of the responder
	Gateway    []netip.Addr   `json:"gateway,omitempty"`    // next hops of the default routes in Netns, one of a family
	Persistent bool           `json:"persistent,omitempty"` // the link outlives the daemon; needs Owner
	// Ephemeral leaves the port to whoever made it for Netns, a container: it goes
	// with that namespace, is not written into the startup file, and stays when a
	// configuration is applied that does not name it.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// Adopt takes an existing persistent TAP, leaves what is not given here as it
	// is, but for Up, and leaves all as it was found when the port goes.
	Adopt bool   `json:"adopt,omitempty"`
	Owner string `json:"owner,omitempty"` // user that may open the TAP; a name or number
	Group string `json:"group,omitempty"` // group that may open the TAP; a name or number
	// Offload lets the link leave checksums and segmentation to whoever can do
	// them best, so that super-frames pass whole; nil: true.
	Offload *bool `json:"offload,omitempty"`
	// Coalesce joins datagrams of one flow that leave by the port in a row into one
	// super-frame, if it has Offload; nil: true.
	Coalesce *bool `json:"coalesce,omitempty"`

	// VLANs, short: Access alone, or Trunk with or without Native. A port without
	// any VLAN key is a member of no VLAN.
	Access frame.VID `json:"access,omitempty"`
	Trunk  VIDs      `json:"trunk,omitempty"`
	Native frame.VID `json:"native,omitempty"`
	// VLANs, long (802.1Q 12.10): instead of the short form.
	PVID             frame.VID  `json:"pvid,omitempty"`
	Tagged           VIDs       `json:"tagged,omitempty"`
	Untagged         VIDs       `json:"untagged,omitempty"`
	FrameTypes       FrameTypes `json:"frame_types,omitempty"`
	IngressFiltering *bool      `json:"ingress_filtering,omitempty"` // nil: true

	// Flags, as `bridge link` names them; nil is true.
	Learning   *bool `json:"learning,omitempty"`
	Flood      *bool `json:"flood,omitempty"`       // unknown unicast leaves by this port
	McastFlood *bool `json:"mcast_flood,omitempty"` // multicast leaves by this port
	BcastFlood *bool `json:"bcast_flood,omitempty"` // broadcast leaves by this port
	// Isolated is a split-horizon group, 1 to 255: frames do not pass between
	// ports of one group. 0 is none; true in a file means 1.
	Isolated Group `json:"isolated,omitempty"`
	// Locked admits only frames from the port's static FDB entries.
	Locked bool `json:"locked,omitempty"`
	// Role says what is behind the port; empty is host.
	Role  Role  `json:"role,omitempty"`
	State State `json:"state,omitempty"`
	// Limit is the most addresses learned on the port; nil is no limit of its own.
	Limit *int `json:"limit,omitempty"`
	// ForwardReserved adds to the switch's list for frames received here.
	ForwardReserved Reserved `json:"forward_reserved,omitempty"`
}

// FrameTypes is the acceptable frame types parameter (802.1Q 6.9).
type FrameTypes string

// The acceptable frame types. Empty follows from the VLANs: an access port
// admits untagged, a trunk without native VLAN tagged, any other port all.
const (
	FrameTypesAll      FrameTypes = "all"
	FrameTypesTagged   FrameTypes = "tagged"   // VLAN-tagged frames only
	FrameTypesUntagged FrameTypes = "untagged" // untagged and priority-tagged frames only
)

// Role says what is behind a port.
type Role string

// The roles.
const (
	RoleHost   Role = "host"   // stations of this switch
	RoleUplink Role = "uplink" // another network, as by a NIC; no frame passes from one uplink to another
)

// State is the port state (802.1Q 8.4). Empty is forwarding.
type State string

// The port states.
const (
	StateForwarding State = "forwarding"
	StateLearning   State = "learning"   // learns, does not forward
	StateDiscarding State = "discarding" // neither
)

// Group is a split-horizon group: 0 none, 1 to 255.
type Group uint8
