package vswitch

import "slices"

// Resyncs returns how often all links were read anew, because the kernel had more
// events of them than there was room for or a dump was interrupted.
func (s *Switch) Resyncs() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.monitor == nil {
		return 0
	}
	return s.monitor.Resyncs()
}

// Stalled returns the ports whose worker is in the same batch now as at the
// last call: a batch takes microseconds, so that one which outlasts the time
// between two calls will not end. It is for one caller, a watchdog.
func (s *Switch) Stalled() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, a := range s.ports {
		if a.worker == nil {
			continue
		}
		phase := a.worker.phase.Load()
		if phase%2 == 1 && phase == a.seenPhase {
			names = append(names, name)
		}
		a.seenPhase = phase
	}
	slices.Sort(names)
	return names
}

// CountUnapplied counts a configuration that was asked for as a whole and is not in
// force. Whoever asks tells it, since most are refused before they get to Apply.
func (s *Switch) CountUnapplied() { s.unapplied.Add(1) }

// Unapplied returns how often CountUnapplied was called.
func (s *Switch) Unapplied() uint64 { return s.unapplied.Load() }
