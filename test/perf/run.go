package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// run is the measurements under way.
type run struct {
	*options
	topologies []*topology
	series     map[key][]sample
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

func (o *options) perform(ctx context.Context, out io.Writer) error {
	r := &run{options: o, series: map[key][]sample{}, topologies: []*topology{bridgeTopology()}}
	for _, v := range o.variants {
		r.topologies = append(r.topologies, v.topology())
	}
	r.topologies = append(r.topologies, o.peers...)
	rows := o.rows
	for i := 0; i < o.repeat*2 && len(rows) > 0 && ctx.Err() == nil; i++ {
		if i >= o.repeat {
			if rows = r.unsteady(); len(rows) == 0 {
				break
			}
		}
		if err := r.repetition(ctx, i, rows); err != nil {
			return err
		}
	}
	for _, w := range r.unsteady() {
		r.note("the bridge's own quartiles differ by more than %.0f %% in %s, repeated %d times: the machine was not steady", maxSpread*100, w.name, o.repeat*2)
	}
	r.print(out)
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if o.docs == "" {
		return nil
	}
	return r.write(o.docs)
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
			if err := r.sample(i, w, t, up); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) sample(i int, w *row, t *topology, up map[string]*network) error {
	at := fmt.Sprintf("%s/%d", t.name, w.hosts)
	nw, ok := up[at]
	if !ok {
		var err error
		if nw, err = newNetwork(t, w.hosts); err != nil {
			return err
		}
		up[at] = nw
	}
	unlock, err := takeTurn(r.lock)
	if err != nil {
		return err
	}
	res, err := r.method.measure(w, nw, started(up))
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
	}
	return pids
}

// takeTurn waits for the lock, if there is a file for one, and returns what
// gives it up.
func takeTurn(path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if err != unix.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}
