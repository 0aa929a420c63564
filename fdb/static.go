package fdb

import (
	"errors"

	"github.com/vswitchd/vswitchd/frame"
)

// The errors of Add.
var (
	ErrGroup = errors.New("a static entry needs the address of a station, not a group address or zero")
	ErrFull  = errors.New("the forwarding database has no room for another static entry: remove one or raise the capacity")
)

// Add puts in a static entry for port p or, if kind is Blackhole, one that
// belongs to no port, whatever p. It replaces the entry that the station has,
// of any kind. In a table at its capacity it takes the place of a dynamic
// entry. The error is ErrGroup or ErrFull.
func (t *Table) Add(k Key, p frame.PortID, kind Kind) error {
	if !k.individual() {
		return ErrGroup
	}
	flags := flagStatic
	if kind == Blackhole {
		flags |= flagBlackhole
		p = 0
	}
	fresh := makeEntry(p, 0, 1) | flags

	t.mu.Lock()
	defer t.mu.Unlock()
	if s, e := t.locate(k); e != 0 {
		t.replace(s, e, fresh)
		t.note(k, fresh, 0, CauseAdded)
		return nil
	}
	s, ok := t.free(k)
	if !ok || t.atCapacity() && !t.evict() {
		return ErrFull
	}
	t.insert(s, k, fresh, CauseAdded)
	return nil
}

// Remove takes the entry of a station out, of whatever kind, and reports
// whether there was one. An expired entry may count as one.
func (t *Table) Remove(k Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		s, e := t.locate(k)
		if e == 0 {
			return false
		}
		why := CauseRemoved
		if t.flushed(e) {
			why = CauseFlushed
		}
		if t.remove(s, e, why) {
			return why == CauseRemoved
		}
	}
}

// Forget removes all that belongs to port p, static entries and its limit too,
// so that its PortID can be given to another port. The caller makes sure that
// no Learn or Add for p is under way or follows before that.
func (t *Table) Forget(p frame.PortID) {
	t.FlushPort(p)
	t.SetPortLimit(p, -1)
	t.sweep(func(_ Key, e Entry) bool { return e.kind() == Static && e.Port() == p }, CauseRemoved)
}
