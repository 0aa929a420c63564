package page

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// hostile is a description that would run a script if any of it became markup.
const hostile = `"><img src=x onerror="document.title='broken'"><script>document.title='broken'</script>`

// rig is a switch with a page.
type rig struct {
	t    *testing.T
	sw   *vswitch.Switch
	page *Page
	url  string
	web  *porttest.Cable
}

func newRig(t *testing.T) *rig {
	t.Helper()
	sw, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	r := &rig{t: t, sw: sw, web: porttest.NewCable(4096)}
	r.attach(config.Port{Name: "web", Access: 10, Description: hostile}, r.web, true)
	r.attach(config.Port{Name: "db", Access: 10}, porttest.NewCable(4096), true)
	r.attach(config.Port{Name: "cam", Access: 20}, porttest.NewCable(16), true)
	r.attach(config.Port{Name: "nvr", Access: 20}, porttest.NewCable(16), false)
	r.attach(config.Port{Name: "uplink", Trunk: config.VIDs{{First: 10, Last: 20}}, Native: 1}, porttest.NewCable(4096), true)
	r.page = New(sw, control.NewViews(sw, control.Daemon{Version: "v1", Started: time.Now()}), nil)
	server := httptest.NewServer(r.page)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	r.url = server.URL
	return r
}

func (r *rig) attach(c config.Port, cable *porttest.Cable, up bool) {
	r.t.Helper()
	if err := r.sw.Attach(c, cable, port.Link{Ifname: "tap-" + c.Name, MTU: 1500, Up: up, AdminUp: true}); err != nil {
		r.t.Fatal(err)
	}
}

// send has web send n frames to everybody, and one with a tag that it must not.
func (r *rig) send(n int) {
	untagged := append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x08\x00"), make([]byte, 1000)...)
	tagged := append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x81\x00\x00\x14\x08\x00"), make([]byte, 60)...)
	for range n {
		r.web.Send(untagged)
	}
	r.web.Send(tagged)
}

func (r *rig) get(path string, change func(*http.Request)) *http.Response {
	r.t.Helper()
	q, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if change != nil {
		change(q)
	}
	reply, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = reply.Body.Close() })
	return reply
}

func (r *rig) json(path string, to any) {
	r.t.Helper()
	reply := r.get(path, nil)
	if got := reply.Header.Get("Content-Type"); reply.StatusCode != http.StatusOK || got != "application/json" {
		r.t.Fatalf("%s: %s, %s", path, reply.Status, got)
	}
	if err := json.NewDecoder(reply.Body).Decode(to); err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
}

// await reads server-sent events until one is of that name.
func await(t *testing.T, from *bufio.Scanner, name string, to any) {
	t.Helper()
	for found := false; from.Scan(); {
		if data, ok := strings.CutPrefix(from.Text(), "data: "); ok && found {
			if err := json.Unmarshal([]byte(data), to); err != nil {
				t.Fatal(err)
			}
			return
		}
		found = from.Text() == "event: "+name
	}
	t.Fatalf("the stream ended: %v", from.Err())
}

func stream(body io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(body)
	s.Buffer(nil, 8<<20)
	return s
}

// Refusals have the headers too: each answer is one that a browser could show.
func TestEveryAnswerHasTheHeadersThatKeepOthersOut(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/page/live", "/page/fdb?q=", "/page/why", "/page/none"} {
		h := r.get(path, nil).Header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "script-src 'sha256-", "style-src 'sha256-"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestPageIsOneFile(t *testing.T) {
	body, err := io.ReadAll(newRig(t).get("/", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	if m := regexp.MustCompile(`(?i)(src|href)="[^"#/d][^"]*"|https?://[^w]|@import|url\(`).Find(body); m != nil {
		t.Errorf("the page asks for %s", m)
	}
}

func TestForeignNamesAndSitesAreRefused(t *testing.T) {
	r := newRig(t)
	for host, want := range map[string]int{"localhost:9876": 200, "127.0.0.1": 200, "[::1]:9876": 200, "evil.example:9876": 421, "": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421} {
		w := httptest.NewRecorder()
		q := httptest.NewRequest(http.MethodGet, "/page/fdb", nil)
		q.Host = host
		if r.page.ServeHTTP(w, q); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
	for site, want := range map[string]int{"same-origin": 200, "none": 200, "cross-site": 403, "same-site": 403} {
		got := r.get("/page/fdb", func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", site) })
		if got.StatusCode != want {
			t.Errorf("site %q: %s, want %d", site, got.Status, want)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/page/live", "/page/fdb", "/page/why"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if got := r.get(path, func(q *http.Request) { q.Method = method }); got.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %s", method, path, got.Status)
			}
		}
	}
}

func TestFDBSearchMatchesEachWordAndIsBounded(t *testing.T) {
	r := newRig(t)
	for i := range most + 50 {
		mac := frame.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}
		if err := r.sw.AddFDB(mac, 10, "db"); err != nil {
			t.Fatal(err)
		}
	}
	for q, want := range map[string]int{"": most + 50, "DB+10": most + 50, "02:00:00:00:00:07": 1, "cam+10": 0, "static+:f9": 1, "%3Cscript%3E": 0} {
		var got Found
		if r.json("/page/fdb?q="+q, &got); got.Matches != want || len(got.Entries) != min(want, most) {
			t.Errorf("%q: %d matches and %d entries, want %d", q, got.Matches, len(got.Entries), want)
		}
	}
}

func TestStreamTellsWhatChangesAndWhyExplainsIt(t *testing.T) {
	r := newRig(t)
	s := stream(r.get("/page/live", nil).Body)
	var ports []control.Port
	if await(t, s, "ports", &ports); len(ports) != 5 || ports[4].Config.Description != hostile {
		t.Fatalf("%d ports, the last %+v", len(ports), ports[len(ports)-1])
	}
	var all, changed counters
	if await(t, s, "stats", &all); len(all.Ports) != 5 {
		t.Fatalf("%d ports counted", len(all.Ports))
	}
	r.send(3)
	for dropped := uint64(0); dropped == 0; {
		if await(t, s, "stats", &changed); len(changed.Ports) == 5 || changed.At <= all.At {
			t.Fatalf("idle ports are told too: %+v", changed)
		}
		for _, p := range changed.Ports {
			dropped += p.DroppedIngress["frame_type"]
		}
	}
	var why Reasons
	r.json("/page/why?port=web&reason=frame_type", &why)
	if len(why.Groups) != 1 || why.Groups[0].Text != frame.DropFrameType.Text() || why.Groups[0].Frames != 1 {
		t.Errorf("why: %+v", why)
	}
	if err := r.sw.Remove("nvr"); err != nil {
		t.Fatal(err)
	}
	var e control.Event
	if await(t, s, "event", &e); e.Port != "nvr" {
		t.Errorf("event %+v", e)
	}
}

func TestClientsAreBoundedAndSamplingEndsWithTheLast(t *testing.T) {
	r := newRig(t)
	l := r.page.live
	var joined []chan []byte
	for range maxClients {
		joined = append(joined, l.join())
	}
	if got := r.get("/page/live", nil); got.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one more client: %s", got.Status)
	}
	for range maxPending { // The first is everything.
		l.mu.Lock()
		l.tell([]byte("x"))
		l.mu.Unlock()
	}
	for _, c := range joined {
		for range c { // Ends only if the slow client was hung up on.
		}
		l.leave(c)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil || len(l.clients) != 0 {
		t.Errorf("%d clients, sampling goes on: %v", len(l.clients), l.stop != nil)
	}
}

func TestThousandPortsFit(t *testing.T) {
	r := newRig(t)
	for i := range 995 {
		r.attach(config.Port{Name: fmt.Sprintf("p%d", i), Access: 10}, porttest.NewCable(1), true)
	}
	var ports []control.Port
	if await(t, stream(r.get("/page/live", nil).Body), "ports", &ports); len(ports) != 1000 {
		t.Errorf("%d ports", len(ports))
	}
}
