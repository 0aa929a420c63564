package control

import (
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// drops waits for the drops of a reason that q selects.
func (r *rig) drops(q WhyQuery, reason string) *WhyGroup {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		told := must(r.Why(r.t.Context(), q))(r.t)
		for i := range told.Groups {
			if told.Groups[i].Reason == reason {
				return &told.Groups[i]
			}
		}
	}
	r.t.Fatalf("why %+v does not tell of %s", q, reason)
	return nil
}

func TestWhyNamesTheCauseOfADrop(t *testing.T) {
	for name, b := range broken {
		if b.reason == "" {
			continue // Nothing is dropped: trace tells.
		}
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b.breaks(r)
			if b.in == "c" {
				r.c.Send(b.frame)
			} else {
				r.a.Send(b.frame)
			}
			got := r.drops(WhyQuery{}, b.reason)
			for _, words := range b.says {
				if !strings.Contains(got.Because+"; "+got.Fix, words) {
					t.Errorf("%s; %s\ndoes not say %q", got.Because, got.Fix, words)
				}
			}
			if got.Frames != 1 || got.Sample == nil || got.Sample.In != b.in || got.Sample.Length != len(b.frame) {
				t.Fatalf("%+v, sample %+v", got, got.Sample)
			}
			if kept := string(b.frame[:min(len(b.frame), 128)]); string(got.Sample.Frame) != kept {
				t.Errorf("the sample is %x", got.Sample.Frame)
			}
		})
	}
}

func TestWhySelects(t *testing.T) {
	r := newRig(t)
	r.hear(r.b, station(2))
	r.a.Send(framed(9014, station(2), station(1))) // too long for b
	r.a.Send(framed(60, station(3), station(1), 0x81, 0, 0, 20, 8, 0))
	r.drops(WhyQuery{}, "oversize")
	r.drops(WhyQuery{}, "frame_type")
	one, two, none := station(1), station(2), station(9)
	for name, tt := range map[string]struct {
		q    WhyQuery
		want string
	}{
		"all":                           {WhyQuery{}, "oversize frame_type"},
		"counted at or in by the port":  {WhyQuery{Port: "a"}, "oversize frame_type"},
		"counted at the port":           {WhyQuery{Port: "b"}, "oversize"},
		"of the reason":                 {WhyQuery{Reason: "frame_type"}, "frame_type"},
		"from the address":              {WhyQuery{MAC: &one}, "oversize frame_type"},
		"to the address":                {WhyQuery{MAC: &two}, "oversize"},
		"of nobody":                     {WhyQuery{MAC: &none}, ""},
		"in the VLAN":                   {WhyQuery{VLAN: new(frame.VID(10))}, "oversize"},
		"in a VLAN without drops":       {WhyQuery{VLAN: new(frame.VID(30))}, ""},
		"of the reason, not to the MAC": {WhyQuery{Reason: "frame_type", MAC: &two}, ""},
	} {
		told := must(r.Why(t.Context(), tt.q))(t)
		has := map[string]bool{}
		for _, g := range told.Groups {
			has[g.Reason] = true
		}
		want := strings.Fields(tt.want)
		if len(has) != len(want) {
			t.Errorf("%s: %v, want %s", name, has, tt.want)
		}
		for _, reason := range want {
			if !has[reason] {
				t.Errorf("%s: %v, want %s", name, has, tt.want)
			}
		}
	}
}

// What would not be dropped any more has no cause, but is told of.
func TestWhyAfterTheCauseIsMended(t *testing.T) {
	r := newRig(t)
	r.a.Send(framed(60, station(2), station(1), 0x81, 0, 0, 20, 8, 0))
	r.drops(WhyQuery{}, "frame_type")
	r.set("a", func(c *config.Port) { c.Access, c.Trunk = 0, config.VIDsOf(10, 20) })
	if got := r.drops(WhyQuery{}, "frame_type"); got.Because != "" || got.Text == "" || got.Frames != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWrongWhyIsRefused(t *testing.T) {
	r := newRig(t)
	for query, want := range map[string]struct {
		status int
		words  string
	}{
		"port=ab":         {404, "did you mean a?"},
		"reason=oversise": {400, "did you mean oversize?"},
		"reason=keep":     {400, "there is no reason"},
		"mac=1":           {400, "mac"},
		"vlan=4095":       {400, "vlan"},
		"x=1":             {400, "the parameters are port, reason, mac, vlan"},
		"port=":           {400, "empty"},
	} {
		if status, answer := r.ask("GET", "/v1/why?"+query, ""); status != want.status || !strings.Contains(answer, want.words) {
			t.Errorf("%s: %d %s, want %d and %q", query, status, answer, want.status, want.words)
		}
	}
}
