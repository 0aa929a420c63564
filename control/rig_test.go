package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// rig is a VLAN-aware switch with the ports a and b, which are access ports of
// VLAN 10, and its server.
type rig struct {
	*Client
	t    *testing.T
	sw   *vswitch.Switch
	path string
	log  *lockedBuffer
	a, b *porttest.Cable
	c    *porttest.Cable // of the port that was plugged in
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSwitch(t testing.TB, cables map[string]*porttest.Cable) *vswitch.Switch {
	t.Helper()
	sw, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	for name, cable := range cables {
		link := port.Link{Ifname: "tap-" + name, MTU: 1500, Up: true, AdminUp: true}
		if err := sw.Attach(config.Port{Name: name, Access: 10}, cable, link); err != nil {
			t.Fatal(err)
		}
	}
	return sw
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, path: socketPath(t), log: &lockedBuffer{}, a: porttest.NewCable(16), b: porttest.NewCable(16)}
	r.sw = newSwitch(t, map[string]*porttest.Cable{"a": r.a, "b": r.b})
	l := listenAt(t, r.path)
	s := NewServer(r.sw, Daemon{Version: "v1", Started: time.Now(), Config: "/etc/x.yaml"}, slog.New(slog.NewTextHandler(r.log, nil)))
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(done)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	r.Client = NewClient(r.path)
	return r
}

// ask makes a request with a body as it stands and returns status and answer.
func (r *rig) ask(method, path, body string) (int, string) {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	reply, err := r.http.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply.StatusCode, string(text)
}

func wantCode(t *testing.T, err error, code Code, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code {
		t.Fatalf("error %v, want an Error of code %s", err, code)
	}
	for _, part := range parts {
		if !strings.Contains(e.Message+"\n"+e.Fix, part) {
			t.Errorf("error %+v, want one with %q", e, part)
		}
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
