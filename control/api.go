// Package control is the daemon's control interface: HTTP and JSON on a unix
// socket, the server over a vswitch.Switch and the Go client. Its JSON uses
// iproute2's key names where iproute2 has one. Directions are the switch's:
// receive is from the station.
//
//	GET    /v1/status
//	GET    /v1/ports                 POST /v1/ports              (a config.Port)
//	GET    /v1/ports/{name}          PATCH, DELETE /v1/ports/{name}
//	GET    /v1/fdb?port=&vlan=&mac=  POST /v1/fdb                (an FDBEntry)
//	DELETE /v1/fdb?mac=&vlan=        POST /v1/fdb/flush          (an FDBFlush)
//	GET    /v1/fdb/settings          PATCH /v1/fdb/settings      (an FDBSettings)
//	POST   /v1/trace                 (a TraceRequest)
//	GET    /v1/why?port=&reason=&mac=&vlan=
//	GET    /v1/stats                 GET /v1/events?type=&port=  (an Event a line, without end)
//	GET    /v1/config?startup=1      POST /v1/config/apply?confirm=SECONDS (a config.Config, YAML or JSON)
//	POST   /v1/config/confirm        POST /v1/config/save
//
// POST answers 201 with what was made, or 200 or 204 if nothing was, PATCH 200 with the whole of what was
// changed, DELETE 204, or 200 with a note. Bodies and parameters are read strictly: a key that does
// not exist is an error. An error is answered with a status code of its kind
// and an Error.
package control

import (
	"encoding/json"
	"errors"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// Limits of the server: a client that exceeds them is refused or cut off, and
// disturbs nobody else.
const (
	MaxRequest     = 1 << 20 // bytes of a request's body
	MaxConnections = 64      // at a time
	MaxStreams     = 16      // of events at a time
	MaxConfirm     = 86_400  // seconds that a configuration can be on trial
)

// Status is the answer to GET /v1/status.
type Status struct {
	Version   string  `json:"version"`
	PID       int     `json:"pid"`
	Uptime    float64 `json:"uptime"` // seconds
	VLANAware bool    `json:"vlan_aware"`
	Ports     int     `json:"ports"`
	PortsUp   int     `json:"ports_up"`
	FDB       FDBInfo `json:"fdb"`
	Resyncs   uint64  `json:"netlink_resyncs"`   // of all links, after lost events
	Metrics   string  `json:"metrics,omitempty"` // address of the web listener
	Config    string  `json:"config,omitempty"`  // path of the startup file
}

// FDBInfo are the FDB's figures.
type FDBInfo struct {
	Capacity  int    `json:"capacity"`
	Limit     *int   `json:"limit,omitempty"` // of learned addresses; absent: only capacity
	Ageing    int    `json:"ageing"`          // seconds, 0 for never
	Dynamic   int    `json:"dynamic"`
	Static    int    `json:"static"`
	Blackhole int    `json:"blackhole"`
	Learned   uint64 `json:"learned"`
	Moved     uint64 `json:"moved"`
	Aged      uint64 `json:"aged"`
	Evicted   uint64 `json:"evicted"`
	Refused   uint64 `json:"refused"`
	Flushed   uint64 `json:"flushed"`
}

// Port is one port with its link, state and VLANs.
type Port struct {
	Name    string `json:"name"`
	Index   int    `json:"index"` // of the port in the switch
	Kind    string `json:"kind"`
	Ifname  string `json:"ifname"` // as it is called now
	Ifindex int    `json:"ifindex"`
	Netns   string `json:"netns,omitempty"` // as configured
	// NSID is the id that the daemon's network namespace has for the one that the
	// link lives in now; absent if that is the daemon's own.
	NSID    *int         `json:"link_netnsid,omitempty"`
	MAC     frame.MAC    `json:"mac"` // of the link
	MTU     int          `json:"mtu"`
	TxQLen  int          `json:"txqlen"`
	Flags   []string     `json:"flags"`       // of the link: UP, LOWER_UP
	Up      bool         `json:"up"`          // carrier and administratively up
	State   config.State `json:"state"`       // in force
	Learned int          `json:"fdb_learned"` // addresses
	Config  config.Port  `json:"config"`      // every default filled in
	// Origin is the rule that made the port, such as "auto_attach[0]"; absent if
	// the port was configured.
	Origin string `json:"origin,omitempty"`
	// Device and Stats are there if one port was asked for, not in the list.
	Device *Device    `json:"device,omitempty"`
	Stats  *PortStats `json:"stats,omitempty"`
	// Socket is there if the port is one over a unix socket.
	Socket *Socket `json:"socket,omitempty"`
	// Contained is there if the port is contained or has been.
	Contained *Containment `json:"contained,omitempty"`
}

// Socket is what became of the connections of a port over a unix socket.
type Socket struct {
	Connected   bool              `json:"connected"`
	Connections uint64            `json:"connections"`       // ever made
	Refused     uint64            `json:"refused"`           // closed at once: another one was served
	Ended       map[string]uint64 `json:"ended,omitempty"`   // by reason
	Lost        uint64            `json:"lost"`              // frames that a connection took along as it ended
	TooLong     uint64            `json:"too_long"`          // datagrams longer than any frame, which were not received
	Failure     string            `json:"failure,omitempty"` // of the last try to connect
}

// Containment is what became of a port to which frames are dear to send.
type Containment struct {
	Now   bool   `json:"now"`
	Times uint64 `json:"times"`
	Lost  uint64 `json:"lost"` // frames that its queue took but the kernel did not
}

// Device is the TAP behind a port.
type Device struct {
	Ifname     string   `json:"ifname,omitempty"` // of the TAP's link, which for a netdev is not the port's
	Flags      []string `json:"tun_flags"`        // TUNGETIFF
	Features   []string `json:"tun_features"`     // TUNGETFEATURES: what the kernel offers
	VnetHdrLen int      `json:"vnet_hdr_len"`     // bytes
	Offloads   string   `json:"offloads"`         // agreed with the kernel, such as "csum tso4"
}

// Traffic counts one direction.
type Traffic struct {
	Frames    uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"`
	Multicast uint64 `json:"multicast"`
	Broadcast uint64 `json:"broadcast"`
	Dropped   uint64 `json:"dropped"`
}

// PortStats are a port's counters. Drops and floods by their names.
type PortStats struct {
	Name           string            `json:"name,omitempty"`
	Receive        Traffic           `json:"rx"`
	Transmit       Traffic           `json:"tx"`
	Relayed        uint64            `json:"relayed"`
	Copies         uint64            `json:"copies"`
	Flooded        map[string]uint64 `json:"flooded,omitempty"`
	DroppedIngress map[string]uint64 `json:"dropped_ingress,omitempty"`
	DroppedEgress  map[string]uint64 `json:"dropped_egress,omitempty"`
	ReceiveErrors  uint64            `json:"receive_errors"`
	Coalesced      uint64            `json:"coalesced"` // datagrams sent in super-frames made here
}

// Stats is the answer to GET /v1/stats. Departed sums the ports that are gone.
type Stats struct {
	Ports    []PortStats `json:"ports"`
	Departed PortStats   `json:"departed"`
}

// FDBEntry is one entry, as `bridge -j fdb` prints it. To add one takes MAC,
// VLAN on a VLAN-aware switch, and Port or else State "blackhole".
type FDBEntry struct {
	MAC frame.MAC `json:"mac"`
	// VLAN is absent on a switch that is not VLAN aware.
	VLAN frame.VID `json:"vlan,omitempty"`
	// Port is the switch port, empty for a blackhole; Ifname its link.
	Port   string `json:"port,omitempty"`
	Ifname string `json:"ifname,omitempty"`
	// State is "dynamic", "static" or "blackhole".
	State string `json:"state"`
	Age   *int   `json:"age,omitempty"` // seconds since the station last sent
}

// FDBFlush selects learned entries to remove; an empty one selects all.
type FDBFlush struct {
	Port string     `json:"port,omitempty"`
	VLAN *frame.VID `json:"vlan,omitempty"`
	MAC  *frame.MAC `json:"mac,omitempty"`
}

// FDBFlushed is the answer to POST /v1/fdb/flush.
type FDBFlushed struct {
	Removed int `json:"removed"`
}

// FDBSettings is the body of PATCH /v1/fdb/settings; absent fields stay. The
// answer has all of them.
type FDBSettings struct {
	Ageing *int   `json:"ageing,omitempty"`
	Limit  *Limit `json:"limit,omitempty"`
}

// Limit is a number of learned addresses, or NoLimit, which in JSON is "none".
type Limit int

// NoLimit leaves the FDB's capacity as the only limit.
const NoLimit Limit = -1

// MarshalJSON implements json.Marshaler.
func (l Limit) MarshalJSON() ([]byte, error) {
	if l < 0 {
		return []byte(`"none"`), nil
	}
	return json.Marshal(int(l))
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *Limit) UnmarshalJSON(text []byte) error {
	if string(text) == `"none"` {
		*l = NoLimit
		return nil
	}
	var n uint32
	if json.Unmarshal(text, &n) != nil {
		return errors.New(`want a number of addresses, or "none"`)
	}
	*l = Limit(n)
	return nil
}

// PortRemoved is the answer to DELETE /v1/ports/{name} if there is more to say.
type PortRemoved struct {
	Note string `json:"note"`
}

// ConfigChange is the answer to POST /v1/config/apply.
type ConfigChange struct {
	Changes []string `json:"changes"` // as config.Diff lists them
	// Confirm is after how many seconds the old configuration comes back unless
	// the new one is confirmed; 0 for never.
	Confirm int `json:"confirm,omitempty"`
}

// Code is the kind of an Error. vswitchctl's exit code follows from it.
type Code string

// The codes, with their HTTP status.
const (
	CodeInvalid    Code = "invalid"    // 400
	CodePermission Code = "permission" // 403
	CodeNotFound   Code = "not_found"  // 404
	CodeConflict   Code = "conflict"   // 409
	CodeFailed     Code = "failed"     // 500
)

// Error is the body of an answer that is not 2xx: what went wrong, and what to
// do about it if there is something to do.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }
