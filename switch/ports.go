package vswitch

import (
	"cmp"
	"slices"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// PortInfo is what the control plane knows about one port.
type PortInfo struct {
	ID     frame.PortID
	Config config.Port // resolved: no field is left to its default
	Link   port.Link
	// State is the one in force: discarding while the link is down.
	State config.State
	// Learned is how many addresses were learned on the port.
	Learned int
	Stats   PortStats
	// ReceiveErrors counts reads from the device that failed.
	ReceiveErrors uint64
	// Coalesced counts datagrams that left as part of a super-frame made here.
	Coalesced uint64
	// Contained says that the port has a queue of its own, Containments how often
	// that came about, and QueueLost how many frames the queue took but the kernel
	// did not.
	Contained               bool
	Containments, QueueLost uint64
	// Rule is the number of the rule of auto_attach that made it, from 1; 0 for none.
	Rule   int
	Socket *port.SocketInfo // nil unless the port is one over a socket
}

// overSocket is a port that reaches its station by a unix socket.
type overSocket interface {
	Info() port.SocketInfo
}

// Ports lists the ports by name. It asks the kernel about each link, which
// costs some tens of microseconds a port.
func (s *Switch) Ports() []PortInfo {
	s.mu.Lock()
	all := make([]*attached, 0, len(s.ports))
	for _, a := range s.ports {
		if !a.leaving {
			all = append(all, a)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *attached) int { return cmp.Compare(a.name, b.name) })
	infos := make([]PortInfo, len(all))
	for i, a := range all {
		infos[i] = s.info(a)
	}
	return infos
}

// Port returns one port, and its device if it is a TAP.
func (s *Switch) Port(name string) (PortInfo, *port.Info, error) {
	s.mu.Lock()
	a, err := s.find(name)
	s.mu.Unlock()
	if err != nil {
		return PortInfo{}, nil, err
	}
	info := s.info(a)
	t, ok := a.port.(*port.TAP)
	if !ok {
		return info, nil, nil
	}
	device, err := t.Info()
	return info, &device, err
}

func (s *Switch) info(a *attached) PortInfo {
	s.mu.Lock()
	i := PortInfo{ID: a.id, Config: a.cfg, Link: a.link, Rule: a.rule, Contained: a.contained != nil, Containments: a.containments, QueueLost: a.queueLost}
	if a.contained != nil {
		i.QueueLost += a.contained.Lost()
	}
	s.mu.Unlock()
	i.Stats = a.counters.load()
	i.Learned = s.table.PortCount(a.id)
	if d, ok := a.port.(device); ok {
		i.ReceiveErrors = d.ReceiveErrors()
		// A link that cannot be asked keeps its last state.
		if now, err := d.Link(); err == nil {
			i.Link = now
		}
	}
	if t, ok := a.port.(*port.TAP); ok {
		i.Coalesced = t.Coalesced()
	}
	if o, ok := a.port.(overSocket); ok {
		i.Socket = new(o.Info())
	}
	i.Stats.Dropped[frame.DropKernelQueue] = a.kernelDrops(i.Link)
	i.State = i.Config.State
	if !i.Link.Up {
		i.State = config.StateDiscarding
	}
	return i
}

// kernelDrops returns how many frames the kernel has dropped in front of the
// switch since the port was added. It never goes back, also if the link was
// asked by somebody else a moment later.
func (a *attached) kernelDrops(link port.Link) uint64 {
	n := link.KernelDrops - a.dropsBefore
	for {
		seen := a.dropsSeen.Load()
		if n <= seen || a.dropsSeen.CompareAndSwap(seen, n) {
			return max(n, seen)
		}
	}
}

// Departed sums the counters of ports that have been removed, so that the
// books of the whole switch balance across removals.
func (s *Switch) Departed() PortStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.departed
}

// FDBStats returns the FDB's figures and the ageing time in seconds.
func (s *Switch) FDBStats() (fdb.Stats, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Stats(), s.clock.ageing
}
