package control

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// mostGroups is how many groups an answer has.
const mostGroups = 200

// WhyQuery selects drops; the zero value is all of them.
type WhyQuery struct {
	Port   string // that dropped them, or that they came in by
	Reason string
	MAC    *frame.MAC // of their source or destination; only groups with such a sample
	VLAN   *frame.VID // that they were classified to; only groups with such a sample
}

// Why is the answer to GET /v1/why: what was dropped in the last minute, those groups
// with most frames first. Of more than 200 groups there are the first.
type Why struct {
	Groups []WhyGroup `json:"groups"`
}

// WhyGroup is what a port has dropped for a reason.
type WhyGroup struct {
	Port      string `json:"port"`
	Direction string `json:"direction"` // ingress or egress: where the port counts it
	Reason    string `json:"reason"`
	Text      string `json:"text"` // the reason in a sentence
	// Frames are those of the last minute; Last is when the last one was noticed.
	Frames uint64    `json:"frames"`
	Last   time.Time `json:"last"`
	// Because and Fix are about the sample: why such a frame is dropped, and what to
	// do if it should not be. Without Because it would not be dropped any more, or the
	// kernel drops it.
	Because string `json:"because,omitempty"`
	Fix     string `json:"fix,omitempty"`
	// Origin is what has configured the port so: FILE:LINE of the startup file, or the
	// request that has changed it.
	Origin string     `json:"origin,omitempty"`
	Sample *WhySample `json:"sample,omitempty"` // the newest
}

// WhySample is a dropped frame.
type WhySample struct {
	At     time.Time  `json:"at"`
	In     string     `json:"in"` // the port that it came in by
	Stage  string     `json:"stage"`
	VLAN   frame.VID  `json:"vlan,omitempty"`
	Length int        `json:"length"` // bytes without FCS
	Frame  FrameBytes `json:"frame"`  // the first of them
}

func (s *Server) why(r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	w := WhyQuery{Port: q.Get("port"), Reason: q.Get("reason")}
	var err error
	if w.MAC, err = macParameter(q.Get("mac")); err != nil {
		return nil, err
	}
	if w.VLAN, err = vlanParameter(q.Get("vlan")); err != nil {
		return nil, err
	}
	if err := s.checkVLAN(w.VLAN); err != nil {
		return nil, err
	}
	return s.whyNow(&w)
}

func (s *Server) whyNow(w *WhyQuery) (*Why, error) {
	if w.Reason != "" && !slices.ContainsFunc(reasons(), func(name string) bool { return name == w.Reason }) {
		e := invalid("reason: there is no reason %.40q", w.Reason)
		if near := config.Nearest(w.Reason, reasons()); near != "" {
			e.Fix = fmt.Sprintf("did you mean %s?", near)
		}
		return nil, e
	}
	v := s.sw.View()
	if w.Port != "" {
		if err := v.Has(w.Port); err != nil {
			return nil, err
		}
	}
	answer, from := &Why{Groups: []WhyGroup{}}, s.origins()
	for _, g := range s.sw.Drops() {
		if w.Reason != "" && g.Reason.String() != w.Reason {
			continue
		}
		sample, ok := w.pick(&g)
		if !ok {
			continue
		}
		told := groupInWords(v, &g, sample)
		told.Origin = from.of(g.Port, g.Reason)
		answer.Groups = append(answer.Groups, told)
		if len(answer.Groups) == mostGroups {
			break
		}
	}
	return answer, nil
}

// reasons are the names of all reasons to drop.
func reasons() (names []string) {
	for why := frame.Keep + 1; why < frame.NumDropReasons; why++ {
		names = append(names, why.String())
	}
	return names
}

// pick reports whether the group is asked for, and returns its newest sample that is,
// nil for none.
func (w *WhyQuery) pick(g *vswitch.DropGroup) (*vswitch.DroppedFrame, bool) {
	for i := range g.Samples {
		d := &g.Samples[i]
		f := frame.Frame{Bytes: d.Bytes}
		parsed := f.Parse() != frame.DropTooShort
		switch {
		case w.Port != "" && w.Port != g.Port && w.Port != d.Ingress:
		case w.MAC != nil && (!parsed || f.Src != *w.MAC && f.Dst != *w.MAC):
		case w.VLAN != nil && d.VID != *w.VLAN:
		default:
			return d, true
		}
	}
	return nil, w.MAC == nil && w.VLAN == nil && (w.Port == "" || w.Port == g.Port)
}

func groupInWords(v *vswitch.View, g *vswitch.DropGroup, d *vswitch.DroppedFrame) WhyGroup {
	out := WhyGroup{
		Port: g.Port, Direction: g.Reason.Direction().String(), Reason: g.Reason.String(), Text: g.Reason.Text(),
		Frames: g.Frames, Last: g.Last,
	}
	if d == nil {
		return out
	}
	out.Sample = &WhySample{At: d.At, In: d.Ingress, Stage: d.Stage.String(), VLAN: d.VID, Length: d.Len, Frame: d.Bytes}
	if j, err := v.Trace(d.Ingress, d.Frame()); err == nil {
		a := journey{j}.refusedBy(g.Port, g.Reason)
		out.Because, out.Fix = a.because, a.fix
	}
	return out
}

// refusedBy is about the frame or the copy that the port drops for the reason, if it
// does.
func (j journey) refusedBy(port string, why frame.DropReason) advice {
	if j.Verdict.Reason == why && j.In.Name == port {
		return j.dropped(why)
	}
	for i := range j.Copies {
		if c := &j.Copies[i]; c.Reason == why && c.Port != nil && c.Port.Name == port {
			return j.refused(c)
		}
	}
	return advice{}
}
