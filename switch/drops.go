package vswitch

import (
	"cmp"
	"slices"
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	dropSeconds = 60 // for how long drops are told of
	dropSamples = 4  // kept of one port and reason
)

// DropGroup is what one port has dropped for one reason in the last minute. What the
// kernel has dropped in front of the switch is not among it.
type DropGroup struct {
	Port   string // at which the drop is counted, see frame.DropReason.Direction
	Reason frame.DropReason
	Frames uint64    // or copies, if the reason is of egress
	Last   time.Time // to a second
	// Samples are some of them, the newest first; of a port that drops for several
	// reasons and often there may be none.
	Samples []DroppedFrame
}

// DroppedFrame is a sample of what was dropped.
type DroppedFrame struct {
	At      time.Time
	Ingress string // the port that it came in by
	Stage   Stage  // that dropped it
	VID     frame.VID
	Offload frame.Offload
	Len     int    // bytes as received, without FCS
	Bytes   []byte // the first of them, 128 at the most
}

// Frame returns the frame with zeros for the bytes that were not kept.
func (d *DroppedFrame) Frame() *frame.Frame {
	return &frame.Frame{Bytes: append(slices.Clone(d.Bytes), make([]byte, d.Len-len(d.Bytes))...), Offload: d.Offload}
}

// drops are those of the last minute. Switch.mu guards it.
type drops struct {
	groups  map[dropKey]*dropGroup
	started time.Time
	second  int // since then, as of the last gathering
	spare   *samples
}

type dropKey struct {
	port   string
	reason frame.DropReason
}

type dropGroup struct {
	frames  [dropSeconds]uint64 // by second, the present one at second%dropSeconds
	last    time.Time
	samples []DroppedFrame // the newest last
}

// Drops are those of the last minute, by port and reason, most frames first.
func (s *Switch) Drops() []DropGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gatherDrops(time.Now())
	all := make([]DropGroup, 0, len(s.drops.groups))
	for key, g := range s.drops.groups {
		newest := slices.Clone(g.samples)
		slices.Reverse(newest)
		all = append(all, DropGroup{key.port, key.reason, g.sum(), g.last, newest})
	}
	slices.SortFunc(all, func(a, b DropGroup) int {
		return cmp.Or(cmp.Compare(b.Frames, a.Frames), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// gatherDrops brings the drops up to date. The caller holds mu.
func (s *Switch) gatherDrops(now time.Time) {
	d := &s.drops
	d.forget(int(now.Sub(d.started) / time.Second))
	s.fetchSamples() // What has been sampled has been counted before.
	for _, a := range s.ports {
		if a.worker == nil {
			continue
		}
		for why := frame.Keep + 1; why < frame.NumDropReasons; why++ {
			n := a.counters.dropped[why].Load()
			if n == a.gathered[why] {
				continue
			}
			g := d.group(dropKey{a.name, why})
			g.frames[d.second%dropSeconds] += n - a.gathered[why]
			g.last, a.gathered[why] = now, n
		}
	}
}

// fetchSamples gives each worker that has some an empty set for them. The caller
// holds mu.
func (s *Switch) fetchSamples() {
	var names map[frame.PortID]string
	for _, a := range s.ports {
		if a.worker == nil || !a.worker.samples.Load().any.Load() {
			continue
		}
		if names == nil {
			names = make(map[frame.PortID]string, len(s.ports))
			for _, p := range s.ports {
				names[p.id] = p.name
			}
		}
		// Once the worker is between two batches it has the other set.
		full := a.worker.samples.Swap(cmp.Or(s.drops.spare, &samples{}))
		a.worker.quiesce()
		for i := range full.list[:full.n] {
			x := &full.list[i]
			if names[x.port] == "" {
				continue // The port has gone.
			}
			s.drops.keep(dropKey{names[x.port], x.reason}, DroppedFrame{
				At: x.at, Ingress: a.name, Stage: x.stage, VID: x.vid, Offload: x.off, Len: x.length,
				Bytes: slices.Clone(x.bytes[:min(x.length, sampleBytes)]),
			})
		}
		full.empty()
		s.drops.spare = full
	}
}

// forget makes second the present one, and forgets what is a minute old.
func (d *drops) forget(second int) {
	for key, g := range d.groups {
		for old := max(d.second, second-dropSeconds) + 1; old <= second; old++ {
			g.frames[old%dropSeconds] = 0
		}
		if g.sum() == 0 {
			delete(d.groups, key)
		}
	}
	d.second = second
}

func (d *drops) group(key dropKey) *dropGroup {
	g := d.groups[key]
	if g == nil {
		g = &dropGroup{}
		d.groups[key] = g
	}
	return g
}

// keep adds a sample to its group.
func (d *drops) keep(key dropKey, f DroppedFrame) {
	g := d.group(key)
	if len(g.samples) == dropSamples {
		g.samples = slices.Delete(g.samples, 0, 1)
	}
	g.samples = append(g.samples, f)
}

func (g *dropGroup) sum() (n uint64) {
	for _, frames := range g.frames {
		n += frames
	}
	return n
}
