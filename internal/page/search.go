package page

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// most is how many entries or groups an answer has.
const most = 200

// maxQuery is how long a search may be, in bytes.
const maxQuery = 200

// Found is the answer to a search of the FDB.
type Found struct {
	Entries []control.FDBEntry `json:"entries"`
	Matches int                `json:"matches"` // of which Entries are the first
}

// fdb finds the entries that each word matches: the VLAN exactly, or a part of
// the address, the port's name or the state.
func (p *Page) fdb(r *http.Request) (any, error) {
	all, err := p.views.FDB()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(query(r, "q")))
	found := &Found{Entries: []control.FDBEntry{}}
	for i := range all {
		if !matches(&all[i], words) {
			continue
		}
		if found.Matches++; found.Matches <= most {
			found.Entries = append(found.Entries, all[i])
		}
	}
	return found, nil
}

func matches(e *control.FDBEntry, words []string) bool {
	for _, word := range words {
		if word != strconv.Itoa(int(e.VLAN)) && !strings.Contains(e.MAC.String(), word) &&
			!strings.Contains(strings.ToLower(e.Port), word) && !strings.HasPrefix(e.State, word) {
			return false
		}
	}
	return true
}

// Reasons is the answer to the question why frames are dropped.
type Reasons struct {
	Groups []Reason `json:"groups"` // those with most frames first
}

// Reason is what a port has dropped for one reason.
type Reason struct {
	Port      string `json:"port"`
	Direction string `json:"direction"`
	Reason    string `json:"reason"`
	Frames    uint64 `json:"frames"` // since the port was made
	Text      string `json:"text"`
	// Of a frame that was dropped in the last minute: why it was, and what to do.
	Stage   string `json:"stage,omitempty"`
	Because string `json:"because,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// why lists the drops of a port, of a reason, or all.
func (p *Page) why(r *http.Request) (any, error) {
	port, reason := query(r, "port"), query(r, "reason")
	told, err := p.views.Why()
	if err != nil {
		return nil, err
	}
	groups := []Reason{}
	for _, s := range p.views.Stats().Ports {
		if port != "" && s.Name != port {
			continue
		}
		for why := frame.Keep + 1; why < frame.NumDropReasons; why++ {
			frames := max(s.DroppedIngress[why.String()], s.DroppedEgress[why.String()])
			if frames > 0 && (reason == "" || reason == why.String()) {
				g := Reason{Port: s.Name, Direction: why.Direction().String(), Reason: why.String(), Frames: frames, Text: why.Text()}
				g.explain(told)
				groups = append(groups, g)
			}
		}
	}
	slices.SortStableFunc(groups, func(a, b Reason) int { return cmp.Compare(b.Frames, a.Frames) })
	return &Reasons{groups[:min(len(groups), most)]}, nil
}

// explain takes over what is told of the port and the reason.
func (g *Reason) explain(told *control.Why) {
	for i := range told.Groups {
		if w := &told.Groups[i]; w.Port == g.Port && w.Reason == g.Reason {
			g.Because, g.Fix = w.Because, w.Fix
			if w.Sample != nil {
				g.Stage = w.Sample.Stage
			}
		}
	}
}

func query(r *http.Request, key string) string {
	text := r.URL.Query().Get(key)
	return text[:min(len(text), maxQuery)]
}
