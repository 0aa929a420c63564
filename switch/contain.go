package vswitch

import (
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

const (
	// sampleEvery is how many runs a worker sends until it measures one: the clock
	// of a thread costs a system call.
	sampleEvery = 13
	// strikes is how many samples of a port in a row must have been dear. A few may
	// be an accident.
	strikes = 5
)

// containable is a port whose transmitting costs what its station likes.
type containable interface {
	Measure([]port.Out) port.Cost
	Contain(released func()) *port.Contained
}

// sampler measures now and then what transmitting costs.
type sampler struct {
	runs int
	dear chan<- frame.PortID // told of ports that are too dear
}

// transmit sends a run of copies by port p.
func (s *sampler) transmit(p *portConfig, run []port.Out) {
	s.runs++
	if p.measure == nil || s.runs%sampleEvery != 0 {
		p.tx.Transmit(run)
		return
	}
	cost := p.measure.Measure(run)
	if !cost.Dear() {
		p.counters.strikes.Store(0)
		return
	}
	if p.counters.strikes.Add(1) < strikes {
		return
	}
	select {
	case s.dear <- p.id:
	default: // Others are; this one is told of with its next sample.
	}
}

// contain gives a port that is too dear a queue of its own.
func (s *Switch) contain(id frame.PortID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.ports {
		if a.id != id {
			continue
		}
		c, ok := a.port.(containable)
		// The report may be about a port that had the PortID before.
		if !ok || a.leaving || a.contained != nil || a.counters.strikes.Load() < strikes {
			return
		}
		a.contained = c.Contain(func() { s.letOut(a) })
		a.containments++
		s.publish(a.id, s.compile(a))
		s.tell(Event{Kind: PortContained, Port: a.name})
		return
	}
}

// letOut lets a port be written to by all workers again.
func (s *Switch) letOut(a *attached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.leaving {
		return
	}
	a.queueLost += a.contained.Lost()
	a.contained = nil
	a.counters.strikes.Store(0)
	s.publish(a.id, s.compile(a))
	s.tell(Event{Kind: PortReleased, Port: a.name})
}

// keepContaining contains the ports that workers report until the switch is
// closed.
func (s *Switch) keepContaining() {
	for {
		select {
		case <-s.stop:
			return
		case id := <-s.dear:
			s.contain(id)
		}
	}
}
