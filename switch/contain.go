package vswitch

import (
	"sync/atomic"
	"time"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

const (
	// A worker measures one run of 8 to 23, at random: the clock of a thread costs a
	// system call, and at a fixed distance a flood would always hit the same port.
	sampleLeast, sampleMask = 8, 15
	sampleMean              = sampleLeast + sampleMask/2

	// A port's cost is judged over so long, and a port is contained that was too
	// dear twice in a row and took more than one in so many parts of one CPU.
	judged     = 100 * time.Millisecond
	forgotten  = time.Second
	mostOfACPU = 4
)

// containable is a port whose transmitting costs what its station likes.
type containable interface {
	Measure([]port.Out) port.Cost
	Contain(released func()) *port.Contained
}

// sampler measures now and then what transmitting costs.
type sampler struct {
	left   int // runs until one is measured
	random uint32
	dear   chan<- frame.PortID // told of ports with a dear sample
}

// transmit sends a run of copies by port p.
func (s *sampler) transmit(p *portConfig, run []port.Out) {
	if s.left--; s.left > 0 || p.measure == nil {
		p.tx.Transmit(run)
		return
	}
	s.random = s.random*1664525 + 1013904223 // Numerical Recipes' generator: its upper bits will do.
	s.left = sampleLeast + int(s.random>>16&sampleMask)
	cost := p.measure.Measure(run)
	p.counters.sampled.add(cost)
	if !cost.Dear() {
		return
	}
	select {
	case s.dear <- p.id:
	default: // Others are; this one is told of with its next sample.
	}
}

// sampled sums the samples of a port.
type sampled struct{ cpu, copies, bytes atomic.Int64 }

func (s *sampled) add(c port.Cost) {
	s.cpu.Add(int64(c.CPU))
	s.copies.Add(int64(c.Copies))
	s.bytes.Add(int64(c.Bytes))
}

func (s *sampled) load() port.Cost {
	return port.Cost{CPU: time.Duration(s.cpu.Load()), Copies: int(s.copies.Load()), Bytes: int(s.bytes.Load())}
}

// judgement is the judging of a port that had a dear sample.
type judgement struct {
	since  time.Time
	begin  port.Cost
	guilty int
}

// tooDear judges what transmitting by a has cost since the judgement began. The
// caller holds mu.
func (s *Switch) tooDear(a *attached) bool {
	j, now := &a.judgement, a.counters.sampled.load()
	elapsed := time.Since(j.since)
	switch {
	case elapsed > forgotten:
		*j = judgement{since: time.Now(), begin: now}
		return false
	case elapsed < judged:
		return false
	}
	spent := port.Cost{CPU: now.CPU - j.begin.CPU, Copies: now.Copies - j.begin.Copies, Bytes: now.Bytes - j.begin.Bytes}
	j.since, j.begin = time.Now(), now
	if !spent.Dear() || spent.CPU*sampleMean < elapsed/mostOfACPU {
		j.guilty = 0
		return false
	}
	j.guilty++
	return j.guilty > 1
}

// contain gives a port that had a dear sample a queue of its own if it is too dear.
func (s *Switch) contain(id frame.PortID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.ports {
		if a.id != id {
			continue
		}
		c, ok := a.port.(containable)
		if !ok || a.leaving || a.contained != nil || !s.tooDear(a) {
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
	a.judgement = judgement{}
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
