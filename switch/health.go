package vswitch

import "slices"

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
