package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// method is how a measurement is made.
type method struct {
	warm   time.Duration
	window time.Duration
	quiet  time.Duration // to wait at most for a quiet machine
	tries  int           // of a measurement that was disturbed
	noisy  bool          // disturbed measurements count too
	steal  float64       // share of the machine that the hypervisor may take in a window
}

// maxOutside is the share of the machine that others may use in a window.
const maxOutside = 0.03

// result is one measurement.
type result struct {
	rate    float64    // per second, in the row's unit
	loss    float64    // share of what was sent, over the whole load; of TCP, sent again
	machine float64    // CPU time in ns per unit of cost
	process float64    // of it, the switch's
	latency [3]float64 // µs: p50, p99, p99.9
	refused string     // why it is not counted; empty if it is
	noise   string     // what disturbed it; empty if nothing did
}

// state is what is read at both ends of the window.
type state struct {
	at    time.Time
	units uint64
	usage usage
}

// measure runs a row once on a network, again if it was disturbed. ours are the
// processes that the benchmark has started.
func (m *method) measure(ctx context.Context, r *row, nw *network, ours []int) (res result, err error) {
	for range m.tries {
		if err := awaitQuiet(ctx, m.quiet); err != nil {
			return res, err
		}
		if res, err = m.once(r, nw, ours); err != nil {
			return res, fmt.Errorf("%s on %s: %w%s", r.name, nw.topology, err, nw.lastWords())
		}
		if res.noise == "" {
			break
		}
	}
	if res.refused == "" && !m.noisy {
		res.refused = res.noise
	}
	return res, nil
}

func (m *method) once(r *row, nw *network, ours []int) (res result, err error) {
	receiver := nw.receiver()
	opening, err := nw.read(receiver)
	if err != nil {
		return res, err
	}
	sent, resent, err := nw.segments()
	if err != nil {
		return res, err
	}
	if r.awake {
		defer keepAwake()()
	}
	l := newLoad()
	defer func() {
		if e := l.end(); err == nil {
			err = e
		}
	}()
	if err := r.start(nw, l); err != nil {
		return res, err
	}
	l.begin()
	units := func() (uint64, error) { return r.units(nw, l, opening) }
	look := func() (s state, err error) {
		s.at = time.Now()
		if s.units, err = units(); err != nil {
			return s, err
		}
		s.usage, err = census(nw.switches, ours)
		return s, err
	}
	time.Sleep(m.warm)
	first, err := look()
	if err != nil {
		return res, err
	}
	time.Sleep(m.window)
	last, err := look()
	if err != nil {
		return res, err
	}
	l.stopSending()
	pause := 30 * time.Millisecond
	if nw.guest != nil { // It may be long about what waits in its TAP.
		pause *= 10
	}
	if err := drained(pause, units); err != nil {
		return res, err
	}
	if err := l.end(); err != nil {
		return res, err
	}
	res.fill(r, l, first, last, m.steal)
	if r.meter == frames || r.meter == datagrams {
		return res, res.account(r, nw, l, opening)
	}
	all, again, err := nw.segments()
	if n := all - sent; n > 0 {
		res.loss = float64(again-resent) / float64(n)
	}
	return res, err
}

// units is what the load has delivered so far.
func (r *row) units(nw *network, l *load, opening books) (uint64, error) {
	switch r.meter {
	case streams:
		return total(l.octets), nil
	case frames:
		n, err := nw.receiver().arrived()
		return n - opening.arrived, err
	}
	return total(l.delivered), nil
}

// fill works the figures of the window out. steal is how much of the machine the
// hypervisor may have taken.
func (res *result) fill(r *row, l *load, first, last state, steal float64) {
	clock := last.at.Sub(first.at)
	units := float64(last.units - first.units)
	used := last.usage.sub(first.usage)
	_, per := r.rate()
	res.rate = units / clock.Seconds() / per
	if _, per := r.cost(); units > 0 && !r.awake {
		res.machine = float64(used.machine) / units * per
		res.process = float64(used.switches) / units * per
	}
	if l.trips != nil {
		res.latency = percentiles(l.trips[first.units:last.units])
	}
	if units == 0 {
		res.refused = "nothing arrived"
	}
	switch outside := share(used.outside, clock); {
	case share(used.stolen, clock) > steal:
		res.noise = fmt.Sprintf("disturbed: the hypervisor stole %v", used.stolen)
	case outside > maxOutside:
		res.noise = fmt.Sprintf("disturbed: other processes used %.0f %% of the machine", outside*100)
	}
}

// account closes the books of a load that has ended.
func (res *result) account(r *row, nw *network, l *load, opening books) error {
	closing, err := nw.read(nw.receiver())
	if err != nil {
		return err
	}
	sent := total(l.sent) + total(l.refused)
	delivered, err := r.units(nw, l, opening)
	if err != nil {
		return err
	}
	if sent > 0 {
		res.loss = max(0, 1-float64(delivered)/float64(sent))
	}
	if wrong := balance(sent, delivered, closing.dropped-opening.dropped); wrong != "" && res.refused == "" {
		res.refused = wrong
	}
	return nil
}

// percentiles are p50, p99 and p99.9 in µs of times in ns, which it sorts.
func percentiles(ns []uint32) (p [3]float64) {
	if len(ns) == 0 {
		return p
	}
	slices.Sort(ns)
	for i, q := range []float64{0.5, 0.99, 0.999} {
		p[i] = float64(ns[min(len(ns)-1, int(float64(len(ns))*q))]) / 1e3
	}
	return p
}

// schedIdle is SCHED_IDLE of sched(7): such a thread runs when nobody else
// wants the CPU.
const schedIdle = 5

// keepAwake spins on every CPU that is idle until the function that it returns
// is called, so that none halts: in a virtual machine waking one up takes longer
// than a switch does.
func keepAwake() (stop func()) {
	var done atomic.Bool
	var spinning sync.WaitGroup
	for range runtime.NumCPU() {
		spinning.Go(func() {
			// The thread ends with the goroutine, as it keeps its policy.
			runtime.LockOSThread()
			attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: schedIdle}
			if unix.SchedSetAttr(0, attr, 0) != nil {
				return // The row then measures a machine that halts.
			}
			for !done.Load() {
			}
		})
	}
	return func() {
		done.Store(true)
		spinning.Wait()
	}
}
