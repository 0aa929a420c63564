package vswitch

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// Journey is what becomes of one frame, decision by decision.
type Journey struct {
	Frame     *frame.Frame // as it was given, parsed
	VLANAware bool
	In        *ViewedPort // the ingress port
	Verdict   Verdict
	// Learning is what the FDB would make of the source; it means nothing unless
	// Learns is set.
	Learning fdb.Outcome
	Learns   bool
	// Source and Destination are what the FDB says about the addresses in the
	// frame's VLAN, nil for nothing. Elsewhere is what it says in other VLANs about a
	// destination that is not known in this one.
	Source, Destination *FDBEntry
	Elsewhere           []FDBEntry
	// Copies has, by name, the port of a known destination or, for a frame that is
	// to be flooded, every port. It is empty for a frame that gets not so far.
	Copies []Copy
}

// Copy is what becomes of a frame at one egress port.
type Copy struct {
	Port *ViewedPort // nil for one that has just been removed
	// Reason is Keep for a copy that is sent. What the kernel or the port's queue
	// makes of that nobody can know before.
	Reason frame.DropReason
	// Tag says how the copy differs from the frame received; Tagged and TCI what
	// C-TAG it has then, if any.
	Tag    port.TagAction
	Tagged bool
	TCI    frame.TCI
	// MTU is the least that the link has to have for it, in bytes.
	MTU int
	// Work is the offload work that the switch does for the port.
	Work frame.Offloads
}

// Delivered reports whether any port sends the frame.
func (j *Journey) Delivered() bool {
	return slices.ContainsFunc(j.Copies, func(c Copy) bool { return c.Reason == frame.Keep })
}

// Dropped returns the reason for which no port sends the frame, or Keep.
func (j *Journey) Dropped() frame.DropReason {
	switch {
	case j.Verdict.Reason != frame.Keep:
		return j.Verdict.Reason
	case j.Delivered():
		return frame.Keep
	}
	for _, c := range j.Copies {
		if c.Reason.Direction() == frame.Egress {
			return c.Reason
		}
	}
	return frame.DropNoMember
}

// Trace tells what would become of a frame received on a port. It parses f, and
// what is returned refers to it. The error is an ErrNotFound that names the port.
func (s *Switch) Trace(in string, f *frame.Frame) (*Journey, error) { return s.View().Trace(in, f) }

// Trace tells what would become of a frame received on a port. It parses f, and
// what is returned refers to it. The error is an ErrNotFound that names the port.
func (v *View) Trace(in string, f *frame.Frame) (*Journey, error) {
	p := v.ports[in]
	if p == nil {
		return nil, v.noPort(in)
	}
	j := &Journey{Frame: f, VLANAware: v.snapshot.vlanAware, In: p}
	if j.Verdict.Reason = f.Parse(); j.Verdict.Reason != frame.Keep {
		j.Verdict.Cause = CauseNone
		return j, nil
	}
	from := v.snapshot.ports[p.id]
	table, done := v.tableFor(from, f)
	decide(v.snapshot, table, from, f, v.tick(), &j.Verdict)
	done()
	v.tellStations(j)
	switch {
	case j.Verdict.Stage != StageEgress:
	case j.Verdict.Cause == CauseNone:
		j.Copies = []Copy{v.copyTo(j, j.Verdict.Port, j.Verdict.Reason)}
	default:
		v.flooded(j, from)
	}
	return j, nil
}

// Has returns nil if there is a port of that name, else an ErrNotFound that names it
// and what may have been meant.
func (v *View) Has(port string) error {
	if v.ports[port] == nil {
		return v.noPort(port)
	}
	return nil
}

func (v *View) noPort(name string) error {
	names := make([]string, 0, len(v.ports))
	for n := range v.ports {
		names = append(names, n)
	}
	slices.Sort(names)
	err := fmt.Errorf("port %.40q: %w", name, ErrNotFound)
	if near := config.Nearest(name, names); near != "" {
		err = fmt.Errorf("%w; did you mean %s?", err, near)
	}
	return err
}

// tableFor returns an FDB that knows what there is to know about the frame's
// addresses. The caller calls done when it has asked.
func (v *View) tableFor(in *portConfig, f *frame.Frame) (table *fdb.Table, done func()) {
	if v.next == nil {
		return v.table, func() {}
	}
	var to Verdict
	if v.snapshot.vlanAware {
		_ = classify(v.snapshot, in, f, &to) // Why not is decide's to say.
	}
	t, now := v.next.scratch, v.tick()
	keys := []fdb.Key{fdb.MakeKey(to.VID, f.Src), fdb.MakeKey(to.VID, f.Dst)}
	for _, k := range keys {
		r, known := v.entry(k)
		switch {
		case !known:
		case r.Kind == fdb.Dynamic:
			t.Learn(k, r.Port, now-r.Age)
		default:
			_ = t.Add(k, r.Port, r.Kind) // There is room, and a group address is no station's.
		}
	}
	return t, func() {
		for _, k := range keys {
			t.Remove(k)
		}
	}
}

// tellStations says what the FDB knows of the addresses and would learn.
func (v *View) tellStations(j *Journey) {
	vid, f := j.Verdict.VID, j.Frame
	if j.Verdict.Stage == StageIngress && j.VLANAware && vid == 0 {
		return // The frame is in no VLAN.
	}
	src := fdb.MakeKey(vid, f.Src)
	source, known := v.entry(src)
	if known {
		j.Source = v.inWords(source)
	}
	if j.Verdict.Learn && !f.Src.IsZero() {
		j.Learns, j.Learning = true, v.learning(j.In, source, known)
	}
	if f.Dst.IsGroup() {
		return
	}
	dst, known := v.entry(fdb.MakeKey(vid, f.Dst))
	if known {
		j.Destination = v.inWords(dst)
		return
	}
	for other, vl := range v.snapshot.vlans {
		if vl == nil || frame.VID(other) == vid {
			continue
		}
		if r, known := v.entry(fdb.MakeKey(frame.VID(other), f.Dst)); known {
			j.Elsewhere = append(j.Elsewhere, *v.inWords(r))
		}
	}
}

func (v *View) inWords(r fdb.Record) *FDBEntry {
	e := &FDBEntry{MAC: r.Key.MAC(), VID: r.Key.VID(), Kind: r.Kind, Age: int(r.Age) * int(v.unit.Seconds())}
	if p := v.byID[r.Port]; p != nil && r.Kind != fdb.Blackhole {
		e.Port = p.Name
	}
	return e
}

// learning foresees what Learn does with a station of port p, of which the FDB has
// the entry e if it is known: the rules of package fdb, but for hash buckets that
// are full and for what has expired since the last sweep.
func (v *View) learning(p *ViewedPort, e fdb.Record, known bool) fdb.Outcome {
	portFull := p.Config.Limit != nil && p.Learned >= *p.Config.Limit
	switch {
	case known && e.Kind != fdb.Dynamic:
		return fdb.Pinned
	case known && e.Port == p.id:
		return fdb.Refreshed
	case portFull:
		return fdb.Refused
	case known:
		return fdb.Moved
	case !v.full():
		return fdb.Learned
	}
	// Of a full FDB the port with the most addresses is refused, any other takes
	// the place of one of that port's.
	most := 0
	for _, o := range v.ports {
		most = max(most, o.Learned)
	}
	if v.limit == 0 || p.Learned >= most {
		return fdb.Refused
	}
	return fdb.Learned
}

// full reports whether the FDB has no room for one more learned address.
func (v *View) full() bool {
	var s fdb.Stats
	if v.table != nil {
		s = v.table.Stats()
	}
	static := s.Static + s.Blackhole
	if v.next != nil {
		static = len(v.next.static)
	}
	return v.limit >= 0 && s.Dynamic >= v.limit || s.Dynamic+static >= v.capacity
}

// flooded says of every port whether it gets a copy.
func (v *View) flooded(j *Journey, in *portConfig) {
	for _, p := range v.ports {
		out := Verdict{Port: p.id, VID: j.Verdict.VID}
		why := frame.Keep
		switch {
		case v.sendsTo(j, p.id):
		case p.id == in.id:
			why = frame.DropSamePort
		default:
			// What keeps a known destination from a port keeps a flood from it; else it
			// is the port's own wish.
			why = cmp.Or(egress(v.snapshot, in, &out), frame.DropFloodOff)
		}
		j.Copies = append(j.Copies, v.copyTo(j, p.id, why))
	}
	slices.SortFunc(j.Copies, func(a, b Copy) int { return cmp.Compare(a.Port.Name, b.Port.Name) })
}

// sendsTo reports whether the flood goes to a port.
func (v *View) sendsTo(j *Journey, id frame.PortID) bool {
	return j.Verdict.Reason == frame.Keep && j.Verdict.Out.Has(id)
}

// copyTo says what becomes of the copy for a port, which why may have refused
// already.
func (v *View) copyTo(j *Journey, id frame.PortID, why frame.DropReason) Copy {
	c := Copy{Port: v.byID[id], Reason: why}
	p := v.snapshot.ports[id]
	if why != frame.Keep || p == nil {
		return c
	}
	o := port.Out{Frame: j.Frame, TCI: j.Verdict.TCI, Tag: tagAction(v.snapshot, id, j.Frame, &j.Verdict)}
	c.Reason = refuse(p, &o)
	c.Tag, c.TCI, c.MTU = o.Tag, j.Frame.TCI, o.MTU()
	c.Tagged = j.Frame.Tagged && o.Tag != port.TagPop || o.Tag == port.TagPush
	if o.Tag == port.TagPush || o.Tag == port.TagReplace {
		c.TCI = o.TCI
	}
	if c.Reason != frame.Keep {
		return c
	}
	c.Work = j.Frame.Offload.Needs() &^ p.offloads
	if c.Work != 0 && j.Frame.Offload.GSOType != frame.GSONone {
		if _, ok := frame.SegmentsOf(j.Frame); !ok {
			c.Reason = frame.DropTransmitError
		}
	}
	return c
}
