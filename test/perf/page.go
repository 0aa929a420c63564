package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	pageName    = "benchmarks.md"
	drawingName = "benchmarks.svg"
	scaleName   = "scale.svg"
	// The README's figures are between these lines.
	readmeBegin = "<!-- figures of make perf -->\n"
	readmeLink  = "\nMedians (smallest..largest) of ratios in the same run; [docs/benchmarks.md](docs/benchmarks.md) has the rest.\n\n"
	readmeEnd   = "<!-- end of the figures of make perf -->\n"
)

const howItWasMeasured = `Two hosts (all-to-all: eight) are network namespaces with one link each, the switch
runs in another; all share the CPUs, so a figure is one of the whole machine. MTU
1500, cubic, no IPv6, permanent neighbours, queues and settings as they are by
default. In each repetition every switch is started anew and each workload goes
through all switches in turn, seconds apart; a workload in which a switch lacks a measurement that
counts, or in which the bridge is not steady, is repeated, up to twice as often. **A ratio is the median over the
repetitions of the value divided by the kernel bridge's of the same repetition,
followed by the smallest and the largest.** n tells how many of the measurements
count: not those in which other processes used more than %.0f %% of the machine or
the hypervisor stole more than %.1f %%, and not those in which frames are missing that no
counter (link, queueing discipline, socket, switch) has as dropped.

A TCP sender serves all streams to one host with one thread, a receiver likewise;
writes are of 128 KiB. Opaque frames have EtherType 0x88b5, leave by sendmmsg on a packet socket and are
counted by the receiving link; datagrams are counted at the receiving socket. Loss
is of what was offered at full speed, frames that a full TAP queue refused
included; of TCP it is the segments sent again for each one sent first. CPU is of all CPUs for each delivered unit, and the switch's processes'
part of it; for a TAP that includes the receiver's network stack, which runs
inside the write, for the bridge the sender pays. "CPUs awake" keeps the CPUs from
halting by idle-priority threads, as waking a virtual CPU up takes longer than any
switch does, so that row has no CPU. A virtual machine has one CPU and a program of Go's; what it receives by TCP is
what the sender's socket has taken, frames count once QEMU has read them from the TAP.
`

const howItScales = `What vswitchd takes when there is more of one thing: its ports are TAPs in its own
namespace, changes are made through the control socket (median of %d) and take the
kernel's part, such as making the TAP, along. Delays are of frames, one in %v, between
two other ports until the receiving link has them; what is lost is a remark. The drawing
divides each figure by the one of the smallest size, and rates the other way round.

![cost against size](` + scaleName + `)

`

// write makes the page and its drawings in the directory, and the figures in the
// README beside it.
func (r *run) write(dir string) error {
	page := fmt.Sprintf("# Benchmarks\n\nWritten by `make perf`; do not edit.\n\n%s, %s; %s; %d times %v.\n\n",
		time.Now().UTC().Format(time.DateOnly), r.versions(), describeMachine(), r.repeat, r.method.window)
	page += r.summary() + "\n![throughput against the kernel bridge](" + drawingName + ")\n"
	if of := r.netdevTable(); of != "" {
		page += "\n## Ports of kind netdev, against the kernel bridge with the same links\n\n" + of
		if r.hypervisor != nil {
			page += "\nThe virtual machine runs " + r.hypervisor.describe() + ".\n"
		}
	}
	if of := r.besideTable(); of != "" {
		page += "\n## Beside a station whose TAP makes writes dear\n\n" + fmt.Sprintf(howItIsBeset, pacedRate, dearFilters) + of
	}
	page += "\n## How it was measured\n\n" + fmt.Sprintf(howItWasMeasured, maxOutside*100, r.method.steal*100)
	page += "\n## All figures\n\n" + r.details()
	if len(r.idles) > 0 {
		page += "\n## Idle\n\n" + r.idleTable()
	}
	if len(r.scales) > 0 {
		page += "\n## Scale\n\n" + fmt.Sprintf(howItScales, changes, probeEvery) + r.scaleTables()
		if err := publish(filepath.Join(dir, scaleName), r.scaleDrawing()); err != nil {
			return err
		}
	}
	if notes := r.remarks(); notes != "" {
		page += "\n## Remarks\n\n" + notes
	}
	return errors.Join(
		publish(filepath.Join(dir, pageName), page),
		publish(filepath.Join(dir, drawingName), r.drawing()),
		r.writeREADME(filepath.Join(filepath.Dir(filepath.Clean(dir)), "README.md")),
	)
}

func publish(path, text string) error {
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // documentation that everybody may read
}

func (r *run) writeREADME(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), readmeBegin)
	_, after, ok2 := strings.Cut(rest, readmeEnd)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q to put the figures between", path, strings.TrimSpace(readmeBegin), strings.TrimSpace(readmeEnd))
	}
	return publish(path, before+readmeBegin+"\n"+r.summary()+readmeLink+readmeEnd+after)
}

// versions are what the builds say of themselves.
func (r *run) versions() string {
	var all []string
	for _, v := range r.variants {
		out, err := exec.Command(v.path, "--version").Output()
		if err != nil {
			out = []byte(v.path)
		}
		all = append(all, strings.TrimSpace(string(out)))
	}
	return strings.Join(all, ", ")
}

// summary has a line per figure: vswitchd's, and what it is divided by the
// bridge's and by the peers'.
func (r *run) summary() string {
	head := []string{"workload", "vswitchd", "to the kernel bridge", "machine CPU, to the bridge's"}
	for _, p := range r.peers {
		head = append(head, "to "+p.name)
	}
	lines := [][]string{head}
	add := func(w *row, title, unit string, f, cpu func(s *sample) float64) {
		own := r.series[key{w.name, r.variants[0].name}]
		line := append([]string{title}, compared(own, r.of(w, r.base(w)), unit, f, cpu)...)
		for _, p := range r.peers {
			line = append(line, ratioText(summarize(ratios(own, r.of(w, p), f))))
		}
		lines = append(lines, line)
	}
	for _, w := range r.rows {
		if w.scene != ordinary {
			continue
		}
		unit, _ := w.rate()
		add(w, w.title, unit, rateOf, machineCPU)
		if w.meter == trips {
			add(w, w.title+", p50", "µs", medianTrip, nil)
		}
	}
	return table(lines)
}

// compared is the figure f, its ratio to the base's, and that of the CPU time if
// that is not nil.
func compared(own, base []sample, unit string, f, cpu func(s *sample) float64) []string {
	value := "refused"
	if s := summarize(values(own, f)); s.n > 0 {
		value = figure(s.median) + " " + unit
	}
	line := []string{value, ratioText(summarize(ratios(own, base, f))), ""}
	if cpu != nil {
		line[2] = ratioText(summarize(ratios(own, base, cpu)))
	}
	return line
}

// remarks is a list of what was refused and what else to know.
func (r *run) remarks() string {
	text := ""
	for _, line := range append(slices.Clip(r.notes), r.refusals()...) {
		text += "- " + line + "\n"
	}
	return text
}
