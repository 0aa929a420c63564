package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vswitchd/vswitchd/control"
)

// idlePorts are the sizes of a switch with nothing to do.
var idlePorts = []int{2, 100, 1000}

const (
	idleSettle = 3 * time.Second
	idleWindow = 10 * time.Second
	// idleStart bounds the time until all ports are there.
	idleStart = 2 * time.Minute
)

// idleness is what a vswitchd without traffic costs.
type idleness struct {
	variant  string
	ports    int
	ready    time.Duration // until all ports are there
	resident float64       // MiB
	cpu      float64       // share of one CPU
}

// measureIdle starts a vswitchd with so many ports, all up in its own
// namespace, and leaves it alone.
func (v *variant) measureIdle(ctx context.Context, n int) (idle idleness, err error) {
	idle = idleness{variant: v.name, ports: n}
	nw, err := newNetwork(&topology{name: v.name, build: func(*network) error { return nil }}, 0)
	if err != nil {
		return idle, err
	}
	defer nw.close()
	ports := make([]string, n)
	for i := range ports {
		ports[i] = fmt.Sprintf("name: p%d, access: 1", i)
	}
	began := time.Now()
	socket, err := v.start(nw, ports)
	if err != nil {
		return idle, err
	}
	if err := awaitPorts(ctx, socket, n); err != nil {
		return idle, fmt.Errorf("%s with %d ports: %w%s", v.name, n, err, nw.lastWords())
	}
	idle.ready = time.Since(began)
	time.Sleep(idleSettle)
	pid := nw.switches[0]
	before := processTime(pid)
	start := time.Now()
	time.Sleep(idleWindow)
	idle.cpu = (processTime(pid) - before).Seconds() / time.Since(start).Seconds()
	idle.resident, err = resident(pid)
	return idle, err
}

func awaitPorts(ctx context.Context, socket string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, idleStart)
	defer cancel()
	client := control.NewClient(socket)
	for {
		status, err := client.Status(ctx)
		if err == nil && status.Ports == n {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of them are there after %v: %w", status.Ports, idleStart, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// resident is VmRSS of proc(5), in MiB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kB, err := strconv.ParseFloat(f[1], 64)
			return kB / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d tells no VmRSS", pid)
}

// measureIdles measures all sizes of all variants.
func (r *run) measureIdles(ctx context.Context, say io.Writer) error {
	for _, v := range r.variants {
		for _, n := range idlePorts {
			if ctx.Err() != nil {
				return nil
			}
			idle, err := v.measureIdle(ctx, n)
			if err != nil {
				return err
			}
			r.idles = append(r.idles, idle)
			fmt.Fprintf(say, "%s  idle %s with %d ports: %.0f MiB, %.1f %% of a CPU\n", time.Now().Format(time.TimeOnly), v.name, n, idle.resident, idle.cpu*100)
		}
	}
	return nil
}

// idleTable has a line per variant and size; nothing if none was measured.
func (r *run) idleTable() string {
	if len(r.idles) == 0 {
		return ""
	}
	lines := [][]string{{"switch", "ports", "ready after", "resident memory", "CPU, of one"}}
	for _, i := range r.idles {
		lines = append(lines, []string{
			i.variant, strconv.Itoa(i.ports), fmt.Sprintf("%.2f s", i.ready.Seconds()),
			fmt.Sprintf("%.0f MiB", i.resident), fmt.Sprintf("%.1f %%", i.cpu*100),
		})
	}
	return table(lines)
}
