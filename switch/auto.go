package vswitch

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
)

const (
	// settling is how long a link that matches a rule may be in use, or not yet
	// persistent, before that is reported: `ip tuntap add` has it open for a
	// moment.
	settling = time.Second
	// A link that is settling is looked at so often, and no link more often than
	// atMost however many events there are.
	lookAgain = 100 * time.Millisecond
	atMost    = 20 * time.Millisecond
	// A link that is down is looked at so often without an event, for the kernel
	// may have told of no change; less often if there are many TAPs: to list one
	// takes some 6 µs, and this much for each keeps that at 1/200 of a CPU.
	silentAgain = time.Second
	silentEach  = 1200 * time.Microsecond
	// attaching is how many links are attached or detached at a time.
	attaching = 16
)

// autoAttach makes ports of the links that its rules match, and takes them away
// again. It compares what is with what should be, whenever the kernel tells of a
// change, so that it does not matter which, and from time to time for changes of
// which it does not tell.
type autoAttach struct {
	wake chan struct{}

	// mu is held throughout a round, and while a configuration is applied. It
	// comes before the Switch's mu.
	mu      sync.Mutex
	started bool
	rules   []rule
	seen    map[int]*sighting // by index: links that match and are no ports
}

type rule struct {
	config.AutoAttach
	group *uint32
}

func (r *rule) matches(l *port.HostLink) bool {
	return (r.netdev() || l.Kind == port.KindTUN) && r.Match.MatchesName(l.Ifname, l.Alias, l.Kind) &&
		(r.group == nil || *r.group == l.Group) && (r.Match.Driver == "" || r.Match.MatchesDriver(l.Driver()))
}

// netdev tells whether the rule is for any link, and not for TAPs to adopt only.
func (r *rule) netdev() bool { return r.Port.Kind == config.KindNetdev }

// kindOfLinks is that of the links which are to be compared with rules and their
// ports; empty for any.
func (s *Switch) kindOfLinks() string {
	if slices.ContainsFunc(s.auto.rules, func(r rule) bool { return r.netdev() }) {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.ports {
		if a.rule != 0 && a.ruled.Kind == config.KindNetdev {
			return ""
		}
	}
	return port.KindTUN
}

// sighting is a link as it was when it was last another than before.
type sighting struct {
	link  port.HostLink
	since time.Time
	done  bool // tried or reported: not again until it is another
}

// AutoAttach puts the rules in force, and returns when there are ports for all
// TAPs that match now and can be had; a link that is to be a netdev is looked at
// for a moment. It replaces those of before; the ports
// that both make alike are not touched.
func (s *Switch) AutoAttach(rules []config.AutoAttach) error {
	s.auto.mu.Lock()
	defer s.auto.mu.Unlock()
	return s.setRules(rules)
}

// setRules is AutoAttach for a caller that holds auto.mu.
func (s *Switch) setRules(rules []config.AutoAttach) error {
	x := &s.auto
	if len(rules)+len(s.autoRules) == 0 {
		return nil
	}
	if reflect.DeepEqual(rules, s.autoRules) {
		s.round() // Links may have been let go of by other ports.
		return nil
	}
	compiled, err := compileRules(rules)
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.autoRules
	err = s.listen()
	if err == nil {
		s.autoRules, s.left = rules, map[int]bool{}
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	x.rules, x.seen = compiled, map[int]*sighting{}
	s.renumber(old)
	s.round()
	if !x.started {
		x.started = true
		s.wg.Go(s.keepAttaching)
		s.monitor.Notify(x.again)
	}
	return nil
}

// again asks for a round. It does not wait.
func (x *autoAttach) again() {
	select {
	case x.wake <- struct{}{}:
	default: // It is asked for already.
	}
}

// keepAttaching has a round after each change until the switch is closed.
func (s *Switch) keepAttaching() {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		case <-s.auto.wake:
		}
		s.auto.mu.Lock()
		timer.Stop()
		if len(s.auto.rules) > 0 {
			if wait := s.round(); wait > 0 {
				timer.Reset(wait)
			}
		}
		s.auto.mu.Unlock()
		select {
		case <-s.stop:
			return
		case <-time.After(atMost):
		}
	}
}

// round makes the ports of rules what they should be. It returns how long until
// there has to be another round, also without an event; 0 for never. The caller
// holds auto.mu.
func (s *Switch) round() time.Duration {
	links, err := s.monitor.Links(s.kindOfLinks())
	if err != nil {
		return lookAgain
	}
	var unsettled, silent bool
	owners := s.owners()
	present := make(map[int]bool, len(links))
	var work []func()
	for i := range links {
		l := &links[i]
		present[l.Index] = true
		a := owners[l.Index]
		if a != nil {
			delete(s.auto.seen, l.Index)
		}
		silent = silent || !l.AdminUp && s.ofRules(l.Index, a)
		switch n := s.auto.ruleOf(l); {
		case a != nil && a.rule == 0, a == nil && n == 0:
		case a == nil:
			do, wait := s.consider(l, n)
			unsettled = unsettled || wait
			if do != nil {
				work = append(work, do)
			}
		case n == 0 || a.name != l.Ifname || a.ruled.Kind != s.auto.rules[n-1].Port.Kind:
			// Under its new name, or of another kind, it is another port.
			work = append(work, func() { _ = s.remove(a) })
			unsettled = true
		default:
			work = append(work, func() { s.follow(a, n) })
		}
	}
	inParallel(work)
	for index := range s.auto.seen {
		if !present[index] {
			delete(s.auto.seen, index)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for index := range s.left {
		if !present[index] {
			delete(s.left, index)
		}
	}
	switch {
	case unsettled:
		return lookAgain
	case silent:
		return max(silentAgain, time.Duration(len(links))*silentEach)
	}
	return 0
}

// ofRules tells whether rules may do something about a link, which is that of
// port a or, if that is nil, of none.
func (s *Switch) ofRules(index int, a *attached) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a == nil {
		return !s.left[index]
	}
	return a.rule != 0
}

// ruleOf returns the number of the first rule that matches, from 1, or 0.
func (x *autoAttach) ruleOf(l *port.HostLink) int {
	for i := range x.rules {
		if x.rules[i].matches(l) {
			return i + 1
		}
	}
	return 0
}

// owners returns the ports of links in the own namespace by index, also those
// that are on their way out. A TAP beside the link of a port is nobody's to take.
func (s *Switch) owners() map[int]*attached {
	s.mu.Lock()
	defer s.mu.Unlock()
	owners := make(map[int]*attached, len(s.byTAP))
	for _, a := range s.ports {
		t, ok := a.port.(*port.TAP)
		if !ok || a.link.NSID != port.OwnNSID {
			continue
		}
		owners[a.link.Index] = a
		if beside := t.Beside(); beside != 0 {
			owners[beside] = &attached{}
		}
	}
	return owners
}

// consider returns what to do about a link that rule n matches and that is no
// port, and whether it is to be looked at again soon.
func (s *Switch) consider(l *port.HostLink, n int) (do func(), wait bool) {
	at, link := s.auto.seen[l.Index], *l
	link.AdminUp = false // Up or down, it can be had as little or as well.
	if at == nil || at.link != link {
		at = &sighting{link: link, since: time.Now()}
		s.auto.seen[l.Index] = at
	}
	s.mu.Lock()
	left := s.left[l.Index]
	s.mu.Unlock()
	if left || at.done {
		return nil, false
	}
	ready, patience := l.Persistent && !l.InUse, settling
	if s.auto.rules[n-1].netdev() {
		// Whoever has made it may be about to put it into a bridge or elsewhere.
		patience = lookAgain
		ready = time.Since(at.since) >= patience
	}
	if !ready && time.Since(at.since) < patience {
		return nil, true
	}
	at.done = true
	return func() {
		err := l.Occupied
		if ready {
			err = func() error { return s.attach(l.Ifname, n) }
		}
		if err := err(); err != nil && !errors.Is(err, os.ErrClosed) {
			s.mu.Lock()
			s.tell(Event{Kind: LinkNotAttached, Port: l.Ifname, Err: err})
			s.mu.Unlock()
		}
	}, false
}

// attach adds the port that rule n makes of a link.
func (s *Switch) attach(ifname string, n int) error {
	a, err := s.reserve(s.auto.rules[n-1].For(ifname))
	if err != nil {
		return err
	}
	a.rule, a.ruled = n, a.given
	if err := s.open(a); err != nil {
		s.release(a)
		return err
	}
	return nil
}

// follow gives the port of a rule what rule n says now.
func (s *Switch) follow(a *attached, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.auto.rules[n-1].For(a.name)
	if a.leaving {
		return
	}
	a.rule = n
	if reflect.DeepEqual(a.ruled, next) {
		return
	}
	a.ruled = next
	err := s.set(a, func(config.Port) (config.Port, error) { return next, nil })
	if err != nil {
		s.tell(Event{Kind: LinkNotAttached, Port: a.name, Err: err})
	}
}

// renumber deals with ports whose link has moved to another namespace, where it
// is not looked at: they stay if their rule does. The caller holds auto.mu.
func (s *Switch) renumber(old []config.AutoAttach) {
	s.mu.Lock()
	var orphans []func()
	for _, a := range s.ports {
		if a.rule == 0 || a.leaving {
			continue
		}
		// The monitor may not have told of the move yet.
		if link, err := currentLink(a); err != nil || link.NSID == port.OwnNSID {
			continue
		}
		is := func(r config.AutoAttach) bool { return reflect.DeepEqual(r, old[a.rule-1]) }
		if n := slices.IndexFunc(s.autoRules, is); n >= 0 {
			a.rule = n + 1
			continue
		}
		orphans = append(orphans, func() { _ = s.remove(a) })
	}
	s.mu.Unlock()
	inParallel(orphans)
}

// yield takes the ports of rules away that p needs the name or the link of. The
// caller holds auto.mu.
func (s *Switch) yield(p config.Port) {
	for index, a := range s.owners() {
		name := p.Resolved().Link
		if p.Adopt {
			name = p.Resolved().Ifname
		}
		wanted := p.Netns == "" && index == a.link.Index && name == a.link.Ifname
		if a.rule != 0 && (a.name == p.Name || wanted) {
			_ = s.remove(a) // If it fails, so does adding p.
		}
	}
}

// inParallel returns when all are done. Attaching waits for the kernel.
func inParallel(work []func()) {
	var wg sync.WaitGroup
	free := make(chan struct{}, attaching)
	for _, do := range work {
		free <- struct{}{}
		wg.Go(func() {
			do()
			<-free
		})
	}
	wg.Wait()
}
