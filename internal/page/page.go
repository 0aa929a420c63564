// Package page shows a switch in a web browser: one HTML file that is part of the
// program, and what its script reads. Nobody can change the switch by it. Each
// answer is in control's own words.
//
//	GET /                  the page
//	GET /page/live         server-sent events: "status", "ports", "stats", "event"
//	GET /page/fdb?q=       a Found
//	GET /page/why?port=&reason=  Reasons
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/vswitchd/vswitchd/control"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// inFlight is how many searches are carried out at a time.
const inFlight = 4

var (
	//go:embed page.html
	frameOfPage string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// Page is an http.Handler that serves the page of a switch.
type Page struct {
	views   *control.Views
	live    *live
	html    []byte
	policy  string
	names   []string // under which it may be asked for, besides IP addresses
	mux     *http.ServeMux
	working chan struct{} // a place for each request under way
}

// New makes the page of sw. Busy, if it is not nil, is told when work begins and,
// by what it returns, ends.
func New(sw *vswitch.Switch, views *control.Views, busy func() (done func())) *Page {
	if busy == nil {
		busy = func() func() { return func() {} }
	}
	p := &Page{
		views: views, live: newLive(sw, views, busy), mux: http.NewServeMux(), working: make(chan struct{}, inFlight),
		html:   []byte(strings.NewReplacer("/*style*/", style, "/*script*/", script).Replace(frameOfPage)),
		policy: policy(script, style),
		names:  []string{"localhost"},
	}
	if name, err := os.Hostname(); err == nil {
		p.names = append(p.names, strings.ToLower(name))
	}
	p.mux.HandleFunc("GET /{$}", p.page)
	p.mux.HandleFunc("GET /page/live", p.live.serve)
	p.mux.HandleFunc("GET /page/fdb", p.answer(busy, p.fdb))
	p.mux.HandleFunc("GET /page/why", p.answer(busy, p.why))
	return p
}

// policy allows the page its own script and style and requests to where it came
// from, and nothing else; no text becomes markup by a script.
func policy(script, style string) string {
	hash := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; script-src " + hash(script) + "; style-src " + hash(style) +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; require-trusted-types-for 'script'; trusted-types 'none'"
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !p.known(r.Host) {
		refuse(w, http.StatusMisdirectedRequest, "the page is not served under this name; use an IP address, localhost or the name of the machine")
		return
	}
	// Another site cannot read the answers, but it could have them made.
	if site := r.Header.Get("Sec-Fetch-Site"); r.URL.Path != "/" && site != "" && site != "same-origin" && site != "none" {
		refuse(w, http.StatusForbidden, "requests of other sites are not answered; open the page itself")
		return
	}
	p.mux.ServeHTTP(w, r)
}

// known reports whether host, with or without a port, is one that no foreign name
// server can have made up.
func (p *Page) known(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	for _, name := range p.names {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

func (p *Page) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(p.html)
}

// answer carries out do for a few requests at a time and sends what it returns.
func (p *Page) answer(busy func() func(), do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case p.working <- struct{}{}:
			defer func() { <-p.working }()
		default:
			refuse(w, http.StatusServiceUnavailable, "too many requests at a time; try again in a moment")
			return
		}
		done := busy()
		reply, err := do(r)
		done()
		if err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		send(w, http.StatusOK, reply)
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	code := control.CodeFailed
	if status == http.StatusForbidden || status == http.StatusMisdirectedRequest {
		code = control.CodePermission
	}
	send(w, status, &control.Error{Code: code, Message: message})
}

func send(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // A client that went away is not told that it did.
}
