package vswitch

import (
	"sync/atomic"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// worker is the goroutine of one receive queue. It owns its batch and outbox;
// nobody else reads or writes them.
type worker struct {
	live  *atomic.Pointer[snapshot]
	tick  *atomic.Uint32
	table *fdb.Table

	id       frame.PortID
	rx       port.Receiver
	counters *counters // of the ingress port; the receive side is written here only

	batch   *frame.Batch
	outbox  outbox
	divider divider
	verdict Verdict
	tally   tally
	samples atomic.Pointer[samples] // never nil while it runs

	// phase is odd while a batch is being relayed. See Switch.quiesce.
	phase atomic.Uint64
	done  chan struct{}
}

// run receives and relays until the port is closed or gone, and returns the
// error that said so.
func (w *worker) run() error {
	defer close(w.done)
	for {
		if err := w.rx.ReadBatch(w.batch); err != nil {
			return err
		}
		w.relayBatch()
	}
}

// relayBatch takes the frames of one batch through the forwarding process: one
// snapshot and one tick for all of them, one flush at the end.
func (w *worker) relayBatch() {
	w.phase.Add(1)
	s, now := w.live.Load(), fdb.Tick(w.tick.Load())
	in := s.ports[w.id]
	w.outbox.samples = w.samples.Load()
	if w.table.Large() {
		w.foresee(s, in)
	}
	for i := range w.batch.Live() {
		f := &w.batch.Frames[i]
		w.tally.received(f)
		if why := w.relay(s, in, f, now); why != frame.Keep {
			w.counters.dropped[why].Add(1)
			w.outbox.samples.take(f, why, w.id, w.verdict.Stage, w.verdict.VID)
		}
	}
	w.flush(s)
	w.tally.settle(w.counters)
	w.phase.Add(1)
}

// foresee has the stations of the whole batch looked for in memory at once, before
// relay asks for one after the other: of a million, each is a cache miss.
func (w *worker) foresee(s *snapshot, in *portConfig) {
	for i := range w.batch.Live() {
		f := &w.batch.Frames[i]
		if in == nil || f.Parse() != frame.Keep {
			continue
		}
		vid := f.TCI.VID()
		if !s.vlanAware {
			vid = 0
		} else if vid == frame.VIDPriority {
			vid = in.pvid
		}
		w.table.Touch(fdb.MakeKey(vid, f.Src))
		w.table.Touch(fdb.MakeKey(vid, f.Dst))
	}
}

// relay takes one frame from parsing to the outbox.
func (w *worker) relay(s *snapshot, in *portConfig, f *frame.Frame, now fdb.Tick) frame.DropReason {
	w.verdict.Stage, w.verdict.VID = StageParse, 0
	if in == nil {
		return frame.DropIngressState // the port is being removed
	}
	if why := f.Parse(); why != frame.Keep {
		return why
	}
	w.tally.class(f.Dst)
	v := &w.verdict
	decide(s, w.table, in, f, now, v)
	if v.Learn && !f.Src.IsZero() {
		w.table.Learn(fdb.MakeKey(v.VID, f.Src), in.id, now)
	}
	if v.Reason != frame.Keep {
		return v.Reason
	}
	w.tally.relayed++
	if v.Cause == CauseNone {
		w.send(s, v.Port, f)
	} else {
		w.tally.flooded[v.Cause]++
		for id := range v.Out.All() {
			w.send(s, id, f)
		}
	}
	if w.divider.wanted {
		w.divide(s, f)
	}
	return frame.Keep
}

// send queues the copy for one egress port, unless the port must not have it,
// with the offload work that the port does not take over done.
func (w *worker) send(s *snapshot, id frame.PortID, f *frame.Frame) {
	p := s.ports[id]
	o := port.Out{Frame: f, TCI: w.verdict.TCI, Tag: tagAction(s, id, f, &w.verdict)}
	if why := refuse(p, &o); why != frame.Keep {
		w.tally.copies++
		w.outbox.lose(p, &o, why)
		return
	}
	if f.Offload.Needs()&^p.offloads != 0 {
		if f.Offload.GSOType != frame.GSONone {
			w.divider.want(id)
			return
		}
		f.Complete()
	}
	w.add(s, id, o)
}

func (w *worker) add(s *snapshot, id frame.PortID, o port.Out) {
	w.tally.copies++
	w.outbox.add(s, id, o)
}

// flush sends what is in the outbox.
func (w *worker) flush(s *snapshot) {
	w.outbox.flush(s)
	w.divider.reuse()
}
