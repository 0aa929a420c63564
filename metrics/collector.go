// Package metrics shows a switch to Prometheus. Everything is read from the
// switch's own counters at the moment of a scrape: the data path knows nothing
// of it, and the series of a removed port end.
package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Source is what a Collector reads; *vswitch.Switch is one.
type Source interface {
	Ports() []vswitch.PortInfo
	FDBStats() (stats fdb.Stats, ageing int)
	Resyncs() uint64
	Unapplied() uint64
}

// Build is the content of vswitch_build_info.
type Build struct{ Version, Revision, GoVersion string }

// Collector is a prometheus.Collector over a switch. Safe for concurrent use.
type Collector struct {
	source Source
	build  Build
}

// NewCollector makes a collector that reads s.
func NewCollector(s Source, b Build) *Collector { return &Collector{s, b} }

// Describe implements prometheus.Collector. It describes nothing: which series
// there are depends on the ports.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	m := sink{out}
	m.gauge(buildInfo, 1, c.build.Version, c.build.Revision, c.build.GoVersion)
	stats, _ := c.source.FDBStats()
	m.fdb(&stats)
	m.counter(configUnapplied, c.source.Unapplied())
	m.counter(netlinkResyncs, c.source.Resyncs())
	for _, p := range c.source.Ports() {
		m.port(&p)
	}
}

type sink struct{ out chan<- prometheus.Metric }

func (m sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	m.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (m sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	m.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (m sink) fdb(s *fdb.Stats) {
	m.gauge(fdbEntries, float64(s.Dynamic), "dynamic")
	m.gauge(fdbEntries, float64(s.Static), "static")
	m.gauge(fdbEntries, float64(s.Blackhole), "blackhole")
	m.gauge(fdbCapacity, float64(s.Capacity))
	m.counter(fdbLearned, s.Learned)
	m.counter(fdbMoved, s.Moved)
	m.counter(fdbAged, s.Aged)
	m.counter(fdbEvicted, s.Evicted)
	m.counter(fdbRefused, s.Refused)
	m.counter(fdbFlushed, s.Flushed)
}

func (m sink) port(p *vswitch.PortInfo) {
	name := p.Config.Name
	// A container may give its link any name; a label must be UTF-8.
	m.gauge(portInfo, 1, name, p.Config.Kind, strings.ToValidUTF8(p.Link.Ifname, "?"))
	m.gauge(portUp, truth(p.Link.Up), name)
	for _, s := range []config.State{config.StateForwarding, config.StateLearning, config.StateDiscarding} {
		m.gauge(portState, truth(p.State == s), name, string(s))
	}
	m.gauge(portMTU, float64(p.Link.MTU), name)
	m.gauge(portContained, truth(p.Contained), name)
	m.counter(portContainments, p.Containments, name)
	m.gauge(portLearned, float64(p.Learned), name)

	s := &p.Stats
	m.counter(receiveFrames, s.Receive.Frames, name)
	m.counter(receiveBytes, s.Receive.Bytes, name)
	m.counter(receiveMulticast, s.Receive.Multicast, name)
	m.counter(receiveBroadcast, s.Receive.Broadcast, name)
	m.counter(receiveErrors, p.ReceiveErrors, name)
	m.counter(transmitFrames, s.Transmit.Frames, name)
	m.counter(transmitBytes, s.Transmit.Bytes, name)
	m.counter(transmitCoalesced, p.Coalesced, name)
	m.counter(transmitMulticast, s.Transmit.Multicast, name)
	m.counter(transmitBroadcast, s.Transmit.Broadcast, name)
	m.counter(relayedFrames, s.Relayed, name)
	m.counter(copiedFrames, s.Copies, name)
	for cause := range vswitch.NumCauses {
		m.counter(floodedFrames, s.Flooded[cause], name, cause.String())
	}
	for r := frame.Keep + 1; r < frame.NumDropReasons; r++ {
		m.counter(droppedFrames, s.Dropped[r], name, r.Direction().String(), r.String())
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
