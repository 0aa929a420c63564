package port

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long until a link whose state could not be read is tried again.
const monitorRetry = time.Second

// Monitor tells of changes to the links of TAPs, in whatever network namespace
// they live. It takes no state from the kernel's events: an event says only
// which link to look at, so that it does no harm to miss one of a burst, and a
// link that left for another namespace is not taken for a deleted one. The one
// exception is that a link was down, which may be over at the time of the look.
type Monitor struct {
	file   *os.File
	conn   syscall.RawConn
	report func(*TAP, Link, error)
	buf    []byte
	oob    []byte
	done   chan struct{} // closed when run has ended

	resyncs atomic.Uint64
	stale   bool // run's: a TAP has not current set

	mu      sync.Mutex // guards all below, and setting the deadline of file
	watched map[*TAP]*watch
	changed func() // see Notify
}

// watch is what is known of one TAP.
type watch struct {
	key  linkKey // zero before the first look, when no event can match
	look bool    // the link is to be read
	// retryAt is when to read it again after that has failed; else zero.
	retryAt time.Time
	last    Link // as last reported
	// current says that all events from before the first look under key have
	// been read. Only later ones can be news of the link having been down.
	current, down bool
}

// NewMonitor starts a Monitor. It calls report with the state of a TAP's link
// soon after Add and whenever the kernel has told of a change, one call at a
// time; the state may be the same as before. Of a link that was down between two
// reports of it up, however shortly, that is reported between them, unless the
// events were lost; several times count as one. An error in place of the state is
// ErrGone, and then the last report for that TAP, or says why the state cannot
// be read; that is tried again after a second. Report may call Add and Remove,
// but not Close.
func NewMonitor(report func(t *TAP, l Link, err error)) (*Monitor, error) {
	fd, err := listen()
	if err != nil {
		return nil, err
	}
	m := &Monitor{
		file: os.NewFile(uintptr(fd), "rtnetlink"), report: report,
		buf: make([]byte, 64<<10), oob: make([]byte, 256),
		done: make(chan struct{}), watched: map[*TAP]*watch{},
	}
	if m.conn, err = m.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	go m.run()
	return m, nil
}

// Add begins to watch t.
func (m *Monitor) Add(t *TAP) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched[t] = &watch{look: true}
	m.wake(time.Unix(0, 0))
}

// Remove ends the watch over t, without waiting for a report that is just being
// made. TAPs that are gone are removed by themselves.
func (m *Monitor) Remove(t *TAP) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watched, t)
}

// Notify has f called, at once and after changes of any link in the daemon's own
// namespace, to look at TAPs. It must not block. The last f counts.
func (m *Monitor) Notify(f func()) {
	m.mu.Lock()
	m.changed = f
	m.mu.Unlock()
	f()
}

// Resyncs returns how often events were lost or a dump was interrupted, so that
// all links were read.
func (m *Monitor) Resyncs() uint64 { return m.resyncs.Load() }

// Close ends the Monitor and returns after the last report.
func (m *Monitor) Close() error {
	err := m.file.Close()
	<-m.done
	return err
}

// wake makes a waiting receive return at that time; the zero time is never. The
// caller holds mu.
func (m *Monitor) wake(at time.Time) {
	// It can only fail because of Close, which wakes it too.
	_ = m.file.SetReadDeadline(at)
}

func (m *Monitor) run() {
	defer close(m.done)
	for {
		events, lost, drained, err := m.receive()
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed
		}
		m.tell(events, lost)
		due := m.mark(events, lost)
		if drained {
			m.catchUp()
		}
		for ; len(due) > 0; due = m.mark(nil, 0) {
			for _, t := range due {
				m.look(t)
			}
		}
	}
}

// tell calls changed if the events are about links of the own namespace.
func (m *Monitor) tell(events map[linkKey]bool, lost int) {
	own := lost > 0
	for key := range events {
		own = own || key.nsid == OwnNSID
	}
	m.mu.Lock()
	f := m.changed
	m.mu.Unlock()
	if own && f != nil {
		f()
	}
}

// mark notes which TAPs the events are about, all of them if events were lost,
// and returns those that are to be looked at. If there are none, it sees to it
// that receive returns when it is time for another try.
func (m *Monitor) mark(events map[linkKey]bool, lost int) (due []*TAP) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, wake := time.Now(), time.Time{}
	for t, w := range m.watched {
		down, told := events[w.key]
		_, ended := events[linkKey{w.key.nsid, 0}]
		w.look = w.look || told || ended || lost > 0
		w.down = w.down || down && w.current
		switch retry := !w.retryAt.IsZero(); {
		case w.look || retry && !now.Before(w.retryAt):
			due = append(due, t)
		case retry && (wake.IsZero() || w.retryAt.Before(wake)):
			wake = w.retryAt
		}
	}
	if len(due) == 0 {
		m.wake(wake)
	}
	return due
}

// catchUp notes that there are no more events from before the looks until now.
func (m *Monitor) catchUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.watched {
		w.current = w.key != linkKey{}
	}
	m.stale = false
}

// look reads the state of t's link and reports it.
func (m *Monitor) look(t *TAP) {
	m.mu.Lock()
	w := m.watched[t]
	if w == nil {
		m.mu.Unlock()
		return
	}
	w.look, w.retryAt = false, time.Time{} // An event from here on asks for another look.
	m.mu.Unlock()

	l, err := t.Link()
	if errors.Is(err, os.ErrClosed) {
		return // The owner knows.
	}

	m.mu.Lock()
	if m.watched[t] != w {
		m.mu.Unlock()
		return
	}
	last, flapped := w.last, false
	switch {
	case err == nil:
		flapped = m.saw(w, l)
	case errors.Is(err, ErrGone):
		delete(m.watched, t)
	default:
		w.retryAt = time.Now().Add(monitorRetry)
	}
	m.mu.Unlock()
	if flapped {
		last.Up = false
		m.report(t, last, nil)
	}
	m.report(t, l, err)
}

// saw notes the state of a link, and returns whether it is up again and not
// still. The caller holds mu.
func (m *Monitor) saw(w *watch, l Link) (flapped bool) {
	key := linkKey{l.NSID, l.Index}
	moved := key != w.key
	// A move takes a link down (dev_change_net_namespace, net/core/dev.c).
	flapped = w.last.Up && l.Up && (w.down || moved)
	if moved {
		w.current, m.stale = false, true
	}
	w.key, w.last, w.down = key, l, false
	return flapped
}
