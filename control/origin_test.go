package control

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

func TestOriginIsTheLineThatDecides(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.yaml")
	text := []byte("vlan_aware: true\nports:\n  - name: a\n    access: 10\n  - {name: b, access: 10}\n  - {name: c, access: 10}\n")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := must(config.Parse(path, text))(t)
	sw := newSwitch(t, map[string]*porttest.Cable{"a": porttest.NewCable(1), "b": porttest.NewCable(1)})
	if err := sw.Attach(config.Port{Name: "c", Access: 20}, porttest.NewCable(1), port.Link{MTU: 1500, Up: true}); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := NewServer(sw, Daemon{Running: NewRunning(sw, "", Startup{path, c, config.Sum(text)}, log)}, log)
	for _, tt := range []struct {
		port string
		why  frame.DropReason
		want string
	}{
		{"a", frame.DropIngressFilter, path + ":4"},
		{"a", frame.DropBlackhole, path + ":3"},
		{"b", frame.DropOversize, path + ":5"}, // the MTU is not stated
		{"c", frame.DropIngressFilter, "a change before the daemon's last start, see: vswitchctl config diff"},
		{"x", frame.DropIngressFilter, "a rule of auto_attach"},
	} {
		if got := s.origins().of(tt.port, tt.why); got != tt.want {
			t.Errorf("%s, %v: %q, want %q", tt.port, tt.why, got, tt.want)
		}
	}
	// Lines of a file that was edited since would mislead.
	if err := os.WriteFile(path, append([]byte("# new\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.origins().of("a", frame.DropIngressFilter); got != path {
		t.Errorf("of an edited file: %q", got)
	}
}

func TestOriginIsTheChangeThatWasMade(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct{ method, path, body, port, want string }{
		{"PATCH", "/v1/ports/a", `{"isolated":3}`, "a", `^port set by uid \d+ at \d\d:\d\d:\d\d$`},
		{"PATCH", "/v1/ports/b", `{"isolated":"wrong"}`, "b", `^a change before`},
		{"POST", "/v1/config/apply", `{"vlan_aware":true,"ports":[{"name":"a","access":10},{"name":"b","access":20}]}`, "b", `^config apply by uid`},
		{"PATCH", "/v1/ports/b", `{"isolated":4}`, "b", `^port set`},
	} {
		status, answer := r.ask(tt.method, tt.path, tt.body)
		r.b.Send(framed(60, station(2), frame.Broadcast))
		r.a.Send(framed(60, station(2), frame.Broadcast))
		r.drops(WhyQuery{Port: tt.port}, "source_group")
		if got := r.drops(WhyQuery{Port: tt.port}, "source_group").Origin; !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s %s: %d %s: origin %q, want %s", tt.method, tt.path, status, answer, got, tt.want)
		}
	}
}
