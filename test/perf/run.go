package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// run is the measurements under way.
type run struct {
	*options
	topologies []*topology
	hypervisor *hypervisor // nil if no virtual machine runs
	series     map[key][]sample
	idles      []idleness
	scales     []scaled
	notes      []string
}

// key names a cell of the table.
type key struct{ row, topology string }

// sample is one measurement of a cell, in a repetition. Only those of one
// repetition are compared.
type sample struct {
	repetition int
	result
}

var errInterrupted = errors.New("interrupted")

// perform measures and reports.
func (o *options) perform(ctx context.Context, out io.Writer) error {
	r := &run{options: o, series: map[key][]sample{}, topologies: []*topology{bridgeTopology()}}
	for _, v := range o.variants {
		r.topologies = append(r.topologies, v.topology())
	}
	r.topologies = append(r.topologies, o.variants[0].netdevTopology())
	r.topologies = append(r.topologies, o.variants[0].besideTopologies()...)
	dir, err := os.MkdirTemp("", "perf")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r.probeGuests(dir)
	r.probe()
	r.topologies = append(r.topologies, r.peers...)
	rows := r.rows
	for i := 0; i < o.repeat*2 && len(rows) > 0 && ctx.Err() == nil; i++ {
		if i >= o.repeat {
			rows = append(r.unsteady(), r.short()...)
			slices.SortFunc(rows, func(a, b *row) int { return slices.Index(r.rows, a) - slices.Index(r.rows, b) })
			if rows = slices.Compact(rows); len(rows) == 0 {
				break
			}
		}
		if err := r.repetition(ctx, i, rows); err != nil {
			return err
		}
	}
	for _, w := range r.unsteady() {
		r.note("the quartiles of %s itself differ by more than %.0f %% in %s, repeated %d times: the machine was not steady", r.base(w).name, maxSpread*100, w.name, o.repeat*2)
	}
	if o.idle {
		if err := r.measureIdles(ctx, o.progress); err != nil {
			return err
		}
	}
	if o.scale {
		if err := r.measureScales(ctx, o.progress); err != nil {
			return err
		}
	}
	r.print(out)
	if ctx.Err() != nil {
		return errInterrupted
	}
	missing := r.missing()
	if o.docs == "" {
		return missing
	}
	return errors.Join(missing, r.write(o.docs))
}

// probe leaves the peers out that do not work here.
func (r *run) probe() {
	r.peers = slices.DeleteFunc(slices.Clone(r.peers), func(t *topology) bool {
		nw, err := newNetwork(t, 2)
		if err != nil {
			r.note("without %s: %v", t.name, err)
			return true
		}
		nw.close()
		return false
	})
}

// probeGuests leaves the rows with virtual machines out if none boots here. dir is
// for its image.
func (r *run) probeGuests(dir string) {
	with := func(w *row) bool { return w.scene == guests }
	if !slices.ContainsFunc(r.rows, with) {
		return
	}
	h, err := newHypervisor(dir, r.kernel)
	if err == nil {
		var nw *network
		if nw, err = newNetwork(h.bridgeTopology(), 1); err == nil {
			nw.close()
		}
	}
	if err != nil {
		r.note("without virtual machines: %v", err)
		r.rows = slices.DeleteFunc(slices.Clone(r.rows), with)
		return
	}
	r.topologies = append(r.topologies, h.bridgeTopology(), r.variants[0].guestTopology(h))
	r.hypervisor = h
}

// missing is an error that names the cells of the table that have no figure. Of
// virtual machines one may be missing: much in them is not the benchmark's, and the
// page says why.
func (r *run) missing() (err error) {
	for _, w := range r.rows {
		for _, t := range r.topologies {
			if w.scene != guests && w.on(t) && len(values(r.of(w, t), rateOf)) == 0 {
				err = errors.Join(err, fmt.Errorf("no figure for %s on %s: every measurement was refused", w.name, t.name))
			}
		}
	}
	return err
}

func (r *run) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// repetition measures every row on every topology, row by row, so that what is
// compared is seconds apart. Each starts anew, and the order turns from one
// repetition to the next.
func (r *run) repetition(ctx context.Context, i int, rows []*row) error {
	up := map[string]*network{}
	defer func() {
		for _, nw := range up {
			nw.close()
		}
	}()
	turn := i % len(r.topologies)
	order := append(r.topologies[turn:len(r.topologies):len(r.topologies)], r.topologies[:turn]...)
	for _, w := range rows {
		for _, t := range order {
			if ctx.Err() != nil {
				return nil
			}
			if !w.on(t) {
				continue
			}
			err := r.sample(ctx, i, w, t, up)
			if err == errInterrupted {
				return nil
			}
			if err != nil && w.scene == guests { // On a busy machine some do not boot in time.
				fmt.Fprintln(r.progress, err)
				k := key{w.name, t.name}
				r.series[k] = append(r.series[k], sample{i, result{refused: err.Error()}})
				err = nil
				if nw := up[at(w, t)]; nw != nil {
					nw.close()
					delete(up, at(w, t))
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// at names the network that the row is measured on.
func at(w *row, t *topology) string { return fmt.Sprintf("%s/%d", t.name, w.hosts) }

func (r *run) sample(ctx context.Context, i int, w *row, t *topology, up map[string]*network) error {
	nw, ok := up[at(w, t)]
	if !ok {
		var err error
		if nw, err = newNetwork(t, w.hosts); err != nil {
			return err
		}
		up[at(w, t)] = nw
	}
	unlock, err := takeTurn(ctx, r.lock)
	if err != nil {
		return err
	}
	res, err := r.method.measure(ctx, w, nw, started(up))
	unlock()
	if err != nil {
		return err
	}
	k := key{w.name, t.name}
	r.series[k] = append(r.series[k], sample{i, res})
	unit, _ := w.rate()
	fmt.Fprintf(r.progress, "%s  %d/%d %-8s %-18s %10s %s  %s\n", time.Now().Format(time.TimeOnly), i+1, r.repeat, w.name, t.name, figure(res.rate), unit, cmp.Or(res.refused, res.noise))
	return nil
}

// started are the processes of all networks.
func started(up map[string]*network) (pids []int) {
	for _, nw := range up {
		for _, p := range nw.procs {
			pids = append(pids, p.Process.Pid)
		}
		if nw.guest != nil {
			pids = append(pids, nw.guest.PID())
		}
	}
	return pids
}

// takeTurn waits for the lock, if there is a file for one, and returns what
// gives it up.
func takeTurn(ctx context.Context, path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case <-ctx.Done():
		return nil, errInterrupted // With the process the wait ends.
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		return func() { f.Close() }, nil
	}
}
