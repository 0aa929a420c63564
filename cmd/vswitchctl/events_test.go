package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// eventServer answers requests for events with these and then ends, or if it is
// to hold on, waits for the client to do so.
func eventServer(t *testing.T, holdOn bool, events ...control.Event) (socket string, asked chan string) {
	t.Helper()
	socket, asked = filepath.Join(t.TempDir(), "s"), make(chan string, 8)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, e := range events {
			_ = json.NewEncoder(w).Encode(e)
		}
		_ = http.NewResponseController(w).Flush()
		asked <- r.URL.RequestURI()
		if holdOn {
			<-r.Context().Done()
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { _ = s.Close() })
	return socket, asked
}

func TestEventsAreShownALineEach(t *testing.T) {
	at := time.Date(2026, 1, 2, 14, 3, 7, 123456789, time.Local)
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	want := map[string]control.Event{
		"14:03:07.123 port added web":                                {Time: &at, Type: "port", Event: "added", Port: "web"},
		"14:03:07.123 port gone web: it has ended":                   {Time: &at, Type: "port", Event: "gone", Port: "web", Cause: "it has ended"},
		"14:03:07.123 link mtu web 1500 -> 9000":                     {Time: &at, Type: "link", Event: "mtu", Port: "web", From: "1500", To: "9000"},
		`14:03:07.123 link renamed web eth0 -> a\u001b[2J\u009bx`:    {Time: &at, Type: "link", Event: "renamed", Port: "web", From: "eth0", To: "a\x1b[2J\u009bx"},
		"14:03:07.123 fdb learned 02:00:00:00:00:01 vlan 10 web":     {Time: &at, Type: "fdb", Event: "learned", Port: "web", MAC: &mac, VLAN: 10, State: "dynamic"},
		"14:03:07.123 fdb moved 02:00:00:00:00:01 vlan 10 web -> db": {Time: &at, Type: "fdb", Event: "moved", Port: "db", From: "web", MAC: &mac, VLAN: 10, State: "dynamic"},
		"14:03:07.123 fdb added 02:00:00:00:00:01 blackhole":         {Time: &at, Type: "fdb", Event: "added", MAC: &mac, State: "blackhole"},
		"14:03:07.123 fdb refused web 7 times":                       {Time: &at, Type: "fdb", Event: "refused", Port: "web", Count: 7},
		"14:03:07.123 config applied 3 changes":                      {Time: &at, Type: "config", Event: "applied", Count: 3},
		"14:03:07.123 config saved":                                  {Time: &at, Type: "config", Event: "saved"},
		"lost 12 events: too slow to read them":                      {Type: control.EventsLost, Count: 12},
	}
	for line, e := range want {
		socket, _ := eventServer(t, false, e)
		var out, errOut bytes.Buffer
		code := run(t.Context(), []string{"events", "--socket", socket}, &out, &errOut)
		if out.String() != line+"\n" {
			t.Errorf("%q, want %q", out.String(), line)
		}
		if code != exitUnreachable || !strings.Contains(errOut.String(), "the daemon has ended") {
			t.Errorf("at the daemon's end: exit %d: %s", code, errOut.String())
		}
		out.Reset()
		run(t.Context(), []string{"events", "--socket", socket, "-o", "json"}, &out, &errOut)
		var got control.Event
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || eventText(&got) != eventText(&e) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s, %v", out.String(), err)
		}
		if strings.ContainsAny(out.String(), "\x1b\u009b") {
			t.Errorf("a control character reaches the terminal: %q", out.String())
		}
	}
}

func TestEventsEndByInterruptWithSuccess(t *testing.T) {
	socket, asked := eventServer(t, true)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() { <-asked; interrupt() }()
	var out, errOut bytes.Buffer
	if code := run(ctx, []string{"events", "--socket", socket}, &out, &errOut); code != 0 || out.Len()+errOut.Len() != 0 {
		t.Errorf("exit %d: %s%s", code, out.String(), errOut.String())
	}
}

func TestEventFlagsSelect(t *testing.T) {
	for args, want := range map[string]string{
		"events":                            "/v1/events?",
		"events --type fdb,link --port web": "/v1/events?port=web&type=fdb%2Clink",
		"events --type fdb --type link":     "/v1/events?type=fdb%2Clink",
	} {
		socket, asked := eventServer(t, false)
		var out bytes.Buffer
		run(t.Context(), append(strings.Fields(args), "--socket", socket), &out, &out)
		if got := <-asked; got != want {
			t.Errorf("%s asks for %s, want %s", args, got, want)
		}
	}
	for _, args := range [][]string{{"events", "--type", "nope"}, {"events", "--port", ""}, {"events", "web"}} {
		var out bytes.Buffer
		if code := run(t.Context(), append(args, "--socket", "none"), &out, &out); code != exitUsage {
			t.Errorf("%v: exit %d: %s", args, code, out.String())
		}
	}
}
