package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// reader reads events one by one.
type reader struct {
	t    *testing.T
	pull func() (Event, error, bool)
	end  context.CancelFunc
}

func follow(t *testing.T, c *Client, f EventFilter) *reader {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	events, err := c.Events(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	pull, stop := iter.Pull2(events)
	t.Cleanup(func() { cancel(); stop() })
	return &reader{t, pull, cancel}
}

func (r *reader) next() Event {
	r.t.Helper()
	e, err, _ := r.pull()
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// wants reads one event, which is to be as in the line.
func (r *reader) wants(line string) {
	r.t.Helper()
	e := r.next()
	got := fmt.Sprintf("%s %s %s %s>%s %d %s", e.Type, e.Event, e.Port, e.From, e.To, e.Count, e.State)
	if e.MAC != nil {
		got += fmt.Sprintf(" %v %d", *e.MAC, e.VLAN)
	}
	if got != line || e.Time == nil || e.Time.IsZero() {
		r.t.Errorf("%q, %+v; want %q", got, e, line)
	}
}

func TestEventsAreStreamedAsTheyHappen(t *testing.T) {
	r := newRig(t)
	all := follow(t, r.Client, EventFilter{})
	ofB := follow(t, r.Client, EventFilter{Port: "b", Types: []string{"fdb", "port"}})
	station := frame.MAC{2, 0, 0, 0, 0, 1}
	f := append(append(frame.Broadcast[:], station[:]...), make([]byte, 48)...)

	r.a.Send(f)
	all.wants("fdb learned a > 0 dynamic 02:00:00:00:00:01 10")
	r.b.Send(f)
	all.wants("fdb moved b a> 0 dynamic 02:00:00:00:00:01 10")
	ofB.wants("fdb moved b a> 0 dynamic 02:00:00:00:00:01 10")
	must(r.AddFDB(t.Context(), FDBEntry{MAC: station, VLAN: 10, State: blackhole}))(t)
	all.wants("fdb added  > 0 blackhole 02:00:00:00:00:01 10")
	must(r.SetPort(t.Context(), "a", map[string]any{"flood": false}))(t)
	all.wants("port changed a > 0 ")
	if _, err := r.RemovePort(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	all.wants("port removed b > 0 ")
	ofB.wants("port removed b > 0 ")
	r.sw.Publish(vswitch.Event{Kind: vswitch.PortGone, Port: "b", Err: errors.New("why")})
	if e := ofB.next(); e.Cause != "why" {
		t.Errorf("%+v", e)
	}
}

func TestConfigurationChangesAreEvents(t *testing.T) {
	r := newRig(t)
	events := follow(t, r.Client, EventFilter{Types: []string{"config"}})
	c := must(r.Running(t.Context()))(t)
	set := func(ageing int) *config.Config { c.FDB.Ageing = &ageing; return c }
	must(r.Apply(t.Context(), set(100), 0))(t)
	events.wants("config fdb  > 0 ")
	events.wants("config applied  > 1 ")
	must(r.Apply(t.Context(), set(200), time.Hour))(t)
	events.wants("config fdb  > 0 ")
	events.wants("config on_trial  > 2 ")
	if err := r.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	events.wants("config confirmed  > 0 ")
	must(r.Apply(t.Context(), set(300), time.Second))(t)
	events.wants("config fdb  > 0 ")
	events.wants("config on_trial  > 2 ")
	events.wants("config fdb  > 0 ")
	events.wants("config reverted  > 2 ")
	if err := r.Save(t.Context()); err == nil {
		t.Fatal("saved without a startup file")
	}
	must(r.SetFDB(t.Context(), FDBSettings{Ageing: new(10)}))(t)
	events.wants("config fdb  > 0 ")
}

func TestEventsOfNoTypeAreRefused(t *testing.T) {
	r := newRig(t)
	for query, says := range map[string]string{
		"type=nope": "nope", "type=fdb,": `""`, "type=": "empty", "since=1": "since", "port=a&port=b": "twice",
	} {
		status, answer := r.ask("GET", "/v1/events?"+query, "")
		if status != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(answer, `\"`, `"`), says) {
			t.Errorf("%s: %d %s", query, status, answer)
		}
	}
	if status, _ := r.ask("HEAD", "/v1/events", ""); status != http.StatusOK {
		t.Errorf("HEAD: %d", status)
	}
}

func TestStreamsAreLimitedAndGivenBack(t *testing.T) {
	r := newRig(t)
	var first *reader
	for range MaxStreams {
		first = follow(t, r.Client, EventFilter{})
	}
	_, err := r.Events(t.Context(), EventFilter{})
	wantCode(t, err, CodeConflict, "streams")
	must(r.Status(t.Context()))(t)
	first.end()
	deadline := time.Now().Add(patience)
	for err != nil && time.Now().Before(deadline) {
		_, err = r.Events(t.Context(), EventFilter{})
	}
	if err != nil {
		t.Errorf("the place of a client that has hung up is not given back: %v", err)
	}
}

// TestStreamOutlivesTheLimitsOfARequest waits for longer than a request may take
// to come and an answer to go.
func TestStreamOutlivesTheLimitsOfARequest(t *testing.T) {
	const limit = 50 * time.Millisecond
	s, c := serveWithin(t, limits{read: limit, write: limit, header: 8 << 10})
	events := follow(t, NewClient(c.RemoteAddr().String()), EventFilter{})
	for begun := time.Now(); time.Since(begun) < 5*limit; time.Sleep(limit / 2) {
		s.sw.Publish(vswitch.Event{Kind: vswitch.ConfigSaved})
		events.wants("config saved  > 0 ")
	}
	for i := range 2 { // Quiet for longer, too.
		time.Sleep(time.Duration(i) * 4 * limit)
		s.sw.Publish(vswitch.Event{Kind: vswitch.ConfigSaved})
		events.wants("config saved  > 0 ")
	}
}

func TestHalfOpenConnectionsEndNoStream(t *testing.T) {
	r := newRig(t)
	events := follow(t, r.Client, EventFilter{})
	for range 2 * MaxConnections {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	must(r.Status(t.Context()))(t)
	r.sw.Publish(vswitch.Event{Kind: vswitch.ConfigSaved})
	events.wants("config saved  > 0 ")
}

// begin asks for events and reads no more than the header of the answer.
func begin(t *testing.T, c *net.UnixConn) *bufio.Reader {
	t.Helper()
	if _, err := io.WriteString(c, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(c)
	for {
		line, err := answer.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return answer
		}
	}
}

func TestReaderThatIsSlowIsToldHowMuchItMissed(t *testing.T) {
	s, c := serveWithin(t, defaultLimits)
	// The lines do not end where the chunks of the answer do.
	answer := bufio.NewReader(httputil.NewChunkedReader(begin(t, c)))
	const n = 30_000 // More than socket, buffers and feed hold.
	for i := range n {
		s.sw.Publish(vswitch.Event{Kind: vswitch.ConfigApplied, Count: uint64(i + 1)})
	}
	told, lost, last := 0, 0, 0
	for last < n {
		line, err := answer.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		var e Event
		if _, err := fmt.Sscanf(line, `{"type":"lost","count":%d}`, &e.Count); err == nil {
			lost += int(e.Count)
			last += int(e.Count)
			continue
		}
		_, rest, _ := strings.Cut(line, `"count":`)
		if _, err := fmt.Sscanf(rest, "%d}", &e.Count); err != nil {
			t.Fatal(line)
		}
		told++
		if last++; int(e.Count) != last {
			t.Fatalf("%s\nis not number %d", line, last)
		}
	}
	if told+lost != n || lost == 0 {
		t.Errorf("%d told and %d lost of %d", told, lost, n)
	}
}

func TestReaderThatReadsNothingIsCutOff(t *testing.T) {
	s, c := serveWithin(t, limits{read: patience, write: 50 * time.Millisecond, header: 8 << 10})
	begin(t, c)
	for deadline := time.Now().Add(patience); ; {
		s.sw.Publish(vswitch.Event{Kind: vswitch.ConfigSaved})
		if len(s.streams) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not cut off")
		}
	}
}

func TestShutdownEndsStreams(t *testing.T) {
	path := socketPath(t)
	s := NewServer(newSwitch(t, nil), Daemon{}, slog.New(slog.DiscardHandler))
	l := listenAt(t, path)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	events := follow(t, NewClient(path), EventFilter{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		t.Errorf("it waits for the stream: %v", err)
	}
	if _, err, _ := events.pull(); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "the daemon has ended") {
		t.Errorf("the client is told %v", err)
	}
	<-served
}
