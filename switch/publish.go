package vswitch

import (
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// publish makes p the configuration of port id, or removes it if p is nil. The
// caller holds mu.
func (s *Switch) publish(id frame.PortID, p *portConfig) {
	s.live.Store(s.live.Load().with(id, p))
}

// quiesce returns once every worker has been seen outside a batch, or in a
// later one than when it was called: none uses an older snapshot than the
// published one. The caller holds mu.
func (s *Switch) quiesce() {
	for _, a := range s.ports {
		if a.worker != nil {
			a.worker.quiesce()
		}
	}
}

// quiesce returns once the worker has been seen outside a batch, or in a later one
// than when it was called.
func (w *worker) quiesce() {
	for seen := w.phase.Load(); seen%2 == 1 && w.phase.Load() == seen; {
		time.Sleep(20 * time.Microsecond)
	}
}

// compile turns a port's configuration and link state into what the data plane
// reads. The caller holds mu.
func (s *Switch) compile(a *attached) *portConfig {
	c := &a.cfg
	p := &portConfig{
		id: a.id, state: c.State, mtu: a.link.MTU, reserved: s.reserved | c.ForwardReserved,
		group: c.Isolated, vlans: c.VLANs(), counters: a.counters, tx: a.port, offloads: a.port.Offloads(),
	}
	if a.contained != nil {
		p.tx = a.contained
	} else if m, ok := a.port.(containable); ok {
		p.measure = m
	}
	if !a.link.Up {
		p.state = config.StateDiscarding
	}
	p.pvid, p.frameTypes = p.vlans.PVID, p.vlans.FrameTypes
	p.flags = [NumCauses]bool{
		CauseUnknownUnicast: *c.Flood, CauseMulticast: *c.McastFlood, CauseBroadcast: *c.BcastFlood,
	}
	if p.vlans.IngressFiltering {
		p.feat |= featIngressFiltering
	}
	if *c.Learning {
		p.feat |= featLearning
	}
	if c.Isolated != 0 {
		p.feat |= featIsolated
	}
	if c.Locked {
		p.feat |= featLocked
	}
	if c.Role == config.RoleUplink {
		p.feat |= featUplink
	}
	return p
}

func limitOf(c config.Port) int {
	if c.Limit == nil {
		return -1
	}
	return *c.Limit
}
