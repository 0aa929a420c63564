package control

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func TestStatusDescribesDaemonAndSwitch(t *testing.T) {
	r := newRig(t)
	s := must(r.Status(t.Context()))(t)
	if s.Version != "v1" || s.PID != os.Getpid() || !s.VLANAware || s.Ports != 2 || s.PortsUp != 2 || s.Config != "/etc/x.yaml" {
		t.Errorf("%+v", s)
	}
	if s.FDB.Capacity != config.DefaultCapacity || s.FDB.Ageing != config.DefaultAgeing || s.FDB.Limit != nil {
		t.Errorf("%+v", s.FDB)
	}
}

func TestPortsAreListedByNameWithTheirDefaults(t *testing.T) {
	r := newRig(t)
	ps := must(r.Ports(t.Context()))(t)
	if len(ps) != 2 || ps[0].Name != "a" || ps[1].Name != "b" {
		t.Fatalf("%+v", ps)
	}
	a := ps[0]
	if a.Ifname != "tap-a" || !a.Up || a.State != config.StateForwarding || *a.Config.Learning != true || a.Config.MTU != 1500 {
		t.Errorf("%+v", a)
	}
	if fmt.Sprint(a.Flags) != "[UP LOWER_UP]" {
		t.Errorf("flags %v", a.Flags)
	}
	if a.Stats != nil {
		t.Error("the list has counters")
	}
	if must(r.Port(t.Context(), "a"))(t).Stats == nil {
		t.Error("the port has no counters")
	}
}

func TestPatchChangesOnlyTheKeysGiven(t *testing.T) {
	r := newRig(t)
	p := must(r.SetPort(t.Context(), "a", map[string]any{"flood": false, "limit": 7}))(t)
	if *p.Config.Flood || *p.Config.Limit != 7 || p.Config.Access != 10 || !*p.Config.Learning {
		t.Errorf("%+v", p.Config)
	}
	p = must(r.SetPort(t.Context(), "a", map[string]any{"limit": nil}))(t)
	if p.Config.Limit != nil || *p.Config.Flood {
		t.Errorf("%+v", p.Config)
	}
}

func TestErrorsOfPortsSayWhatAndWhichKey(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	_, err := r.AddPort(ctx, config.Port{Name: "a", Access: 10})
	wantCode(t, err, CodeConflict, `"a"`, "exists")
	_, err = r.AddPort(ctx, config.Port{Name: "c", Access: 10, MTU: 3})
	wantCode(t, err, CodeInvalid, `"c"`, "mtu")
	_, err = r.SetPort(ctx, "a", map[string]any{"acess": 10})
	wantCode(t, err, CodeInvalid, `"a"`, "acess", "did you mean access")
	_, err = r.SetPort(ctx, "a", map[string]any{"netns": "x"})
	wantCode(t, err, CodeInvalid, "netns cannot change")
	_, err = r.SetPort(ctx, "c", map[string]any{"access": 10})
	wantCode(t, err, CodeNotFound, `"c"`)
	_, err = r.Port(ctx, "c")
	wantCode(t, err, CodeNotFound, `"c"`)
	_, err = r.RemovePort(ctx, "c")
	wantCode(t, err, CodeNotFound, `"c"`)
	if done, err := r.RemovePort(ctx, "b"); err != nil || done.Note != "" {
		t.Fatal(err)
	}
	_, err = r.RemovePort(ctx, "b")
	wantCode(t, err, CodeNotFound, `"b"`)
}

func TestStreamPortShowsItsConnections(t *testing.T) {
	r := newRig(t)
	socket := socketPath(t)
	p, err := r.AddPort(t.Context(), config.Port{Name: "vm", Kind: config.KindStream, Listen: socket, Access: 10})
	if err != nil {
		t.Fatal(err)
	}
	if p.Kind != "stream" || p.Up || p.State != config.StateDiscarding || p.MTU != 1500 || p.Device != nil || p.Socket == nil || p.Socket.Connected {
		t.Errorf("got %+v", p)
	}
	c, err := net.Dial("unix", socket)
	if err == nil {
		_, err = c.Write([]byte{0, 0, 0, 1})
	}
	if err == nil {
		_, err = io.ReadAll(c)
	}
	if err != nil {
		t.Fatal(err)
	}
	if p, err = r.Port(t.Context(), "vm"); err != nil {
		t.Fatal(err)
	}
	if s := p.Socket; s.Connections != 1 || s.Ended["too_short"] != 1 || p.Stats.ReceiveErrors != 1 {
		t.Errorf("got %+v", s)
	}
	_, err = r.AddPort(t.Context(), config.Port{Name: "vm2", Kind: config.KindStream, Listen: socket})
	wantCode(t, err, CodeConflict, socket, "another program listens")
}

func TestEntriesAreAddedListedAndRemoved(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	one, two := frame.MAC{2, 0, 0, 0, 0, 1}, frame.MAC{2, 0, 0, 0, 0, 2}
	must(r.AddFDB(ctx, FDBEntry{MAC: two, VLAN: 10, Port: "a"}))(t)
	must(r.AddFDB(ctx, FDBEntry{MAC: one, VLAN: 10, State: "blackhole"}))(t)

	es := must(r.FDB(ctx, FDBFlush{}))(t)
	if len(es) != 2 || es[0].MAC != one || es[0].State != "blackhole" || es[0].Port != "" || es[0].Age != nil {
		t.Fatalf("%+v", es)
	}
	if e := es[1]; e.MAC != two || e.State != "static" || e.Port != "a" || e.Ifname != "tap-a" || e.VLAN != 10 {
		t.Errorf("%+v", e)
	}
	for _, f := range []FDBFlush{{MAC: &two}, {Port: "a"}, {VLAN: new(frame.VID(10)), Port: "a"}} {
		if es := must(r.FDB(ctx, f))(t); len(es) != 1 || es[0].MAC != two {
			t.Errorf("%+v: %+v", f, es)
		}
	}
	if err := r.RemoveFDB(ctx, two, 10); err != nil {
		t.Fatal(err)
	}
	wantCode(t, r.RemoveFDB(ctx, two, 10), CodeNotFound, two.String())
	_, err := r.AddFDB(ctx, FDBEntry{MAC: two, VLAN: 10, Port: "c"})
	wantCode(t, err, CodeNotFound, `"c"`)
}

func TestSettingsOfTheFDBKeepWhatIsNotGiven(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	all := must(r.SetFDB(ctx, FDBSettings{Limit: new(Limit(5))}))(t)
	if *all.Ageing != 300 || *all.Limit != 5 {
		t.Errorf("%d %d", *all.Ageing, *all.Limit)
	}
	all = must(r.SetFDB(ctx, FDBSettings{Ageing: new(20)}))(t)
	if *all.Ageing != 20 || *all.Limit != 5 {
		t.Errorf("%d %d", *all.Ageing, *all.Limit)
	}
	all = must(r.SetFDB(ctx, FDBSettings{Limit: new(NoLimit)}))(t)
	if *all.Limit != NoLimit {
		t.Errorf("%d", *all.Limit)
	}
	_, err := r.SetFDB(ctx, FDBSettings{Ageing: new(9)})
	wantCode(t, err, CodeInvalid, "9 s")
	_, err = r.SetFDB(ctx, FDBSettings{Limit: new(Limit(1 << 30))})
	wantCode(t, err, CodeInvalid, "capacity")
}

func TestStatsShowFramesAndDropsByReason(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	r.a.Send(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 46)...))
	r.a.Send([]byte{1, 2, 3})
	var a PortStats
	for a.Receive.Frames < 2 { // The test's deadline ends this if they never come.
		a = must(r.Stats(ctx))(t).Ports[0]
	}
	if a.Name != "a" || a.Relayed != 1 || a.Receive.Broadcast != 1 || a.Flooded["broadcast"] != 1 {
		t.Errorf("%+v", a)
	}
	if a.Receive.Dropped != 1 || a.DroppedIngress["too_short"] != 1 || len(a.DroppedEgress) != 0 {
		t.Errorf("%+v", a)
	}
	if n := must(r.FlushFDB(ctx, FDBFlush{Port: "a"}))(t); n != 1 {
		t.Errorf("flushed %d, want 1", n)
	}
	if _, err := r.RemovePort(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if s := must(r.Stats(ctx))(t); s.Departed.Receive.Frames != 2 || len(s.Ports) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestRequestsAreReadStrictly(t *testing.T) {
	r := newRig(t)
	mac := `"mac":"02:00:00:00:00:01"`
	for _, c := range []struct{ method, path, body, names string }{
		{"PATCH", "/v1/ports/a", `{"access":10} x`, "byte"},
		{"PATCH", "/v1/ports/a", `[]`, "object"},
		{"POST", "/v1/ports", `{"name":"c","nam":1}`, "nam"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":10,"prt":"a"}`, "prt"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":10,"port":"a"}{}`, "object"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":70000,"port":"a"}`, "vlan"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":5000,"port":"a"}`, "5000"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":10}`, "port"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":10,"state":"dynamic","port":"a"}`, "state"},
		{"POST", "/v1/fdb", `{` + mac + `,"vlan":10,"state":"blackhole","port":"a"}`, "port"},
		{"POST", "/v1/fdb", `{"mac":"02","vlan":10,"port":"a"}`, "mac"},
		{"POST", "/v1/fdb", `{"vlan":10,"port":"a"}`, "mac"},
		{"POST", "/v1/fdb", `null`, "object"},
		{"POST", "/v1/fdb", `{"mac":"02:00:00:00:00:01","mac":"02:00:00:00:00:02","port":"a"}`, "twice"},
		{"POST", "/v1/fdb/flush", `{"port":null}`, "null"},
		{"POST", "/v1/fdb/flush", `{} {}`, "more than one"},
		{"POST", "/v1/fdb/flush", `{"port":"a"`, "object"},
		{"POST", "/v1/fdb", ``, "object"},
		{"POST", "/v1/fdb/flush", `{"port":""}`, "port"},
		{"PATCH", "/v1/fdb/settings", `{"limit":-1}`, "limit"},
		{"PATCH", "/v1/fdb/settings", `{"limit":"all"}`, "limit"},
		{"GET", "/v1/fdb?prt=a", ``, "prt"},
		{"GET", "/v1/fdb?port=", ``, "port"},
		{"GET", "/v1/fdb?vlan=0", ``, "vlan"},
		{"GET", "/v1/fdb?mac=x", ``, "mac"},
		{"GET", "/v1/fdb?port=a&port=b", ``, "twice"},
		{"GET", "/v1/fdb?%zz", ``, "query"},
		{"DELETE", "/v1/fdb?vlan=10", ``, "mac"},
		{"DELETE", "/v1/fdb", `{}`, "body"},
		{"GET", "/v1/status?x=1", ``, "x"},
		{"GET", "/v1/ports?x=1", ``, "x"},
		{"PATCH", "/v1/ports/a?x=1", `{"flood":false}`, "x"},
		{"POST", "/v1/fdb/flush?vlan=10", `{}`, "vlan"},
		{"POST", "/v1/fdb/flush", `{"vlan":0}`, "vlan"},
		{"POST", "/v1/fdb/flush", `{"vlan":5000}`, "5000"},
		{"DELETE", "/v1/fdb?mac=02:00:00:00:00:01&port=a", ``, "port"},
	} {
		status, answer := r.ask(c.method, c.path, c.body)
		var e Error
		if err := json.Unmarshal([]byte(answer), &e); err != nil {
			t.Errorf("%s %s %s: %s: %v", c.method, c.path, c.body, answer, err)
			continue
		}
		if status != http.StatusBadRequest || e.Code != CodeInvalid || !strings.Contains(e.Message, c.names) {
			t.Errorf("%s %s %s: %d %+v, want 400 and %q", c.method, c.path, c.body, status, e, c.names)
		}
	}
	if es := must(r.FDB(t.Context(), FDBFlush{}))(t); len(es) != 0 {
		t.Errorf("refused requests left %v", es)
	}
}

func TestSwitchThatIsNotVLANAwareHasNoEntriesByVLAN(t *testing.T) {
	sw, err := vswitch.New(&config.Config{VLANAware: new(false)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sw.Close()
	s := NewServer(sw, Daemon{}, slog.New(slog.DiscardHandler))
	for _, v := range []*frame.VID{new(frame.VID(0)), new(frame.VID(10))} {
		wantCode(t, s.checkVLAN(v), CodeInvalid, "not VLAN aware")
	}
	if err := s.checkVLAN(nil); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNoOperationIsAnsweredInJSON(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/", http.StatusNotFound, "no such path"},
		{"GET", "/v1/ports/a/b", http.StatusNotFound, "no such path"},
		{"PUT", "/v1/ports", http.StatusMethodNotAllowed, "GET, HEAD, POST"},
		{"POST", "/v1/status", http.StatusMethodNotAllowed, "GET"},
	} {
		status, answer := r.ask(c.method, c.path, "")
		if status != c.status || !strings.Contains(answer, c.says) || !json.Valid([]byte(answer)) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.method, c.path, status, answer, c.status, c.says)
		}
	}
}

func TestChangesAreLoggedWithWhoMadeThem(t *testing.T) {
	r := newRig(t)
	must(r.SetPort(t.Context(), "a", map[string]any{"limit": 5, "flood": false}))(t)
	must(r.Ports(t.Context()))(t)
	_, _ = r.SetPort(t.Context(), "a", map[string]any{strings.Repeat("x", 300): 1})
	_, _ = r.RemovePort(t.Context(), "zz")
	log := r.log.String()
	who := fmt.Sprintf("uid=%d pid=%d", os.Getuid(), os.Getpid())
	for _, want := range []string{
		"level=INFO msg=changed method=PATCH path=/v1/ports/a keys=flood,limit " + who,
		`level=INFO msg="change refused" method=DELETE path=/v1/ports/zz ` + who + ` err="port \"zz\": not found"`,
		`level=WARN msg="change refused" method=PATCH path=/v1/ports/a keys=` + strings.Repeat("x", 200) + " ",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("log:\n%s\nwant %s", log, want)
		}
	}
	if strings.Contains(log, "GET") {
		t.Errorf("log:\n%s\nhas what is no change", log)
	}
}
