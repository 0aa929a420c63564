package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vswitchd/vswitchd/config"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// limits bound what a client may take of the server.
type limits struct {
	read   time.Duration // for a whole request, and for the next one to begin
	write  time.Duration // for an answer
	header int           // bytes; net/http grants 4 KiB more
}

var defaultLimits = limits{read: 5 * time.Second, write: 30 * time.Second, header: 8 << 10}

// Daemon is what a Server knows about the process around it.
type Daemon struct {
	Version string
	Started time.Time
	Metrics string // address of the web listener, or empty
	Config  string // path of the startup file, or empty
	// Running is nil for one that is kept in no file.
	Running *Running
	// Busy, if set, is told when the work for a request begins and, by done, ends.
	Busy func() (done func())
}

// Server answers requests about a Switch, and logs every change.
type Server struct {
	sw      *vswitch.Switch
	daemon  Daemon
	running *Running
	log     *slog.Logger
	mux     *http.ServeMux
	http    http.Server
	write   time.Duration // for an answer, or the next part of a stream
	streams chan struct{} // a place for each
	changes changes
	ending  context.Context
}

// NewServer makes a server for sw.
func NewServer(sw *vswitch.Switch, d Daemon, log *slog.Logger) *Server {
	return newServer(sw, d, log, defaultLimits)
}

func newServer(sw *vswitch.Switch, d Daemon, log *slog.Logger, l limits) *Server {
	s := &Server{
		sw: sw, daemon: d, running: d.Running, log: log, mux: http.NewServeMux(),
		write: l.write, streams: make(chan struct{}, MaxStreams),
	}
	var end context.CancelFunc
	s.ending, end = context.WithCancel(context.Background())
	if s.running == nil {
		s.running = NewRunning(sw, "", Startup{Config: &config.Config{}}, log)
	}
	s.routes()
	s.http = http.Server{
		Handler:        s,
		ReadTimeout:    l.read, // It holds for the header and for idle connections too.
		WriteTimeout:   l.write,
		MaxHeaderBytes: l.header,
		ConnContext:    withConnection,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	s.http.RegisterOnShutdown(end)
	return s
}

// Serve answers until Shutdown, then returns nil. It closes l.
func (s *Server) Serve(l *Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown takes no more requests, ends streams, waits for other requests under
// way until ctx ends and then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	return s.http.Close()
}

// routes is the list of operations: the status of success, what to do, and the
// parameters.
func (s *Server) routes() {
	for pattern, o := range map[string]operation{
		"GET /v1/status":          {http.StatusOK, s.status, nil},
		"GET /v1/ports":           {http.StatusOK, s.listPorts, nil},
		"POST /v1/ports":          {http.StatusCreated, s.addPort, nil},
		"GET /v1/ports/{name}":    {http.StatusOK, s.showPort, nil},
		"PATCH /v1/ports/{name}":  {http.StatusOK, s.setPort, nil},
		"DELETE /v1/ports/{name}": {http.StatusNoContent, s.removePort, nil},
		"GET /v1/fdb":             {http.StatusOK, s.listFDB, []string{"port", "vlan", "mac"}},
		"POST /v1/fdb":            {http.StatusCreated, s.addFDB, nil},
		"DELETE /v1/fdb":          {http.StatusNoContent, s.removeFDB, []string{"mac", "vlan"}},
		"POST /v1/fdb/flush":      {http.StatusOK, s.flushFDB, nil},
		"GET /v1/fdb/settings":    {http.StatusOK, s.fdbSettings, nil},
		"PATCH /v1/fdb/settings":  {http.StatusOK, s.setFDB, nil},
		tracing:                   {http.StatusOK, s.trace, nil},
		"GET /v1/stats":           {http.StatusOK, s.stats, nil},
		"GET /v1/why":             {http.StatusOK, s.why, []string{"port", "reason", "mac", "vlan"}},
		"GET /v1/events":          {http.StatusOK, s.events, []string{"type", "port"}},
		"GET /v1/config":          {http.StatusOK, s.showConfig, []string{"startup"}},
		"POST /v1/config/apply":   {http.StatusOK, s.applyConfig, []string{"confirm"}},
		"POST /v1/config/confirm": {http.StatusNoContent, s.confirmConfig, nil},
		"POST /v1/config/save":    {http.StatusNoContent, s.saveConfig, nil},
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.carryOut(w, r, o) })
	}
}

// tracing is a POST only because a frame is too long for a query: it changes
// nothing, and is not logged as a change.
const tracing = "POST /v1/trace"

// operation is what one kind of request does. do gets the whole body and
// returns that of the answer, or a stream; status is that of success. The query has none but
// the parameters, none twice and none empty.
type operation struct {
	status     int
	do         func(r *http.Request, body []byte) (answer any, err error)
	parameters []string
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The mux would redirect a path that is not in its shortest form.
	if h, pattern := s.mux.Handler(r); pattern == "" || r.URL.Path != path.Clean(r.URL.Path) {
		unknown(w, r, h)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// carryOut reads the request as a whole, which keeps clients that are slow to
// send or to receive from being busy, and answers it.
func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, o operation) {
	c := connectionOf(r.Context())
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	if err != nil {
		w.Header().Set("Connection", "close")
		unreadable(w, err)
		return
	}
	if !c.begin() {
		panic(http.ErrAbortHandler) // net/http's way to hang up without a word
	}
	answer, err := func() (any, error) {
		defer c.end()
		if err := strict(r, body, o.parameters); err != nil {
			return nil, err
		}
		if s.daemon.Busy != nil {
			defer s.daemon.Busy()()
		}
		return o.do(r, body)
	}()
	s.record(r, c, body, err)
	if err != nil {
		refuse(w, err)
		return
	}
	if follow, ok := answer.(stream); ok {
		s.serve(w, r, follow)
		return
	}
	status := o.status
	if status == http.StatusNoContent && answer != nil {
		status = http.StatusOK
	}
	write(w, status, answer)
}

// record logs who has changed what, or tried to.
func (s *Server) record(r *http.Request, c *connection, body []byte, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Pattern == tracing {
		return
	}
	attrs := []any{"method", r.Method, "path", r.URL.RequestURI()}
	if keys := keysOf(body); keys != "" {
		attrs = append(attrs, "keys", keys)
	}
	attrs = append(attrs, "uid", c.uid, "pid", c.pid)
	if err == nil {
		s.changes.note(r, body, c.uid)
		s.log.Info("changed", attrs...)
		return
	}
	level := slog.LevelWarn
	if code := errorOf(err).Code; code == CodeNotFound || code == CodeConflict {
		level = slog.LevelInfo // Scripts that can be repeated cause them on purpose.
	}
	s.log.Log(r.Context(), level, "change refused", append(attrs, "err", err)...)
}

// keysOf lists the keys of a body, as far as they fit in a line of the log.
func keysOf(body []byte) string {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	return fmt.Sprintf("%.200s", strings.Join(slices.Sorted(maps.Keys(object)), ","))
}
