package vswitch

import (
	"errors"
	"fmt"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
)

// FDBEntry is one entry of the FDB, in words.
type FDBEntry struct {
	MAC frame.MAC
	// VID is 0 on a switch that is not VLAN aware.
	VID frame.VID
	// Port is empty for a blackhole entry.
	Port string
	Kind fdb.Kind
	// Age is the time since the station last sent, in seconds; 0 unless dynamic.
	Age int
}

// FDBFilter selects entries: those that match every field that is set.
type FDBFilter struct {
	Port string
	VID  *frame.VID
	MAC  *frame.MAC
}

// checkVID refuses a VID where the switch has no such VLAN.
func (s *Switch) checkVID(v frame.VID) error {
	switch {
	case s.vlanAware && v == 0:
		return invalidf("the switch is VLAN aware: an FDB entry needs a VLAN, from %d to %d", frame.VIDMin, frame.VIDMax)
	case s.vlanAware && !v.Valid():
		return invalidf("VLAN %d: there are VLANs from %d to %d", v, frame.VIDMin, frame.VIDMax)
	case !s.vlanAware && v != 0:
		return invalidf("VLAN %d: the switch is not VLAN aware, its FDB entries have no VLAN", v)
	}
	return nil
}

// AddFDB makes a static entry, or a blackhole entry if port is empty. It
// replaces what the FDB knew about the address.
func (s *Switch) AddFDB(mac frame.MAC, vid frame.VID, portName string) error {
	if err := s.checkVID(vid); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, id := fdb.Blackhole, frame.PortID(0)
	if portName != "" {
		a, err := s.find(portName)
		if err != nil {
			return err
		}
		if s.vlanAware && !a.cfg.VLANs().Member.Contains(vid) {
			return invalidf("port %q is not a member of VLAN %d, so the entry for %v could never be used", portName, vid, mac)
		}
		kind, id = fdb.Static, a.id
	}
	err := s.table.Add(fdb.MakeKey(vid, mac), id, kind)
	switch {
	case errors.Is(err, fdb.ErrFull):
		return fmt.Errorf("address %v: cannot add: the FDB is %w", mac, ErrFull)
	case err != nil:
		return invalidf("address %v: %v", mac, err)
	}
	return nil
}

// RemoveFDB removes the entry, of whatever kind.
func (s *Switch) RemoveFDB(mac frame.MAC, vid frame.VID) error {
	if err := s.checkVID(vid); err != nil {
		return err
	}
	if !s.table.Remove(fdb.MakeKey(vid, mac)) {
		return fmt.Errorf("address %v: %w in the FDB", mac, ErrNotFound)
	}
	return nil
}

// FlushFDB removes the learned entries that match and says how many.
func (s *Switch) FlushFDB(f FDBFilter) (removed int, err error) {
	s.mu.Lock() // The PortID stays the port's.
	defer s.mu.Unlock()
	match, id, err := s.match(f)
	if err != nil {
		return 0, err
	}
	if f.Port != "" && f.VID == nil && f.MAC == nil {
		return s.table.FlushPort(id), nil
	}
	return s.table.Flush(match), nil
}

// match turns the filter into a predicate on the table's records. The caller
// holds mu.
func (s *Switch) match(f FDBFilter) (ok func(fdb.Record) bool, id frame.PortID, err error) {
	if f.Port != "" {
		a, err := s.find(f.Port)
		if err != nil {
			return nil, 0, err
		}
		id = a.id
	}
	return func(r fdb.Record) bool {
		return (f.Port == "" || (r.Port == id && r.Kind != fdb.Blackhole)) &&
			(f.VID == nil || r.Key.VID() == *f.VID) &&
			(f.MAC == nil || r.Key.MAC() == *f.MAC)
	}, id, nil
}

// FDB lists the entries that match, in no order.
func (s *Switch) FDB(f FDBFilter) ([]FDBEntry, error) {
	s.mu.Lock()
	match, _, err := s.match(f)
	names := make(map[frame.PortID]string, len(s.ports))
	for name, a := range s.ports {
		names[a.id] = name
	}
	unit := int(s.clock.unit.Seconds())
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}

	entries := []FDBEntry{}
	for r := range s.table.All(fdb.Tick(s.tick.Load())) {
		if !match(r) {
			continue
		}
		e := FDBEntry{MAC: r.Key.MAC(), VID: r.Key.VID(), Kind: r.Kind}
		if r.Kind != fdb.Blackhole {
			e.Port = names[r.Port]
		}
		if r.Kind == fdb.Dynamic {
			e.Age = int(r.Age) * unit
		}
		entries = append(entries, e)
	}
	return entries, nil
}
