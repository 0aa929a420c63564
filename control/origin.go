package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// changes remember which request has changed a port last, since the daemon started.
// The zero value remembers none.
type changes struct {
	mu    sync.Mutex
	ports map[string]string
	all   string // what has changed every port, after which ports begins anew
}

// note remembers a request that has succeeded.
func (c *changes) note(r *http.Request, body []byte, uid int) {
	by := func(what string) string {
		return fmt.Sprintf("%s by uid %d at %s", what, uid, time.Now().Format(time.TimeOnly))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ports == nil {
		c.ports = map[string]string{}
	}
	switch name := r.PathValue("name"); r.Pattern {
	case "POST /v1/ports":
		var p struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(body, &p) == nil {
			c.ports[p.Name] = by("port add")
		}
	case "PATCH /v1/ports/{name}":
		c.ports[name] = by("port set")
	case "DELETE /v1/ports/{name}":
		delete(c.ports, name)
	case "POST /v1/config/apply":
		c.ports, c.all = nil, by("config apply")
	}
}

// of returns the last change of a port, or nothing.
func (c *changes) of(port string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := c.ports[port]; last != "" {
		return last
	}
	return c.all
}

// origins tell where the configuration of ports has come from.
type origins struct {
	changes          *changes
	file             string
	lines            map[string]int // of the startup file, if that is as it was read
	startup, running map[string]*config.Port
}

func (s *Server) origins() *origins {
	if s.running == nil {
		return nil
	}
	r := s.running
	r.mu.Lock()
	st, now := r.startup, r.config()
	r.mu.Unlock()
	o := &origins{changes: &s.changes, file: st.File, startup: byName(st.Config), running: byName(now)}
	if st.File == "" {
		return o
	}
	if data, err := config.Read(st.File); err == nil && config.Sum(data) == st.Sum {
		o.lines = config.Places(data)
	}
	return o
}

func byName(c *config.Config) map[string]*config.Port {
	ports := make(map[string]*config.Port, len(c.Ports))
	for i := range c.Ports {
		ports[c.Ports[i].Name] = &c.Ports[i]
	}
	return ports
}

// deciding are the keys of a port that a reason goes back to; of others it is the port
// as a whole.
var deciding = map[frame.DropReason][]string{
	frame.DropIngressState:    {"state", "up"},
	frame.DropReservedAddress: {"forward_reserved"},
	frame.DropFrameType:       {"frame_types", "access", "trunk"},
	frame.DropNoPVID:          {"pvid", "native", "trunk"},
	frame.DropIngressFilter:   {"access", "trunk", "tagged"},
	frame.DropLocked:          {"locked"},
	frame.DropIsolated:        {"isolated"},
	frame.DropUplink:          {"role"},
	frame.DropOversize:        {"mtu"},
	frame.DropInnerTag:        {"native", "untagged", "trunk"},
}

// of says which line of the startup file, or which change, has made a port drop for
// a reason what it drops.
func (o *origins) of(port string, why frame.DropReason) string {
	if o == nil {
		return ""
	}
	is, was := o.running[port], o.startup[port]
	switch {
	case is == nil:
		return "a rule of auto_attach"
	case was == nil || !reflect.DeepEqual(*is, *was):
		if last := o.changes.of(port); last != "" {
			return last
		}
		if o.file == "" {
			return "a change before the daemon's last start"
		}
		return "a change before the daemon's last start, see: vswitchctl config diff"
	}
	path := "ports[" + port + "]"
	at := slices.IndexFunc(deciding[why], func(key string) bool { return o.lines[path+"."+key] != 0 })
	if at >= 0 {
		path += "." + deciding[why][at]
	}
	if line := o.lines[path]; line != 0 {
		return fmt.Sprintf("%s:%d", o.file, line)
	}
	return o.file
}
