package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// daemon answers each request with what is set for it, and keeps the last.
type daemon struct {
	socket  string
	answers map[string]any // by method and path; an Error is one

	mu     sync.Mutex
	bodies []string // of the requests
}

func newDaemon(t *testing.T, answers map[string]any) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &daemon{socket: filepath.Join(dir, "s"), answers: answers}
	l, err := net.Listen("unix", d.socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: d}
	go s.Serve(l)
	t.Cleanup(func() { _ = s.Close() })
	return d
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.bodies = append(d.bodies, string(body))
	d.mu.Unlock()
	answer, ok := d.answers[r.Method+" "+r.URL.RequestURI()]
	if !ok {
		answer = control.Error{Code: control.CodeFailed, Message: "not expected: " + r.Method + " " + r.URL.RequestURI()}
	}
	if _, isError := answer.(control.Error); isError {
		w.WriteHeader(http.StatusTeapot)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// last returns the body of the last request.
func (d *daemon) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bodies[len(d.bodies)-1]
}

// ctl runs a command and returns what it writes to standard output and error.
func (d *daemon) ctl(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"--socket", d.socket}, args...), &o, &e)
	return code, o.String(), e.String()
}

func portNamed(name string, c config.Port) control.Port {
	c.Name = name
	c = c.Resolved()
	return control.Port{
		Name: name, Index: 1, Kind: "tap", Ifname: name + "0", Ifindex: 7, MAC: frame.MAC{2, 0, 0, 0, 0, 1}, MTU: 1500, TxQLen: 1000,
		Flags: []string{"UP", "LOWER_UP"}, Up: true, State: config.StateForwarding, Learned: 3, Config: c,
	}
}

func samples() map[string]any {
	web := portNamed("web", config.Port{Trunk: config.VIDsOf(10, 20, 21), Native: 1, Limit: new(8), Isolated: 2, ForwardReserved: 1 << 14, Flood: new(false)})
	web.Device = &control.Device{Flags: []string{"tap", "no_pi"}, Features: []string{"tap", "multi_queue"}, VnetHdrLen: 10}
	stats := control.PortStats{
		Name: "web", Receive: control.Traffic{Frames: 12, Bytes: 900, Dropped: 3}, Transmit: control.Traffic{Frames: 1234567, Bytes: 987654321, Dropped: 1},
		Relayed: 9, Copies: 10, Flooded: map[string]uint64{"broadcast": 1},
		DroppedIngress: map[string]uint64{"no_pvid": 2, "ingress_filter": 1}, DroppedEgress: map[string]uint64{"of_a_newer_daemon": 1},
	}
	web.Stats = &stats
	db := portNamed("db", config.Port{Access: 10, Netns: "blue"})
	db.Up, db.State, db.Flags = false, config.StateDiscarding, nil
	vm := control.Port{
		Name: "vm", Index: 2, Kind: "stream", MTU: 1500, Flags: []string{"UP"}, State: config.StateDiscarding,
		Config: config.Port{Name: "vm", Kind: "stream", Dial: "/run/vm.sock", Access: 10}.Resolved(),
		Socket: &control.Socket{
			Connections: 4, Refused: 1, Ended: map[string]uint64{"too_long": 1, "closed": 3}, Lost: 7,
			Failure: "connect: connection refused",
		},
	}
	probe := control.Port{
		Name: "probe", Index: 3, Kind: "responder", MAC: frame.MAC{2, 0, 0, 0, 0, 9}, MTU: 1500, Flags: []string{"UP", "LOWER_UP"}, Up: true,
		State:  config.StateForwarding,
		Config: config.Port{Name: "probe", Kind: "responder", Access: 10, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.254/24"), netip.MustParsePrefix("fd00::fe/64")}}.Resolved(),
	}
	return map[string]any{
		"GET /v1/ports/probe": probe,
		"GET /v1/ports/vm":    vm,
		"GET /v1/status": control.Status{
			Version: "v1.2.3", PID: 4711, Uptime: 3723.4, VLANAware: true, Ports: 2, PortsUp: 1, Metrics: "127.0.0.1:9876",
			FDB: control.FDBInfo{Capacity: 16384, Limit: new(100), Ageing: 300, Dynamic: 3, Static: 1, Learned: 5, Aged: 2},
		},
		"GET /v1/ports":        []control.Port{db, web},
		"GET /v1/ports/web":    web,
		"GET /v1/stats":        control.Stats{Ports: []control.PortStats{{Name: "db"}, stats}},
		"GET /v1/fdb?port=vm":  []control.FDBEntry{},
		"GET /v1/fdb?port=web": []control.FDBEntry{},
		"GET /v1/fdb?": []control.FDBEntry{
			{MAC: frame.MAC{2, 0, 0, 0, 0, 1}, VLAN: 10, Port: "db", Ifname: "db0", State: "dynamic", Age: new(0)},
			{MAC: frame.MAC{2, 0, 0, 0, 0, 2}, State: "blackhole"},
		},
		"POST /v1/fdb/flush":       control.FDBFlushed{Removed: 4},
		"PATCH /v1/fdb/settings":   control.FDBSettings{Ageing: new(300), Limit: new(control.NoLimit)},
		"POST /v1/ports":           web,
		"PATCH /v1/ports/web":      web,
		"DELETE /v1/ports/web":     nil,
		"DELETE /v1/ports/missing": control.Error{Code: control.CodeNotFound, Message: `port "missing": not found`, Fix: "list the ports"},
	}
}
