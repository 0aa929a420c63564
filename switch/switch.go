package vswitch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// Options are what a Switch needs beside its configuration.
type Options struct {
	// FoundDir is where it is kept how adopted TAPs were found; see
	// port.TAPConfig.
	FoundDir string
}

// Switch is one virtual Ethernet switch. Its methods are safe for concurrent
// use; none of them stops the workers.
type Switch struct {
	auto autoAttach

	vlanAware bool
	foundDir  string
	table     *fdb.Table
	live      atomic.Pointer[snapshot]
	tick      atomic.Uint32 // the FDB's time, see clock
	unapplied atomic.Uint64 // see CountUnapplied

	mu       sync.Mutex // guards all below, and publishing to live
	reserved config.Reserved
	settings config.FDB // as asked for, without the entries
	clock    clock
	ports    map[string]*attached
	byTAP    map[*port.TAP]*attached
	ids      PortSet // given out, also to ports on their way out
	departed PortStats
	dear     chan frame.PortID // from the workers, see contain
	monitor  *port.Monitor
	resyncs  uint64 // of monitor, as told
	// autoRules are those of auto, as given. left are links, by index, whose port
	// somebody has removed: no rule takes them back.
	autoRules []config.AutoAttach
	left      map[int]bool
	closed    bool
	stop      chan struct{}
	wg        sync.WaitGroup

	drops drops

	feed       feed
	fdbReaders int          // of events of the FDB
	changes    *fdb.Watch   // nil unless there are such readers
	fetching   *time.Ticker // stopped unless there are
}

// attached is a port of the switch in the control plane's view.
type attached struct {
	id    frame.PortID
	name  string
	given config.Port // as asked for
	cfg   config.Port // the same, with every default filled in
	port  port.Port   // nil while it is being opened
	link  port.Link   // as last reported
	// dropsBefore is the link's KernelDrops when the port was added.
	dropsBefore uint64
	dropsSeen   atomic.Uint64 // the most since then
	counters    *counters
	gathered    [frame.NumDropReasons]uint64 // of the drops, see drops
	worker      *worker
	seenPhase   uint64      // the worker's, see Stalled
	refused     uint64      // the table's count, as told
	rule        int         // number of the rule that made it, from 1; 0 for none
	ruled       config.Port // what its rule has last made of it, whether that could be or not
	leaving     bool        // being added or removed: the name is taken, the port is not there

	judgement    judgement
	contained    *port.Contained // nil unless it is
	containments uint64
	queueLost    uint64 // frames of past containments
}

// New makes a switch without ports. c must be valid; its Ports are the
// caller's to Add, and then its static entries to AddFDB.
func New(c *config.Config, o Options) (*Switch, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	capacity := c.FDB.Capacity
	if capacity == 0 {
		capacity = config.DefaultCapacity
	}
	s := &Switch{
		vlanAware: *c.VLANAware,
		foundDir:  o.FoundDir,
		table:     fdb.New(capacity),
		reserved:  c.ForwardReserved,
		settings:  config.FDB{Ageing: c.FDB.Ageing, Capacity: c.FDB.Capacity, Limit: c.FDB.Limit},
		ports:     map[string]*attached{},
		byTAP:     map[*port.TAP]*attached{},
		stop:      make(chan struct{}),
		dear:      make(chan frame.PortID, 16),
		fetching:  time.NewTicker(fetchEvery),
		drops:     drops{groups: map[dropKey]*dropGroup{}, started: time.Now()},
		auto:      autoAttach{wake: make(chan struct{}, 1)},
	}
	s.fetching.Stop()
	s.feed.rings[ringOf(TypePort)].events = make([]Event, feedLen)
	s.live.Store(&snapshot{vlanAware: s.vlanAware})
	ageing := config.DefaultAgeing
	if c.FDB.Ageing != nil {
		ageing = *c.FDB.Ageing
	}
	s.setAgeing(ageing)
	if c.FDB.Limit != nil {
		s.table.SetLimit(*c.FDB.Limit)
	}
	s.wg.Go(s.keepTime)
	s.wg.Go(s.keepContaining)
	return s, nil
}

// VLANAware says whether the switch is an 802.1Q bridge.
func (s *Switch) VLANAware() bool { return s.vlanAware }

// reserve takes the name and a PortID for a port that is about to be opened.
func (s *Switch) reserve(c config.Port) (*attached, error) {
	if err := c.Validate(s.vlanAware); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("port %q: cannot add: %w", c.Name, os.ErrClosed)
	}
	if taken := s.ports[c.Name]; taken != nil {
		if taken.leaving {
			return nil, fmt.Errorf("port %q %w: it is just being added or removed, try again", c.Name, ErrExists)
		}
		return nil, fmt.Errorf("port %q %w", c.Name, ErrExists)
	}
	for id := range frame.PortID(frame.MaxPorts) {
		if !s.ids.Has(id) {
			s.ids.Add(id)
			a := &attached{id: id, name: c.Name, given: c, cfg: c.Resolved(), counters: &counters{}, leaving: true}
			s.ports[c.Name] = a
			return a, nil
		}
	}
	return nil, fmt.Errorf("port %q: cannot add: the switch is %w, it has %d ports", c.Name, ErrFull, frame.MaxPorts)
}

// release gives name and PortID back.
func (s *Switch) release(a *attached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ports, a.name)
	s.ids.Remove(a.id)
}

// Attach adds a port that is open already. link is its link's state. On an
// error the caller still owns p.
func (s *Switch) Attach(c config.Port, p port.Port, link port.Link) error {
	a, err := s.reserve(c)
	if err != nil {
		return err
	}
	if err := s.start(a, p, link); err != nil {
		s.release(a)
		return err
	}
	return nil
}

// start publishes the port and starts its worker.
func (s *Switch) start(a *attached, p port.Port, link port.Link) error {
	m, err := mapMemory()
	if err != nil {
		return fmt.Errorf("port %q: cannot map its buffers: %w", a.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		m.unmap()
		return fmt.Errorf("port %q: cannot add: %w", a.name, os.ErrClosed)
	}
	a.port = p
	if err := s.watch(a); err != nil {
		m.unmap()
		return err
	}
	a.link, a.leaving = link, false
	a.dropsBefore = link.KernelDrops
	a.refused = s.table.Refused(a.id)
	a.worker = &worker{
		live: &s.live, tick: &s.tick, table: s.table,
		id: a.id, rx: p, counters: a.counters, batch: m.batch(), done: make(chan struct{}),
		divider: divider{memory: m.room(), free: m.room()},
	}
	a.worker.outbox.sampler.dear = s.dear
	a.worker.samples.Store(&samples{})
	s.table.SetPortLimit(a.id, limitOf(a.cfg))
	s.publish(a.id, s.compile(a))
	labels := pprof.Labels("port", a.name)
	s.wg.Go(func() {
		defer m.unmap()
		pprof.Do(context.Background(), labels, func(context.Context) {
			s.ended(a, a.worker.run())
		})
	})
	s.tell(Event{Kind: PortAdded, Port: a.name})
	return nil
}

// ended deals with a worker that has returned: its port was closed, or its
// device went away.
func (s *Switch) ended(a *attached, err error) {
	if errors.Is(err, os.ErrClosed) {
		return
	}
	s.mu.Lock()
	s.tell(Event{Kind: PortGone, Port: a.name, Err: err})
	s.mu.Unlock()
	s.wg.Go(func() { _ = s.remove(a) })
}

// Remove takes the port out of the switch and closes it: no frame reaches it
// any more, its addresses are forgotten, and only then may its PortID and its
// name be used again. If its link stays, no rule of AutoAttach takes it until it
// is made anew or the rules change.
func (s *Switch) Remove(name string) error {
	s.mu.Lock()
	a, err := s.find(name)
	if err == nil && s.left != nil && a.link.NSID == port.OwnNSID {
		s.left[a.link.Index] = true
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.remove(a)
}

func (s *Switch) remove(a *attached) error {
	s.mu.Lock()
	if a.leaving {
		s.mu.Unlock()
		return fmt.Errorf("port %q: %w", a.name, ErrNotFound)
	}
	a.leaving = true
	s.unwatch(a)
	s.publish(a.id, nil)
	s.quiesce()
	s.mu.Unlock()

	if link, err := currentLink(a); err == nil {
		a.kernelDrops(link)
	}
	if a.contained != nil {
		a.contained.Close()
	}
	// Nobody transmits by the port any more; its own worker ends with Close.
	err := a.port.Close()
	<-a.worker.done
	s.table.Forget(a.id)

	s.mu.Lock()
	last := a.counters.load()
	last.Dropped[frame.DropKernelQueue] = a.dropsSeen.Load()
	s.departed.Add(last)
	s.tellRefused(a)
	s.tell(Event{Kind: PortRemoved, Port: a.name})
	delete(s.ports, a.name)
	s.ids.Remove(a.id)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("port %q: cannot close: %w", a.name, err)
	}
	return nil
}

// find returns the port called name. The caller holds mu.
func (s *Switch) find(name string) (*attached, error) {
	a := s.ports[name]
	if a == nil || a.leaving {
		return nil, fmt.Errorf("port %q: %w", name, ErrNotFound)
	}
	return a, nil
}

// Close removes all ports, in parallel because the kernel takes some 20 ms
// over each TAP, and ends the switch.
func (s *Switch) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var all []*attached
	for _, a := range s.ports {
		all = append(all, a)
	}
	s.mu.Unlock()

	close(s.stop)
	var closing sync.WaitGroup
	for _, a := range all {
		closing.Go(func() { _ = s.remove(a) })
	}
	closing.Wait()
	s.wg.Wait()
	s.feed.close()
	if s.monitor != nil {
		return s.monitor.Close()
	}
	return nil
}
