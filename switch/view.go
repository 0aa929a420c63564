package vswitch

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// View is a configuration to ask what would become of frames: that in force, or
// one that might come. Asking sends and changes nothing. Ports and links are
// those of the moment at which it was made, the FDB's entries are always the
// present ones. For one goroutine at a time.
type View struct {
	snapshot *snapshot
	ports    map[string]*ViewedPort
	byID     [frame.MaxPorts]*ViewedPort
	capacity int // of the FDB
	limit    int // of learned addresses; negative for none

	table *fdb.Table // of the running switch; nil if there is none
	tick  func() fdb.Tick
	unit  time.Duration // of a tick

	// next is what else the FDB of a configuration that might come has; nil for
	// the one in force.
	next *nextFDB
}

// nextFDB is the FDB as it would be: the static entries of the configuration,
// and what the running switch has learned where that would stay.
type nextFDB struct {
	static  map[fdb.Key]config.StaticEntry
	stays   PortSet    // ports whose learned addresses stay,
	left    PortSet    // and those of them that keep only the ones in their VLANs
	scratch *fdb.Table // holds the stations of the frame at hand, for decide
}

// ViewedPort is a port as a View has it.
type ViewedPort struct {
	Name   string
	Config config.Port // resolved
	Link   port.Link
	// Learned is how many addresses were learned on the port.
	Learned int

	id       frame.PortID
	offloads frame.Offloads
	rule     int
	given    config.Port
}

// View returns the configuration in force.
func (s *Switch) View() *View {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.table.Stats()
	v := &View{
		snapshot: s.live.Load(), ports: make(map[string]*ViewedPort, len(s.ports)), capacity: st.Capacity, limit: st.Limit,
		table: s.table, tick: func() fdb.Tick { return fdb.Tick(s.tick.Load()) }, unit: s.clock.unit,
	}
	for _, a := range s.ports {
		if !a.leaving {
			v.add(&ViewedPort{
				Name: a.name, Config: a.cfg, Link: a.link, Learned: s.table.PortCount(a.id),
				id: a.id, offloads: a.port.Offloads(), rule: a.rule, given: a.given,
			})
		}
	}
	return v
}

// Candidate returns a configuration as it would be if it were applied to the
// running switch: with the links and learned addresses of ports that stay, and
// with those of rules of auto_attach as they are now. A link that does not exist
// yet is taken to come up. If the switch would have to be restarted for it nothing
// is learned.
func (s *Switch) Candidate(c *config.Config) (*View, error) {
	running := s.View()
	c = c.WithEphemeral(s.Running())
	return candidate(c, running)
}

// NewView returns a configuration as it would be on a switch that just starts.
func NewView(c *config.Config) (*View, error) {
	return candidate(c, &View{tick: func() fdb.Tick { return 0 }})
}

func candidate(c *config.Config, running *View) (*View, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	settings := c.FDB.Resolved()
	v := &View{
		snapshot: &snapshot{vlanAware: *c.VLANAware}, ports: make(map[string]*ViewedPort, len(c.Ports)),
		capacity: settings.Capacity, limit: *settings.Limit, tick: running.tick, unit: running.unit,
		next: &nextFDB{static: make(map[fdb.Key]config.StaticEntry, len(c.FDB.Static)), scratch: fdb.New(config.MinCapacity)},
	}
	if running.snapshot != nil && running.snapshot.vlanAware == *c.VLANAware {
		v.table = running.table
	}
	for _, e := range c.FDB.Static {
		v.next.static[fdb.MakeKey(e.VLAN, e.MAC)] = e
	}
	if err := v.take(c, running); err != nil {
		return nil, err
	}
	compiler := &Switch{vlanAware: *c.VLANAware, reserved: c.ForwardReserved}
	for _, p := range v.ports {
		v.snapshot.enter(compiler.compile(&attached{
			id: p.id, cfg: p.Config, link: p.Link, port: unopened{offloads: p.offloads}, counters: &counters{},
		}))
	}
	v.snapshot.index()
	return v, nil
}

// take gives v the ports of c and those that rules have made. Ports that stay
// keep their PortIDs, under which their addresses are learned.
func (v *View) take(c *config.Config, running *View) error {
	var added []*ViewedPort
	for _, given := range c.Ports {
		p := &ViewedPort{Name: given.Name, Config: given.Resolved(), given: given}
		old := running.ports[given.Name]
		if old == nil || unchangeable(old.Config, p.Config) != nil {
			p.Link = port.Link{MTU: cmp.Or(p.Config.MTU, config.DefaultMTU), Up: *p.Config.Up}
			if p.Config.Offload != nil && *p.Config.Offload {
				p.offloads = ^frame.Offloads(0)
			}
			added = append(added, p)
			continue
		}
		p.stay(old)
		v.add(p)
		v.keep(p, old)
	}
	for name, old := range running.ports {
		if v.ports[name] == nil && old.rule != 0 && !slices.ContainsFunc(added, func(p *ViewedPort) bool { return p.Name == name }) {
			v.add(old)
			v.keep(old, old)
		}
	}
	id := frame.PortID(0)
	for _, p := range added {
		for id < frame.MaxPorts && v.byID[id] != nil {
			id++
		}
		if id == frame.MaxPorts {
			return fmt.Errorf("port %q: the switch is %w, it has %d ports with those of auto_attach", p.Name, ErrFull, frame.MaxPorts)
		}
		p.id = id
		v.add(p)
	}
	return nil
}

// stay gives p the link of the running port that it is a change of.
func (p *ViewedPort) stay(old *ViewedPort) {
	p.id, p.offloads, p.Link, p.Learned = old.id, old.offloads, old.Link, old.Learned
	if p.Config.Offload != nil && !*p.Config.Offload {
		p.offloads = 0
	}
	if reflect.DeepEqual(p.given, old.given) {
		return
	}
	p.Link.MTU = cmp.Or(p.Config.MTU, old.Link.MTU)
	if *p.Config.Up != *old.Config.Up {
		p.Link.Up = *p.Config.Up
	}
}

// keep notes that what was learned on p stays, if it does.
func (v *View) keep(p, old *ViewedPort) {
	discards := !p.Link.Up || p.Config.State == config.StateDiscarding
	if v.table == nil || discards || p.Config.Locked && !old.Config.Locked {
		return
	}
	v.next.stays.Add(p.id)
	if v.snapshot.vlanAware && leaves(old.Config, p.Config) {
		v.next.left.Add(p.id)
	}
}

func (v *View) add(p *ViewedPort) { v.ports[p.Name], v.byID[p.id] = p, p }

// unopened is the port of a configuration that has none.
type unopened struct {
	port.Port
	offloads frame.Offloads
}

func (u unopened) Offloads() frame.Offloads { return u.offloads }

// entry returns what the FDB says about a station.
func (v *View) entry(k fdb.Key) (fdb.Record, bool) {
	if v.next == nil {
		return v.table.Get(k, v.tick())
	}
	if e, ok := v.next.static[k]; ok {
		if e.Blackhole {
			return fdb.Record{Key: k, Kind: fdb.Blackhole}, true
		}
		return fdb.Record{Key: k, Kind: fdb.Static, Port: v.ports[e.Port].id}, true
	}
	if v.table == nil {
		return fdb.Record{}, false
	}
	r, known := v.table.Get(k, v.tick())
	if !known || r.Kind != fdb.Dynamic || !v.next.stays.Has(r.Port) {
		return fdb.Record{}, false
	}
	return r, !v.next.left.Has(r.Port) || v.snapshot.vlans[k.VID()].has(r.Port)
}
