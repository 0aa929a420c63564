package vswitch

import (
	"time"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

// Event is something that happened. Names are those of its time: that of a port
// is still there when the port is gone.
type Event struct {
	// Time is when the switch came to know, for the FDB some 20 ms after the fact.
	Time time.Time
	Kind EventKind
	// Port is empty if the event is not about a port. A station that has moved is
	// behind Port now and was behind From.
	Port string
	// From and To are what a link's property was and is.
	From, To string
	MAC      frame.MAC // of an FDB entry
	VID      frame.VID // likewise; 0 on a switch that is not VLAN aware
	Entry    fdb.Kind  // likewise; of one that is gone, what it was
	// Count is how many stations' frames were refused, keys of the configuration
	// changed or netlink overruns met.
	Count uint64
	Err   error // why, for PortGone and LinkNotAttached

	number uint64 // among those of its ring, lost ones included
}

// EventType is a group of kinds.
type EventType uint8

// The types of events.
const (
	TypePort EventType = iota
	TypeLink
	TypeFDB
	TypeConfig
	NumEventTypes
)

// String names the type.
func (t EventType) String() string {
	return [...]string{TypePort: "port", TypeLink: "link", TypeFDB: "fdb", TypeConfig: "config"}[t]
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	PortAdded EventKind = iota
	PortChanged
	PortGone
	PortRemoved
	PortContained
	PortReleased

	LinkUp
	LinkDown
	LinkRenamed
	LinkMoved
	LinkMTU
	LinkResync
	LinkNotAttached

	FDBLearned
	FDBMoved
	FDBAged
	FDBEvicted
	FDBFlushed
	FDBAdded
	FDBRemoved
	FDBRefused

	ConfigApplied
	ConfigOnTrial
	ConfigConfirmed
	ConfigReverted
	ConfigReloaded
	ConfigSaved
	ConfigFDB

	NumEventKinds
)

var eventKinds = [NumEventKinds]struct {
	of   EventType
	name string
	text string
}{
	PortAdded:   {TypePort, "added", "The port was added."},
	PortChanged: {TypePort, "changed", "The configuration of the port was changed."},
	PortGone:    {TypePort, "gone", "The device behind the port went away by itself, and the port is removed; or it was gone when the port was to come back after a restart."},
	PortRemoved: {TypePort, "removed", "The port was removed, with all its FDB entries."},

	PortContained: {TypePort, "contained", "Each frame that was sent to the port cost so much CPU time in its station's network stack that others suffered: it has a queue and a share of the time of its own now."},
	PortReleased:  {TypePort, "released", "A contained port has been cheap, or silent, for some seconds: frames are sent to it at once again."},

	LinkUp:          {TypeLink, "up", "The link is up and has carrier, or a stream is connected."},
	LinkDown:        {TypeLink, "down", "The link is down or has no carrier, or a stream is not connected; the port forwards nothing."},
	LinkRenamed:     {TypeLink, "renamed", "The link has another name: `from`, `to`."},
	LinkMoved:       {TypeLink, "moved", "The link lives in another network namespace: `from`, `to` are ids as in `ip netns list-id`, or own for the daemon's."},
	LinkMTU:         {TypeLink, "mtu", "The link has another MTU: `from`, `to`."},
	LinkResync:      {TypeLink, "resync", "The kernel had more news of links than the daemon had room for, so that all links were looked at."},
	LinkNotAttached: {TypeLink, "not_attached", "A rule of auto_attach matches the link, which the event names as its port, but it cannot be one; told once until the link changes."},

	FDBLearned: {TypeFDB, "learned", "A station is new."},
	FDBMoved:   {TypeFDB, "moved", "A station is behind another port than before, `from`."},
	FDBAged:    {TypeFDB, "aged", "A station was silent for the ageing time, and is forgotten."},
	FDBEvicted: {TypeFDB, "evicted", "A station had to make room for another, and is forgotten."},
	FDBFlushed: {TypeFDB, "flushed", "A station is forgotten because of a flush: on request, link down, port removal or VLAN change."},
	FDBAdded:   {TypeFDB, "added", "A static or blackhole entry was added, in place of what was there for the address."},
	FDBRemoved: {TypeFDB, "removed", "An entry was removed by name, or a static one together with its port."},
	FDBRefused: {TypeFDB, "refused", "Addresses were not learned at the port because of a limit, `count` times; once a second at most."},

	ConfigApplied:   {TypeConfig, "applied", "A configuration was applied: `count` changes."},
	ConfigOnTrial:   {TypeConfig, "on_trial", "A configuration was applied until it is confirmed or its time is over: `count` changes."},
	ConfigConfirmed: {TypeConfig, "confirmed", "The configuration on trial stays."},
	ConfigReverted:  {TypeConfig, "reverted", "The configuration on trial was not confirmed in time, and the one before is back: `count` changes."},
	ConfigReloaded:  {TypeConfig, "reloaded", "The startup file was applied: `count` changes."},
	ConfigSaved:     {TypeConfig, "saved", "The running configuration was written to the startup file."},
	ConfigFDB:       {TypeConfig, "fdb", "Ageing time or limit of the FDB was set."},
}

// Type returns the kind's group.
func (k EventKind) Type() EventType { return eventKinds[k].of }

// String names the kind among those of its type.
func (k EventKind) String() string { return eventKinds[k].name }

// Text describes the kind in a sentence for the operator.
func (k EventKind) Text() string { return eventKinds[k].text }

// ofCause are the kinds of what fdb.Watch tells.
var ofCause = [...]EventKind{
	fdb.CauseLearned: FDBLearned, fdb.CauseMoved: FDBMoved, fdb.CauseAged: FDBAged, fdb.CauseEvicted: FDBEvicted,
	fdb.CauseFlushed: FDBFlushed, fdb.CauseAdded: FDBAdded, fdb.CauseRemoved: FDBRemoved,
}
