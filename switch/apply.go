package vswitch

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"sync"

	"github.com/vswitchd/vswitchd/config"
)

// Apply makes next, less its Control, Metrics and Nice, the configuration in force, by
// changing what differs: ports are removed first, then changed, then added. A
// port whose configuration is the same is not touched, and one that cannot
// change as it is to is removed and added again. Ephemeral ports that next does
// not name stay, and those that it names are left out if their namespace is gone.
// On an error, which names the port, all is put back. Changes made by others
// meanwhile are the caller's to prevent.
func (s *Switch) Apply(next *config.Config) error {
	s.auto.mu.Lock()
	defer s.auto.mu.Unlock()
	before := s.Running()
	next = next.WithEphemeral(before)
	if err := next.Validate(); err != nil {
		return err
	}
	if err := fixed(before, next); err != nil {
		return err
	}
	err := s.move(before, next)
	if err == nil {
		return nil
	}
	if back := s.move(s.Running(), before); back != nil {
		return errors.Join(err, fmt.Errorf("and what was changed before that cannot be put back: %w", back))
	}
	return err
}

// fixed refuses what cannot change while the daemon runs.
func fixed(before, next *config.Config) error {
	switch {
	case *before.VLANAware != *next.VLANAware:
		return invalidf("vlan_aware cannot change while the daemon runs: restart the daemon with it")
	case before.FDB.Resolved().Capacity != next.FDB.Resolved().Capacity:
		return invalidf("fdb.capacity cannot change while the daemon runs: restart the daemon with it")
	}
	return nil
}

// move goes from one configuration to another, as far as it gets.
func (s *Switch) move(from, to *config.Config) error {
	has := make(map[string]config.Port, len(from.Ports))
	for _, p := range from.Ports {
		has[p.Name] = p
	}
	var changed, added []config.Port
	for _, p := range to.Ports {
		old, there := has[p.Name]
		switch {
		case !there:
			added = append(added, p)
		case reflect.DeepEqual(old, p):
			delete(has, p.Name)
		case unchangeable(old.Resolved(), p.Resolved()) != nil:
			added = append(added, p)
		default:
			changed = append(changed, p)
			delete(has, p.Name)
		}
	}
	if err := s.removeAll(has); err != nil {
		return err
	}
	s.setReserved(to.ForwardReserved)
	for _, p := range changed {
		if err := s.Set(p.Name, func(config.Port) (config.Port, error) { return p, nil }); err != nil {
			return err
		}
	}
	gone := map[string]bool{}
	for _, p := range added {
		s.yield(p)
		err := s.Add(p)
		if p.Ephemeral && errors.Is(err, fs.ErrNotExist) {
			s.Publish(Event{Kind: PortGone, Port: p.Name, Err: err})
			gone[p.Name], err = true, nil
		}
		if err != nil {
			return err
		}
	}
	to = to.Without(func(p *config.Port) bool { return gone[p.Name] })
	if err := s.moveFDB(from.FDB, to.FDB); err != nil {
		return err
	}
	return s.setRules(to.AutoAttach)
}

// removeAll removes ports in parallel, because the kernel takes some 20 ms over
// each TAP. One that has gone by itself meanwhile is as good as removed.
func (s *Switch) removeAll(ports map[string]config.Port) error {
	errs := make(chan error, len(ports))
	var removing sync.WaitGroup
	for name := range ports {
		removing.Go(func() {
			s.mu.Lock()
			a, err := s.find(name)
			s.mu.Unlock()
			if err == nil {
				err = s.remove(a)
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				errs <- err
			}
		})
	}
	removing.Wait()
	close(errs)
	var all error
	for err := range errs {
		all = errors.Join(all, err)
	}
	return all
}

// setReserved changes which reserved addresses every port relays.
func (s *Switch) setReserved(r config.Reserved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved == r {
		return
	}
	s.reserved = r
	for _, a := range s.ports {
		if !a.leaving {
			s.publish(a.id, s.compile(a))
		}
	}
}

// moveFDB brings settings and static entries up to date, once the ports are.
func (s *Switch) moveFDB(from, to config.FDB) error {
	change := FDBSettings{Ageing: new(*to.Resolved().Ageing), Limit: new(-1)}
	if to.Limit != nil {
		*change.Limit = *to.Limit
	}
	if reflect.DeepEqual(from.Ageing, to.Ageing) {
		change.Ageing = nil
	}
	if reflect.DeepEqual(from.Limit, to.Limit) {
		change.Limit = nil
	}
	if err := s.SetFDB(change); err != nil {
		return err
	}
	s.mu.Lock()
	s.settings = config.FDB{Ageing: to.Ageing, Capacity: to.Capacity, Limit: to.Limit}
	s.mu.Unlock()

	// Some may have gone with their port, or come back with it.
	has, wanted := setOf(s.Running().FDB.Static), setOf(to.Static)
	for e := range has {
		if !wanted[e] {
			if err := s.RemoveFDB(e.MAC, e.VLAN); err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
	}
	for _, e := range to.Static {
		if !has[e] {
			if err := s.AddFDB(e.MAC, e.VLAN, e.Port); err != nil {
				return err
			}
		}
	}
	return nil
}

func setOf(entries []config.StaticEntry) map[config.StaticEntry]bool {
	set := make(map[config.StaticEntry]bool, len(entries))
	for _, e := range entries {
		set[e] = true
	}
	return set
}
