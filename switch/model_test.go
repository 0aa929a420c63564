package vswitch

import (
	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// model is the switch once more, read from 802.1Q and from the reasons in
// package frame, in maps and slices: one frame at a time, the source learned
// before the destination is looked up, no snapshot, no sets, no cleverness.
// Not modelled is which entry a full FDB evicts; package fdb has a model for
// that.
type model struct {
	aware    bool
	reserved config.Reserved
	now      int // seconds
	noRoom   bool
	ports    map[string]*modelPort
	fdb      map[modelKey]*modelEntry
	departed PortStats
}

type modelKey struct {
	vid frame.VID
	mac frame.MAC
}

type modelEntry struct {
	kind  fdb.Kind
	port  string
	heard int
}

const modelAgeing = 300 // seconds

type modelPort struct {
	config           config.Port
	link             port.Link
	refuse           frame.DropReason
	pvid             frame.VID
	member, untagged map[frame.VID]bool
	types            config.FrameTypes
	stats            PortStats
	sent             []porttest.Sent
}

func yes(b *bool) bool { return b == nil || *b }

func (p *modelPort) uplink() bool { return p.config.Role == config.RoleUplink }

func (p *modelPort) state() config.State {
	switch {
	case !p.link.Up:
		return config.StateDiscarding
	case p.config.State == "":
		return config.StateForwarding
	}
	return p.config.State
}

// configure reads the three forms in which a port is given its VLANs.
func (p *modelPort) configure(c config.Port) {
	p.config, p.pvid, p.types = c, 0, config.FrameTypesAll
	p.member, p.untagged = map[frame.VID]bool{}, map[frame.VID]bool{}
	switch {
	case c.Access != 0:
		p.pvid, p.types = c.Access, config.FrameTypesUntagged
		p.member[c.Access], p.untagged[c.Access] = true, true
	case c.Trunk != nil:
		for v := range c.Trunk.All() {
			p.member[v] = true
		}
		p.types = config.FrameTypesTagged
		if c.Native != 0 {
			p.pvid, p.types = c.Native, config.FrameTypesAll
			p.member[c.Native], p.untagged[c.Native] = true, true
		}
	default:
		p.pvid = c.PVID
		for v := range c.Tagged.All() {
			p.member[v] = true
		}
		for v := range c.Untagged.All() {
			p.member[v], p.untagged[v] = true, true
		}
	}
	if c.FrameTypes != "" {
		p.types = c.FrameTypes
	}
}

// set changes a port. Stations of a VLAN that it leaves are forgotten, and all
// of them when it begins to discard or is locked.
func (m *model) set(name string, c config.Port, link port.Link) {
	p := m.ports[name]
	state, member, filtered, locked := p.state(), p.member, yes(p.config.IngressFiltering), p.config.Locked
	p.configure(c)
	p.link = link
	left := yes(p.config.IngressFiltering) && !filtered
	for v := range member {
		left = left || !p.member[v]
	}
	forgets := state != config.StateDiscarding && p.state() == config.StateDiscarding || c.Locked && !locked
	m.flush(func(k modelKey, e *modelEntry) bool {
		// One departure also takes what was learned without ingress filtering.
		return e.port == name && (forgets || m.aware && left && !p.member[k.vid])
	})
}

func (m *model) remove(name string) {
	for k, e := range m.fdb {
		if e.kind != fdb.Blackhole && e.port == name {
			delete(m.fdb, k)
		}
	}
	m.departed.Add(m.ports[name].stats)
	delete(m.ports, name)
}

func (m *model) flush(match func(modelKey, *modelEntry) bool) (removed int) {
	for k, e := range m.fdb {
		if e.kind == fdb.Dynamic && match(k, e) {
			delete(m.fdb, k)
			removed++
		}
	}
	return removed
}

func (m *model) expired(e *modelEntry) bool {
	return e.kind == fdb.Dynamic && m.now-e.heard > modelAgeing
}

func (m *model) learn(vid frame.VID, mac frame.MAC, name string) {
	k := modelKey{vid, mac}
	if e := m.fdb[k]; e != nil && m.expired(e) {
		delete(m.fdb, k)
	}
	e, learned := m.fdb[k], 0
	for _, other := range m.fdb {
		if other.kind == fdb.Dynamic && other.port == name {
			learned++
		}
	}
	limit := m.ports[name].config.Limit
	portFull := limit != nil && learned >= *limit
	switch {
	case mac.IsZero() || e != nil && e.kind != fdb.Dynamic:
	case e != nil && e.port == name:
		e.heard = m.now
	case portFull || e == nil && m.noRoom:
	default:
		m.fdb[k] = &modelEntry{fdb.Dynamic, name, m.now}
	}
}
