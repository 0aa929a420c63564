package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// meter says what of a load a row's figure is.
type meter int

const (
	streams   meter = iota // octets of TCP
	frames                 // at the receiving link
	datagrams              // at the receiving socket
	trips                  // requests answered
)

// scene is what a row is about. It is measured on the topologies of its scene,
// and compared with the first of them.
type scene int

const (
	ordinary scene = iota
	guests         // a host at a veth pair and a virtual machine at its TAP
	beside         // a pair of hosts beside another to which frames are sent
	netdevs        // some of the ordinary rows, with ports at links that others have made
)

// row is a workload, one line of the table.
type row struct {
	name  string // for -rows
	title string
	hosts int
	scene scene
	meter meter
	awake bool // the CPUs are kept from halting
	start func(nw *network, l *load) error
}

// allRows are the workloads, in the order of the tables. Loads go from the
// first host to the second, but for all-to-all.
var allRows = []*row{
	{name: "tcp1", title: "TCP, 1 stream", hosts: 2, meter: streams, start: tcp(1)},
	{name: "tcp4", title: "TCP, 4 streams", hosts: 2, meter: streams, start: tcp(4)},
	{name: "all2all", title: "8 hosts, all-to-all TCP (56 streams), total", hosts: 8, meter: streams, start: allToAll},
	{name: "pps", title: "60-byte opaque frames", hosts: 2, meter: frames, start: func(nw *network, l *load) error {
		return l.opaque(nw.hosts[0], nw.hosts[1])
	}},
	{name: "udp", title: "small UDP datagrams, 1 flow", hosts: 2, meter: datagrams, start: udp(equal(smallSize), 1)},
	{name: "udp64", title: "small UDP datagrams, 64 interleaved flows", hosts: 2, meter: datagrams, start: udp(equal(smallSize), 64)},
	{name: "imix", title: "UDP, IMIX (7:4:1 of 46, 576, 1500 bytes), 1 flow", hosts: 2, meter: datagrams, start: udp(imix(), 1)},
	{name: "rr", title: "TCP request/response", hosts: 2, meter: trips, start: requestResponse},
	{name: "rrhot", title: "TCP request/response, CPUs awake", hosts: 2, meter: trips, awake: true, start: requestResponse},
	{name: "rrload", title: "TCP request/response beside bulk TCP", hosts: 2, meter: trips, start: func(nw *network, l *load) error {
		return errors.Join(l.bulk(nw.hosts[0], nw.hosts[1], 5001, 1), requestResponse(nw, l))
	}},
	{name: "neartcp", title: "TCP, 1 stream", hosts: 4, scene: beside, meter: streams, start: beset(tcp(1))},
	{name: "nearrr", title: "TCP request/response", hosts: 4, scene: beside, meter: trips, start: beset(requestResponse)},
	{name: "vmtx", title: "TCP, 1 stream, to a virtual machine", hosts: 1, scene: guests, meter: streams, start: func(nw *network, l *load) error {
		return l.discarded(nw.hosts[0], nw.receiver())
	}},
	{name: "vmrx", title: "TCP, 1 stream, from a virtual machine", hosts: 1, scene: guests, meter: streams, start: func(nw *network, l *load) error {
		return l.generated(nw.hosts[0], nw.receiver())
	}},
	{name: "vmpps", title: "60-byte opaque frames to a virtual machine", hosts: 1, scene: guests, meter: frames, start: func(nw *network, l *load) error {
		return l.opaque(nw.hosts[0], nw.receiver())
	}},
}

func tcp(streams int) func(nw *network, l *load) error {
	return func(nw *network, l *load) error { return l.bulk(nw.hosts[0], nw.hosts[1], 5001, streams) }
}

func allToAll(nw *network, l *load) error {
	for i, from := range nw.hosts {
		for _, to := range nw.hosts {
			if from == to {
				continue
			}
			if err := l.bulk(from, to, 5001+i, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func udp(sizes []int, flows int) func(nw *network, l *load) error {
	return func(nw *network, l *load) error { return l.datagrams(nw.hosts[0], nw.hosts[1], sizes, flows) }
}

// imix returns payloads that make IPv4 packets of 46, 576 and 1500 bytes, 7 to
// 4 to 1.
func imix() (sizes []int) {
	const headers = 28
	for range batchSize / 12 {
		for _, size := range []int{46, 576, 46, 46, 576, 46, 1500, 46, 576, 46, 46, 576} {
			sizes = append(sizes, size-headers)
		}
	}
	return sizes
}

func requestResponse(nw *network, l *load) error {
	return l.roundTrips(nw.hosts[0], nw.hosts[1], 5400)
}

// beset has frames sent to the last host at a rate that overruns it if it is dear
// to send to, and the load between two others.
func beset(start func(nw *network, l *load) error) func(nw *network, l *load) error {
	return func(nw *network, l *load) error {
		return errors.Join(l.paced(nw.hosts[2], nw.hosts[3]), start(nw, l))
	}
}

// netdevRows are where the way of a netdev port into the kernel shows.
var netdevRows = []string{"tcp1", "tcp4", "pps"}

// on tells whether the row is measured on a topology.
func (r *row) on(t *topology) bool {
	if t.scene == netdevs {
		return slices.Contains(netdevRows, r.name)
	}
	return r.scene == t.scene
}

// rate is the name of what the row's figure counts, and what of it one is in
// units delivered.
func (r *row) rate() (name string, per float64) {
	switch r.meter {
	case streams:
		return "Gbit/s", 1e9 / 8
	case trips:
		return "k/s", 1e3
	}
	return "k/s", 1e3
}

// cost is the unit that CPU time is divided by, and how many delivered units
// it is.
func (r *row) cost() (name string, per float64) {
	switch r.meter {
	case streams:
		return "kB", 1e3
	case frames:
		return "frame", 1
	case datagrams:
		return "datagram", 1
	}
	return "round trip", 1
}

// pickRows finds rows by their names, separated by commas; none means all.
func pickRows(names string) ([]*row, error) {
	if names == "" {
		return allRows, nil
	}
	var picked []*row
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(allRows, func(r *row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no row %q; there are %s", name, rowNames())
		}
		picked = append(picked, allRows[i])
	}
	return picked, nil
}

func rowNames() string {
	names := make([]string, len(allRows))
	for i, r := range allRows {
		names[i] = r.name
	}
	return strings.Join(names, ", ")
}
