package vswitch

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/port"
)

// Add opens the port that c describes and adds it.
func (s *Switch) Add(c config.Port) error {
	a, err := s.reserve(c)
	if err != nil {
		return err
	}
	if err := s.open(a); err != nil {
		s.release(a)
		return err
	}
	return nil
}

// device is a port behind which there is something with a state of its own.
type device interface {
	port.Port
	Link() (port.Link, error)
	SetLink(port.LinkChange) error
	ReceiveErrors() uint64
}

// reporter is a device that tells by itself when its link goes up or down.
type reporter interface {
	// Start begins that, with the link down. It does not call report itself.
	Start(report func(port.Link))
}

func (s *Switch) open(a *attached) error {
	d, err := openers[a.cfg.Kind](s, a.cfg)
	if err != nil {
		return fmt.Errorf("port %q: %w", a.name, err)
	}
	link, err := d.Link()
	if err == nil {
		err = s.start(a, d, link)
	}
	if err != nil {
		return fmt.Errorf("port %q: %w", a.name, errors.Join(err, discard(d)))
	}
	return nil
}

// openers make the device of a port, by kind.
var openers = map[string]func(*Switch, config.Port) (device, error){
	config.KindTAP:       (*Switch).openTAP,
	config.KindStream:    (*Switch).openStream,
	config.KindDgram:     (*Switch).openDgram,
	config.KindNetdev:    (*Switch).openNetdev,
	config.KindResponder: (*Switch).openResponder,
}

func (s *Switch) openTAP(c config.Port) (device, error) {
	tc, err := tapConfig(c)
	if err != nil {
		return nil, err
	}
	tc.FoundDir = s.foundDir
	t, err := port.OpenTAP(tc)
	if err != nil {
		return nil, err
	}
	return prepared(t, c)
}

func (s *Switch) openNetdev(c config.Port) (device, error) {
	t, err := port.OpenNetdev(port.NetdevConfig{Ifname: c.Link, Netns: c.Netns, MTU: c.MTU, Up: *c.Up, FoundDir: s.foundDir})
	if err != nil {
		return nil, err
	}
	return prepared(t, c)
}

// prepared sets of a new TAP what has nothing to do with its link.
func prepared(t *port.TAP, c config.Port) (device, error) {
	if err := t.SetOffload(*c.Offload); err != nil {
		return nil, errors.Join(err, t.Discard())
	}
	t.SetCoalesce(*c.Coalesce)
	return t, nil
}

func (*Switch) openStream(c config.Port) (device, error) {
	return port.OpenStream(port.StreamConfig{Listen: c.Listen, Dial: c.Dial, MTU: c.MTU})
}

func (*Switch) openDgram(c config.Port) (device, error) {
	return port.OpenDgram(port.DgramConfig{Listen: c.Listen, Dial: c.Dial, MTU: c.MTU})
}

func (*Switch) openResponder(c config.Port) (device, error) {
	return port.NewResponder(port.ResponderConfig{Name: c.Name, IP: c.IP, MAC: c.MAC, MTU: c.MTU}), nil
}

// discard gives back a device that was opened for nothing.
func discard(d device) error {
	if t, ok := d.(*port.TAP); ok {
		return t.Discard()
	}
	return d.Close()
}

// Set changes a port to what change makes of the configuration it was given,
// with the link's parameters as somebody else may have changed them since. Only
// what differs is touched: frames between other ports, and of this port's
// unchanged VLANs, are not disturbed. If the link refuses, the switch stays as
// it was, and the error says what was refused.
func (s *Switch) Set(name string, change func(config.Port) (config.Port, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.find(name)
	if err != nil {
		return err
	}
	if a.rule != 0 {
		return invalidf("port %q is what auto_attach[%d] makes it: change that rule, or delete the port and add it with --adopt or --kind netdev", name, a.rule-1)
	}
	return s.set(a, change)
}

// set is Set for a caller that holds mu.
func (s *Switch) set(a *attached, change func(config.Port) (config.Port, error)) error {
	name := a.name
	link, err := currentLink(a)
	if err != nil {
		return fmt.Errorf("port %q: %w", name, err)
	}
	given, err := change(a.asChanged(link))
	if err != nil {
		return err
	}
	if err := given.Validate(s.vlanAware); err != nil {
		return err
	}
	next := given.Resolved()
	if err := unchangeable(a.cfg, next); err != nil {
		return err
	}
	if link, err = setLink(a, next, link); err != nil {
		return fmt.Errorf("port %q: %w", name, err)
	}
	if err := setOffload(a, next); err != nil {
		return fmt.Errorf("port %q: %w", name, err)
	}
	old := a.cfg
	if !reflect.DeepEqual(old, next) {
		s.tell(Event{Kind: PortChanged, Port: name})
	}
	a.given, a.cfg = given, next
	s.table.SetPortLimit(a.id, limitOf(next))
	s.update(a, link)
	if s.vlanAware {
		s.flushLeft(a, old)
	}
	if next.Locked && !old.Locked {
		s.quiesce()
		s.table.FlushPort(a.id) // Nothing is sent to an address that may not send.
	}
	return nil
}

// update takes a's configuration and the link's state to the data plane. If the
// port stops forwarding, its stations are forgotten. The caller holds mu.
func (s *Switch) update(a *attached, link port.Link) {
	before := a.link
	a.link = link
	was, is := s.live.Load().ports[a.id], s.compile(a)
	s.publish(a.id, is)
	if was.state != config.StateDiscarding && is.state == config.StateDiscarding {
		s.quiesce()
		s.table.FlushPort(a.id)
	}
	s.tellLink(a, before, link)
}

// flushLeft forgets a's stations in VLANs that it is not a member of, if it was
// until now, or could at least receive from them.
func (s *Switch) flushLeft(a *attached, old config.Port) {
	if !leaves(old, a.cfg) {
		return
	}
	is := a.cfg.VLANs()
	s.quiesce()
	s.table.Flush(func(r fdb.Record) bool { return r.Port == a.id && !is.Member.Contains(r.Key.VID()) })
}

// leaves reports whether a port is to receive no more from a VLAN that it has
// received from.
func leaves(old, next config.Port) bool {
	is, was := next.VLANs(), old.VLANs()
	left := is.IngressFiltering && !was.IngressFiltering
	for v := range was.Member.All() {
		left = left || !is.Member.Contains(v)
	}
	return left
}

// unchangeable refuses what a port cannot change while it exists.
func unchangeable(old, next config.Port) error {
	for _, f := range []struct {
		key     string
		changed bool
	}{
		{"listen", old.Listen != next.Listen},
		{"dial", old.Dial != next.Dial},
		{"kind", old.Kind != next.Kind},
		{"link", old.Link != next.Link},
		{"ifname", old.Ifname != next.Ifname},
		{"netns", old.Netns != next.Netns},
		{"ip", !slices.Equal(old.IP, next.IP)},
		{"gateway", !slices.Equal(old.Gateway, next.Gateway)},
		{"persistent", old.Persistent != next.Persistent},
		{"adopt", old.Adopt != next.Adopt},
		{"owner", old.Owner != next.Owner},
		{"group", old.Group != next.Group},
	} {
		if f.changed {
			return invalidf("port %q: %s cannot change while the port exists: delete the port and add it again", old.Name, f.key)
		}
	}
	return nil
}

// currentLink asks for the state of the link behind a.
func currentLink(a *attached) (port.Link, error) {
	if d, ok := a.port.(device); ok {
		return d.Link()
	}
	return a.link, nil
}

// asChanged returns the configuration a was given, but where somebody else has
// changed the link, with that: a change of something else does not undo it, and
// one that asks for the old value does not pass for done.
func (a *attached) asChanged(link port.Link) config.Port {
	given := a.given
	if _, ok := a.port.(device); !ok {
		return given
	}
	if link.MTU != a.cfg.MTU && a.cfg.MTU != 0 {
		given.MTU = link.MTU
	}
	// A length that could not be asked for is left to whoever set it.
	if n := link.TxQLen; n != a.cfg.TxQLen && a.cfg.TxQLen != 0 && n >= 1 && n <= config.MaxTxQLen {
		given.TxQLen = n
	}
	if link.AdminUp != *a.cfg.Up {
		given.Up = &link.AdminUp
	}
	if a.cfg.MAC != nil && link.MAC != *a.cfg.MAC {
		given.MAC = &link.MAC
	}
	return given
}

// setLink applies the link's part of a change and returns the link's new state.
func setLink(a *attached, next config.Port, link port.Link) (port.Link, error) {
	d, ok := a.port.(device)
	if !ok {
		return link, nil
	}
	var c port.LinkChange
	if next.MTU != link.MTU && next.MTU != 0 {
		c.MTU = &next.MTU
	}
	if n := next.TxQLen; n != 0 && n != a.asChanged(link).Resolved().TxQLen {
		c.TxQLen = &next.TxQLen
	}
	if next.MAC != nil && *next.MAC != link.MAC {
		c.MAC = next.MAC
	}
	if *next.Up != link.AdminUp {
		c.Up = next.Up
	}
	if c == (port.LinkChange{}) {
		return link, nil
	}
	if err := d.SetLink(c); err != nil {
		return link, err
	}
	return d.Link()
}

// setOffload lets the port leave work to others, or not, as the change says.
func setOffload(a *attached, next config.Port) error {
	t, ok := a.port.(*port.TAP)
	if !ok {
		return nil
	}
	t.SetCoalesce(*next.Coalesce)
	if *next.Offload == *a.cfg.Offload {
		return nil
	}
	return t.SetOffload(*next.Offload)
}

// watch has changes of the port's link reported, by the port itself or, of a
// TAP, by the monitor. The caller holds mu.
func (s *Switch) watch(a *attached) error {
	if r, ok := a.port.(reporter); ok {
		r.Start(func(link port.Link) { s.reported(a, link) })
		return nil
	}
	t, ok := a.port.(*port.TAP)
	if !ok {
		return nil
	}
	if err := s.listen(); err != nil {
		return err
	}
	s.byTAP[t] = a
	s.monitor.Add(t)
	return nil
}

// listen starts the monitor, if there is none. The caller holds mu.
func (s *Switch) listen() (err error) {
	if s.monitor == nil {
		if s.monitor, err = port.NewMonitor(s.linkChanged); err != nil {
			return fmt.Errorf("cannot watch links: %w", err)
		}
	}
	return nil
}

// unwatch ends that. The caller holds mu.
func (s *Switch) unwatch(a *attached) {
	if t, ok := a.port.(*port.TAP); ok {
		delete(s.byTAP, t)
		s.monitor.Remove(t)
	}
}

// reported is a port's own report of its link, one at a time and in order.
func (s *Switch) reported(a *attached, link port.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !a.leaving {
		s.update(a, link)
	}
}

// linkChanged is the monitor's report that the link may be another. The report
// may have waited while the switch changed the link itself, so that if it
// differs the link is asked again; if it is up by then, it was down all the same,
// which stations are forgotten for. One that is gone also ends its worker, which
// sees to the rest; one that cannot be asked stays as it was.
func (s *Switch) linkChanged(t *port.TAP, reported port.Link, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.byTAP[t]
	if err != nil || a == nil || a.leaving {
		return
	}
	// Not a change: the kernel's counter, and a first report of none.
	reported.KernelDrops = a.link.KernelDrops
	if reported == a.link {
		return
	}
	link, err := t.Link()
	if err != nil {
		return
	}
	if a.link.Up && !reported.Up && link.Up {
		down := a.link
		down.Up = false
		s.update(a, down)
	}
	if !differ(a.link, link) {
		a.link = link // Nothing that anybody follows.
		return
	}
	s.update(a, link)
}

// differ reports whether two states of a link differ in what the switch follows.
func differ(a, b port.Link) bool {
	return a.Up != b.Up || a.MTU != b.MTU || a.Ifname != b.Ifname || a.NSID != b.NSID
}
