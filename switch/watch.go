package vswitch

import (
	"slices"
	"strconv"
	"time"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// fetchEvery is how often the FDB is asked what has changed, while anybody wants
// to know. Being told instead would have the relay wake somebody up.
const fetchEvery = 20 * time.Millisecond

// fetchLen is how many changes are taken at a time; workers that learn wait as
// long.
const fetchLen = 256

// Watch begins to read the events that f selects, from now on. The FDB records
// its changes, and the feed keeps them, only while somebody reads them. The
// caller closes it.
func (s *Switch) Watch(f EventFilter) *Watch {
	w := &Watch{s: s, filter: f, woken: make(chan struct{}, 1)}
	for t := range NumEventTypes {
		w.reads[ringOf(t)] = w.reads[ringOf(t)] || f.has(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetch() // What was before is not for this one.
	if w.reads[ringOf(TypeFDB)] {
		if s.fdbReaders++; s.fdbReaders == 1 {
			s.changes = s.table.Watch()
			s.feed.keep(make([]Event, fdbFeedLen))
			s.fetching.Reset(fetchEvery)
		}
	}
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	for i, r := range s.feed.rings {
		w.cursor[i] = cursor{r.next, r.number}
	}
	s.feed.readers = append(s.feed.readers, w)
	return w
}

// Close ends the reading.
func (w *Watch) Close() {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed.mu.Lock()
	s.feed.readers = slices.DeleteFunc(s.feed.readers, func(r *Watch) bool { return r == w })
	s.feed.mu.Unlock()
	if !w.reads[ringOf(TypeFDB)] {
		return
	}
	if s.fdbReaders--; s.fdbReaders == 0 {
		s.fetching.Stop()
		s.feed.keep(nil)
		s.changes.Close()
		s.changes = nil
	}
}

// Publish adds an event that is not of the switch's own making. Its Time is set.
func (s *Switch) Publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell(e)
}

// tell adds an event. What the FDB did before comes before it, and while the
// ports are those of that time. The caller holds mu.
func (s *Switch) tell(e Event) {
	s.fetch()
	e.Time = time.Now()
	s.feed.publish(0, e)
}

// fetch makes events of what the FDB has recorded. The caller holds mu.
func (s *Switch) fetch() {
	if s.changes == nil {
		return
	}
	var changes [fetchLen]fdb.Change
	var events []Event
	var names map[frame.PortID]string
	// Workers may add more all the time, but what is recorded by now is read.
	for range fdbFeedLen / fetchLen {
		n, lost := s.changes.Read(changes[:])
		if n == 0 {
			return
		}
		if names == nil {
			names, events = s.names(), make([]Event, 0, fetchLen)
		}
		events = events[:0]
		now := time.Now()
		for _, c := range changes[:n] {
			e := Event{Time: now, Kind: ofCause[c.Cause], MAC: c.Key.MAC(), VID: c.Key.VID(), Entry: c.Kind}
			if c.Kind != fdb.Blackhole {
				e.Port = names[c.Port]
			}
			if c.Cause == fdb.CauseMoved {
				e.From = names[c.From]
			}
			events = append(events, e)
		}
		s.feed.publish(lost, events...)
		if n < fetchLen {
			return
		}
	}
}

// names returns those of all PortIDs in use. The caller holds mu.
func (s *Switch) names() map[frame.PortID]string {
	names := make(map[frame.PortID]string, len(s.ports))
	for name, a := range s.ports {
		names[a.id] = name
	}
	return names
}

// tellCounted adds events of what is only counted as it happens.
func (s *Switch) tellCounted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.ports {
		s.tellRefused(a)
	}
	if s.monitor == nil {
		return
	}
	n := s.monitor.Resyncs()
	if since := n - s.resyncs; since != 0 {
		s.tell(Event{Kind: LinkResync, Count: since})
	}
	s.resyncs = n
}

// tellRefused adds an event if addresses were refused at a since it was called
// last. The caller holds mu.
func (s *Switch) tellRefused(a *attached) {
	n := s.table.Refused(a.id)
	if since := n - a.refused; since != 0 && s.changes != nil {
		s.tell(Event{Kind: FDBRefused, Port: a.name, Count: since})
	}
	a.refused = n
}

// tellLink adds the events that a link's state has changed. The caller holds mu.
func (s *Switch) tellLink(a *attached, was, is port.Link) {
	if was.Up && !is.Up {
		s.tell(Event{Kind: LinkDown, Port: a.name})
	}
	for _, e := range [...]Event{
		{Kind: LinkMoved, From: nsidText(was.NSID), To: nsidText(is.NSID)},
		{Kind: LinkRenamed, From: was.Ifname, To: is.Ifname},
		{Kind: LinkMTU, From: strconv.Itoa(was.MTU), To: strconv.Itoa(is.MTU)},
	} {
		if e.From != e.To {
			e.Port = a.name
			s.tell(e)
		}
	}
	if !was.Up && is.Up {
		s.tell(Event{Kind: LinkUp, Port: a.name})
	}
}

func nsidText(nsid int) string {
	if nsid == port.OwnNSID {
		return "own"
	}
	return strconv.Itoa(nsid)
}
