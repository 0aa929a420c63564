package control

import (
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Views are the answers of a Server that only look, for those who show them
// somewhere else than on the control socket. It is safe for concurrent use.
type Views struct{ s *Server }

// NewViews makes the views of sw. Of d only Version, Started, Metrics and Config
// are shown.
func NewViews(sw *vswitch.Switch, d Daemon) *Views { return &Views{&Server{sw: sw, daemon: d}} }

// Status is the answer to GET /v1/status.
func (v *Views) Status() *Status { return v.s.statusOf() }

// Ports is the answer to GET /v1/ports.
func (v *Views) Ports() []Port { return v.s.ports() }

// Stats is the answer to GET /v1/stats.
func (v *Views) Stats() *Stats { return v.s.statsNow() }

// Why is the answer to GET /v1/why without parameters.
func (v *Views) Why() (*Why, error) { return v.s.whyNow(&WhyQuery{}) }

// FDB is the answer to GET /v1/fdb.
func (v *Views) FDB() ([]FDBEntry, error) { return v.s.entries(vswitch.FDBFilter{}) }

// Event is a line of the answer to GET /v1/events.
func (v *Views) Event(e *vswitch.Event) Event { return eventOf(e) }
