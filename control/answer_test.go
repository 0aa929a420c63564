package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func TestErrorsKeepTheirKindAndFix(t *testing.T) {
	tap := func(err error) error {
		return fmt.Errorf("port %q: %w", "p", &port.Error{Op: "open TAP", Name: "t", Why: "so it is", Fix: "do this", Err: err})
	}
	for _, c := range []struct {
		err  error
		want Error
	}{
		{tap(port.ErrPermission), Error{CodePermission, `port "p": open TAP "t": so it is`, "do this"}},
		{tap(port.ErrExists), Error{CodeConflict, `port "p": open TAP "t": so it is`, "do this"}},
		{tap(errors.Join(port.ErrBusy)), Error{CodeConflict, `port "p": open TAP "t": so it is`, "do this"}},
		{tap(port.ErrNotSupported), Error{CodeFailed, `port "p": open TAP "t": so it is`, "do this"}},
		{tap(os.ErrInvalid), Error{CodeInvalid, `port "p": open TAP "t": so it is`, "do this"}},
		{tap(os.ErrNotExist), Error{CodeInvalid, `port "p": open TAP "t": so it is`, "do this"}},
		{fmt.Errorf("the FDB is %w", vswitch.ErrFull), Error{CodeConflict, "the FDB is full", "remove something first"}},
		{config.Problems{{Path: "mtu", Msg: "is 3", Fix: "write 68"}}, Error{CodeInvalid, "mtu: is 3", "write 68"}},
		{config.Problems{{Path: "mtu", Msg: "is 3", Fix: "write 68"}, {Path: "up", Msg: "is 4"}}, Error{CodeInvalid, "mtu: is 3; write 68\nup: is 4", ""}},
		{errors.New("odd"), Error{CodeFailed, "odd", ""}},
	} {
		if got := errorOf(c.err); *got != c.want {
			t.Errorf("%v:\n%+v, want\n%+v", c.err, *got, c.want)
		}
	}
}

func TestLimitIsANumberOrNone(t *testing.T) {
	for text, want := range map[string]Limit{`"none"`: NoLimit, `0`: 0, `12`: 12} {
		var l Limit
		if err := json.Unmarshal([]byte(text), &l); err != nil || l != want {
			t.Errorf("%s: %d, %v", text, l, err)
		}
		if back, err := json.Marshal(l); err != nil || string(back) != text {
			t.Errorf("%s: written as %s, %v", text, back, err)
		}
	}
}

func TestClientTellsUnreachableFromRefused(t *testing.T) {
	path := socketPath(t)
	_, err := NewClient(path).Status(t.Context())
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), path) {
		t.Errorf("no socket: %v", err)
	}
	listenAt(t, path) // Nobody accepts.
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if _, err = NewClient(path).Status(ctx); !errors.Is(err, ErrUnreachable) || !errors.Is(err, ErrTimeout) {
		t.Errorf("no answer: %v", err)
	}
	if os.Geteuid() == 0 {
		return // Root may open everything.
	}
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err = NewClient(path).Status(t.Context()); !errors.Is(err, ErrPermission) {
		t.Errorf("closed socket: %v", err)
	}
}

func TestClientAsksForNothingThatNoPortIsCalled(t *testing.T) {
	c := NewClient(socketPath(t)) // Nobody is there to be asked.
	for _, name := range []string{"", ".", "..", "a/b", "../fdb"} {
		_, err := c.Port(t.Context(), name)
		wantCode(t, err, CodeNotFound, "no port")
		_, err = c.SetPort(t.Context(), name, nil)
		wantCode(t, err, CodeNotFound, "no port")
		_, err = c.RemovePort(t.Context(), name)
		wantCode(t, err, CodeNotFound, "no port")
	}
	_, err := c.Port(t.Context(), "a-name-too-long-for-a-link")
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want it asked for", err)
	}
}

// FuzzRequest asks whatever the fuzzer comes up with, but for what makes
// interfaces: every answer is one that the API knows.
func FuzzRequest(f *testing.F) {
	f.Add(uint8(0), "/v1/fdb?port=a&vlan=10", "")
	f.Add(uint8(1), "/v1/fdb", `{"mac":"02:00:00:00:00:01","vlan":10,"port":"a","state":"static"}`)
	f.Add(uint8(1), "/v1/fdb/flush", `{"vlan":10}`)
	f.Add(uint8(2), "/v1/fdb?mac=02:00:00:00:00:01&vlan=10", "")
	f.Add(uint8(3), "/v1/fdb/settings", `{"ageing":10,"limit":"none"}`)
	f.Add(uint8(3), "/v1/ports/a", `{"trunk":"10,20-29","native":1,"isolated":true}`)
	s := NewServer(newSwitch(f, map[string]*porttest.Cable{"a": porttest.NewCable(1)}), Daemon{}, slog.New(slog.DiscardHandler))
	cs := &connections{}
	methods := []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodPatch}
	f.Fuzz(func(t *testing.T, method uint8, path, body string) {
		r, err := http.NewRequest(methods[int(method)%len(methods)], "http://x/"+strings.TrimLeft(path, "/"), strings.NewReader(body))
		if err != nil || r.Method == http.MethodPost && (strings.Contains(r.URL.Path, "ports") || strings.Contains(r.URL.Path, "apply")) {
			t.Skip()
		}
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "ports") {
			t.Skip() // It would take the port from all that follow.
		}
		c := &connection{from: cs}
		cs.open = []*connection{c}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r.WithContext(withConnection(t.Context(), c)))
		switch {
		case w.Code == http.StatusNoContent, w.Code == http.StatusMovedPermanently, w.Code == http.StatusTemporaryRedirect:
		case w.Code < http.StatusBadRequest:
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		default:
			var e Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Message == "" || e.Code == "" || e.Code == CodeFailed {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
}
