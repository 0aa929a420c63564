package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/netns"
)

// quantity is one figure of a switch of some size: a cost, or a rate in k/s.
type quantity struct {
	name, unit string
	value      float64
}

const perSecond = "k/s"

// costTo is how much dearer q is than the same quantity of another size.
func (q quantity) costTo(base quantity) float64 {
	if q.unit == perSecond {
		return base.value / q.value
	}
	return q.value / base.value
}

// axis is one thing that there may be few or many of.
type axis struct {
	of      string
	sizes   []int
	measure func(s *scaling, n int) ([]quantity, error)
}

var axes = []axis{
	{"ports", []int{10, 100, 1024}, (*scaling).ports},
	{"VLANs of a trunk", []int{1, 100, 4094}, (*scaling).vlans},
	{"addresses", []int{1024, 65_536, config.MaxCapacity}, (*scaling).addresses},
}

// scaled is an axis with its figures: those of each size, in the same order.
type scaled struct {
	axis
	at [][]quantity
}

// scaling is a vswitchd whose ports are TAPs in its own namespace, set up.
type scaling struct {
	*run
	ctx    context.Context
	v      *variant
	nw     *network
	client *control.Client
}

// changes is how often a change is made to take the median.
const changes = 15

// measureScales measures the first variant at every size of every axis.
func (r *run) measureScales(ctx context.Context, say io.Writer) error {
	for _, a := range axes {
		of := scaled{axis: a}
		for _, n := range a.sizes {
			if err := awaitQuiet(ctx, r.method.quiet); err != nil {
				return nil
			}
			q, err := r.scale(ctx, &a, n)
			if err != nil {
				return fmt.Errorf("%s with %d %s: %w", r.variants[0].name, n, a.of, err)
			}
			of.at = append(of.at, q)
			fmt.Fprintf(say, "%s  scale %d %s:", time.Now().Format(time.TimeOnly), n, a.of)
			for _, one := range q {
				fmt.Fprintf(say, " %s %s %s;", one.name, figure(one.value), one.unit)
			}
			fmt.Fprintln(say)
		}
		r.scales = append(r.scales, of)
	}
	return nil
}

func (r *run) scale(ctx context.Context, a *axis, n int) (q []quantity, err error) {
	s := &scaling{run: r, ctx: ctx, v: r.variants[0]}
	if s.nw, err = newNetwork(&topology{name: s.v.name, build: func(*network) error { return nil }}, 0); err != nil {
		return nil, err
	}
	defer s.nw.close()
	if q, err = a.measure(s, n); err != nil {
		return nil, fmt.Errorf("%w%s", err, s.nw.lastWords())
	}
	memory, err := resident(s.nw.switches[0])
	return append(q, quantity{"resident memory", "MiB", memory}), err
}

// start starts vswitchd with ports p0, p1 and so on in VLAN 1, and returns how
// long it took until all were there.
func (s *scaling) start(n int) (time.Duration, error) {
	ports := make([]string, n)
	for i := range ports {
		ports[i] = fmt.Sprintf("name: p%d, access: 1", i)
	}
	began := time.Now()
	socket, err := s.v.start(s.nw, ports)
	if err != nil {
		return 0, err
	}
	s.client = control.NewClient(socket)
	err = awaitPorts(s.ctx, socket, n)
	return time.Since(began), err
}

// host is who uses the TAP of port i from the switch's own namespace.
func (s *scaling) host(i int) (*host, error) {
	h := &host{ns: s.nw.core, mac: net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}}
	return h, s.nw.core.Do(func() error {
		link, err := netlink.LinkByName(fmt.Sprintf("p%d", i))
		if err == nil {
			h.index = link.Attrs().Index
		}
		return err
	})
}

func (s *scaling) ports(n int) ([]quantity, error) {
	ready, err := s.start(n)
	if err != nil {
		return nil, err
	}
	var added, removed, set, scraped []float64
	last := config.Port{Name: "p" + strconv.Itoa(n-1), Access: 1} // n may be all that a switch has.
	address := ""
	if status, e := s.client.Status(s.ctx); e == nil {
		address = status.Metrics
	}
	for i := range changes {
		err = errors.Join(err,
			timed(&set, func() error { return s.set("p1", map[string]any{"flood": i%2 == 1}) }),
			timed(&removed, func() error { _, err := s.client.RemovePort(s.ctx, last.Name); return err }),
			timed(&added, func() error { _, err := s.client.AddPort(s.ctx, last); return err }),
			timed(&scraped, func() error { return scrape(s.ctx, s.nw.core, address) }))
	}
	if err != nil {
		return nil, err
	}
	in, out, err := s.flood()
	return []quantity{
		{"start until all ports are there", "ms", ready.Seconds() * 1e3},
		{"`port add`, of the last one", "ms", summarize(added).median},
		{"`port del`, of the last one", "ms", summarize(removed).median},
		{"`port set`, a snapshot published", "ms", summarize(set).median},
		{"scrape of /metrics", "ms", summarize(scraped).median},
		{"flood, broadcasts in", perSecond, in / 1e3},
		{"flood, copies out", perSecond, out / 1e3},
	}, err
}

func (s *scaling) set(name string, keys map[string]any) error {
	_, err := s.client.SetPort(s.ctx, name, keys)
	return err
}

// timed appends the milliseconds that f took.
func timed(to *[]float64, f func() error) error {
	began := time.Now()
	err := f()
	*to = append(*to, time.Since(began).Seconds()*1e3)
	return err
}

// scrape reads /metrics from within a namespace.
func scrape(ctx context.Context, ns *netns.NS, address string) error {
	inside := func(_ context.Context, network, addr string) (conn net.Conn, err error) {
		err = ns.Do(func() error {
			conn, err = net.Dial(network, addr)
			return err
		})
		return conn, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: inside, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	reply, err := client.Do(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, reply.Body)
	return errors.Join(err, reply.Body.Close())
}

// flood sends broadcasts at full speed to the port p0, and returns how many a
// second the switch read and how many copies of them it wrote.
func (s *scaling) flood() (in, out float64, err error) {
	from, err := s.host(0)
	if err != nil {
		return 0, 0, err
	}
	l := newLoad()
	if err := l.opaque(from, &host{mac: net.HardwareAddr{255, 255, 255, 255, 255, 255}}); err != nil {
		return 0, 0, errors.Join(err, l.end())
	}
	l.begin()
	time.Sleep(s.method.warm)
	began := time.Now()
	readBefore, wroteBefore, err := s.traffic()
	time.Sleep(s.method.window)
	read, wrote, err2 := s.traffic()
	seconds := time.Since(began).Seconds()
	return float64(read-readBefore) / seconds, float64(wrote-wroteBefore) / seconds, errors.Join(err, err2, l.end())
}

// traffic is what the links of the switch have handed to it and got from it.
func (s *scaling) traffic() (read, wrote uint64, err error) {
	err = s.nw.core.Do(func() error {
		links, err := netlink.LinkList()
		for _, link := range links {
			if a := link.Attrs(); a.Statistics != nil && link.Type() == "tuntap" {
				read += a.Statistics.TxPackets
				wrote += a.Statistics.RxPackets
			}
		}
		return err
	})
	return read, wrote, err
}

// vlans makes a port a trunk of n VLANs and an access port in turns.
func (s *scaling) vlans(n int) ([]quantity, error) {
	if _, err := s.start(2); err != nil {
		return nil, err
	}
	var set []float64
	for range changes {
		err := errors.Join(
			timed(&set, func() error { return s.set("p0", map[string]any{"trunk": []string{"1-" + strconv.Itoa(n)}}) }),
			s.set("p0", map[string]any{"access": 1}))
		if err != nil {
			return nil, err
		}
	}
	return []quantity{{"`port set --trunk`", "ms", summarize(set).median}}, nil
}

// scaleTables has a table per axis; nothing if none was measured.
func (r *run) scaleTables() string {
	var text strings.Builder
	for _, of := range r.scales {
		head := []string{of.of}
		for _, n := range of.sizes {
			head = append(head, strconv.Itoa(n))
		}
		lines := [][]string{append(head, "cost, last to first")}
		for i, q := range of.at[0] {
			line := []string{q.name}
			for _, at := range of.at {
				line = append(line, figure(at[i].value)+" "+q.unit)
			}
			lines = append(lines, append(line, fmt.Sprintf("%.2f", of.at[len(of.at)-1][i].costTo(q))))
		}
		text.WriteString(table(lines) + "\n")
	}
	return strings.TrimSuffix(text.String(), "\n")
}
