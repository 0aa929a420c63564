package vswitch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// foretold relays one frame and fails unless all of it was told before, by the
// view of what is in force and by that of the same configuration as a candidate.
func (u *duel) foretold(checkCandidate bool) {
	u.Helper()
	name, f := pick(u.dice, u.names...), u.frame()
	ask := func(v *View) *Journey {
		j, err := v.Trace(name, &frame.Frame{Bytes: bytes.Clone(f.Bytes), Offload: f.Offload})
		u.must(err)
		return j
	}
	j := ask(u.s.View())
	if checkCandidate {
		v, err := u.s.Candidate(u.s.Running())
		u.must(err)
		if again := ask(v); !sameJourney(j, again) && !staticOutside(u, j) {
			u.Fatalf("frame % x on %s: in force\n%+v\nas a candidate\n%+v", f.Bytes[:min(30, len(f.Bytes))], name, j, again)
		}
	}

	before, table := map[string]PortStats{}, u.s.table.Stats()
	for _, n := range u.names {
		before[n] = u.s.ports[n].counters.load()
	}
	w := u.s.ports[name].worker
	w.batch.N = 1
	w.batch.Frames[0] = frame.Frame{Bytes: f.Bytes, Offload: f.Offload}
	u.m.relay(name, f)
	w.relayBatch()

	in := u.s.ports[name].counters.load()
	if why := j.Verdict.Reason; why == frame.Keep && in.Relayed != before[name].Relayed+1 || why != frame.Keep && in.Dropped[why] != before[name].Dropped[why]+1 {
		u.Fatalf("frame % x on %s: told %v, counted %+v", f.Bytes[:min(30, len(f.Bytes))], name, why, in)
	}
	u.learned(j, table)
	told := map[string]Copy{}
	for _, c := range j.Copies {
		told[c.Port.Name] = c
	}
	for _, n := range u.names {
		u.sentAsTold(n, j.Frame, told, before[n])
	}
}

// sentAsTold checks one egress port, and empties its cable and the model's.
func (u *duel) sentAsTold(name string, f *frame.Frame, told map[string]Copy, before PortStats) {
	u.Helper()
	c, expected := told[name]
	got, p := u.cables[name].Taken(), u.m.ports[name]
	p.sent = nil
	after := u.s.ports[name].counters.load()
	switch {
	case expected && c.Reason == frame.Keep && p.refuse == frame.Keep:
		if len(got) != 1 || !bytes.Equal(got[0].Bytes, c.rendered(f)) {
			u.Fatalf("port %s was told to send %+v and sent %s", name, c, dumpSent(got))
		}
	case expected && c.Reason.Direction() == frame.Egress:
		if after.Dropped[c.Reason] != before.Dropped[c.Reason]+1 || len(got) != 0 {
			u.Fatalf("port %s was told to refuse %+v and sent %s, counted %+v", name, c, dumpSent(got), after.Dropped)
		}
	case len(got) != 0:
		u.Fatalf("port %s was told to send nothing (%v) and sent %s", name, c.Reason, dumpSent(got))
	}
}

// rendered returns f as the copy says that it is sent.
func (c *Copy) rendered(f *frame.Frame) []byte {
	b, rest := bytes.Clone(f.Bytes[:12]), f.Bytes[12:]
	if f.Tagged {
		rest = f.Bytes[16:]
	}
	if c.Tagged {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), uint16(c.TCI))
	}
	return append(b, rest...)
}

// learned compares what was told about the source with what the table did.
func (u *duel) learned(j *Journey, before fdb.Stats) {
	u.Helper()
	after := u.s.table.Stats()
	if after.Aged > before.Aged {
		return // An entry of the station that had expired still counted.
	}
	did := [...]bool{
		fdb.Learned: after.Learned > before.Learned, fdb.Moved: after.Moved > before.Moved, fdb.Refused: after.Refused > before.Refused,
		fdb.Refreshed: false, fdb.Pinned: false,
	}
	for outcome, done := range did {
		if told := j.Learns && int(j.Learning) == outcome; told != done && (done || outcome == int(fdb.Learned) || outcome == int(fdb.Moved) || outcome == int(fdb.Refused)) {
			u.Fatalf("%v learns %v, told outcome %d; the table %+v, then %+v", j.Frame.Src, j.Learns, j.Learning, before, after)
		}
	}
}

func sameJourney(a, b *Journey) bool {
	if a.Verdict.Reason != b.Verdict.Reason || a.Verdict.Stage != b.Verdict.Stage || a.Verdict.VID != b.Verdict.VID || len(a.Copies) != len(b.Copies) {
		return false
	}
	for i, c := range a.Copies {
		d := b.Copies[i]
		if c.Port.Name != d.Port.Name || c.Reason != d.Reason || c.Tag != d.Tag || c.TCI != d.TCI {
			return false
		}
	}
	return a.Learns == b.Learns && a.Learning == b.Learning && reflect.DeepEqual(a.Source, b.Source) && reflect.DeepEqual(a.Destination, b.Destination)
}

// staticOutside tells of a frame from or to a static entry of a port that has left
// the VLAN: no configuration has it.
func staticOutside(u *duel, j *Journey) bool {
	for _, e := range []*FDBEntry{j.Source, j.Destination} {
		if e != nil && e.Kind == fdb.Static && u.m.aware && !u.m.ports[e.Port].member[e.VID] {
			return true
		}
	}
	return false
}

func TestTraceTellsWhatTheRelayDoes(t *testing.T) {
	const perSwitch = 2000
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for range max(1, *modelFrames/20/perSwitch) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			u := newDuel(t, rand.New(rand.NewPCG(seed, 0)).IntN)
			defer u.close()
			for range perSwitch {
				if u.one(12) {
					u.change()
					continue
				}
				u.foretold(u.one(8))
			}
			u.compareFDB() // Nothing was learned but from the frames.
		})
		if t.Failed() {
			t.Fatalf("repeat with -run TestTraceTellsWhatTheRelayDoes -model.seed %d", seed)
		}
		seed++
	}
}

// asked traces a frame that a station sends.
func (r *rig) asked(in string, f []byte) *Journey {
	r.Helper()
	j, err := r.Trace(in, &frame.Frame{Bytes: f})
	if err != nil {
		r.Fatal(err)
	}
	return j
}

func TestTraceChangesNothing(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10))
	before := r.Ports()
	if j := r.asked("a", eth(frame.Broadcast, sta(1))); !j.Delivered() || !j.Learns || j.Learning != fdb.Learned {
		t.Errorf("a broadcast is delivered %v, learned %v", j.Delivered(), j.Learning)
	}
	r.expect(nil)
	if n := r.table.Stats(); n.Dynamic != 0 || n.Refused != 0 {
		t.Errorf("the FDB has changed: %+v", n)
	}
	for i, p := range r.Ports() {
		if p.Stats != before[i].Stats {
			t.Errorf("port %s counted %+v, before %+v", p.Config.Name, p.Stats, before[i].Stats)
		}
	}
}

// A candidate has the links and stations of what is running, where they would stay.
func TestCandidateKeepsWhatWouldStay(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 10), access("c", 20))
	r.send("b", eth(frame.Broadcast, sta(2)))
	next := r.Running()
	candidate := func(change func(*config.Config)) *View {
		c := *next
		c.Ports = append([]config.Port(nil), next.Ports...)
		change(&c)
		v, err := r.Candidate(&c)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	told := func(v *View) *Journey {
		j, err := v.Trace("a", &frame.Frame{Bytes: eth(sta(2), sta(1))})
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	for name, tt := range map[string]struct {
		change func(*config.Config)
		stage  Stage
		known  bool
		reason frame.DropReason
	}{
		"as it is":          {func(*config.Config) {}, StageEgress, true, frame.Keep},
		"left the VLAN":     {func(c *config.Config) { c.Ports[1].Access = 20 }, StageEgress, false, frame.DropNoMember},
		"taken down":        {func(c *config.Config) { c.Ports[1].Up = new(false) }, StageEgress, false, frame.DropNoMember},
		"another port":      {func(c *config.Config) { c.Ports[1].Ifname = "other" }, StageEgress, false, frame.Keep},
		"removed":           {func(c *config.Config) { c.Ports = append(c.Ports[:1], c.Ports[2:]...) }, StageEgress, false, frame.DropNoMember},
		"a blackhole":       {func(c *config.Config) { c.FDB.Static = []config.StaticEntry{{MAC: sta(2), VLAN: 10, Blackhole: true}} }, StageLookup, true, frame.DropBlackhole},
		"discarding source": {func(c *config.Config) { c.Ports[0].State = config.StateDiscarding }, StageIngress, false, frame.DropIngressState},
		"flooding off":      {func(c *config.Config) { c.Ports[1].Access, c.Ports[2].Access, c.Ports[2].Flood = 20, 10, new(false) }, StageEgress, false, frame.DropFloodOff},
	} {
		j := told(candidate(tt.change))
		if j.Verdict.Reason != tt.reason || j.Verdict.Stage != tt.stage || (j.Destination != nil) != tt.known {
			t.Errorf("%s: %v at %v, destination %+v", name, j.Verdict.Reason, j.Verdict.Stage, j.Destination)
		}
	}
	if j := r.asked("a", eth(sta(2), sta(1))); j.Destination == nil || j.Verdict.Reason != frame.Keep {
		t.Errorf("the running switch is not as it was: %+v", j)
	}
	if _, err := r.Candidate(&config.Config{VLANAware: new(true), Ports: []config.Port{{Name: "a", Access: 5000}}}); err == nil {
		t.Error("a configuration that is not valid was taken")
	}
}

func TestTraceSaysWhatWorkAPortLeavesToTheSwitch(t *testing.T) {
	r := newRig(t, true, access("a", 10))
	plain := porttest.NewCableOf(16, 0)
	if err := r.Attach(access("b", 10), plain, upLink); err != nil {
		t.Fatal(err)
	}
	f := &frame.Frame{Bytes: eth(frame.Broadcast, sta(1), 8, 0, 0x45), Offload: frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 34, CsumOffset: 16}}
	j, err := r.Trace("a", f)
	if err != nil {
		t.Fatal(err)
	}
	if c := j.Copies[1]; c.Port.Name != "b" || c.Work != frame.OffloadCsum {
		t.Errorf("work for %s: %v", c.Port.Name, c.Work)
	}
}
