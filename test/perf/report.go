package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxSpread is how far the bridge's quartiles may be apart, relative to its
// median.
const maxSpread = 0.3

// spread sums samples up.
type spread struct {
	n                int
	median, min, max float64
	q1, q3           float64
}

func summarize(values []float64) (s spread) {
	if len(values) == 0 {
		return s
	}
	v := slices.Sorted(slices.Values(values))
	return spread{len(v), quantile(v, 0.5), v[0], v[len(v)-1], quantile(v, 0.25), quantile(v, 0.75)}
}

// quantile interpolates between sorted values.
func quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// values are f of the samples that count.
func values(of []sample, f func(s *sample) float64) (v []float64) {
	for i := range of {
		if of[i].refused == "" {
			v = append(v, f(&of[i]))
		}
	}
	return v
}

func rateOf(s *sample) float64     { return s.rate }
func machineCPU(s *sample) float64 { return s.machine }
func switchCPU(s *sample) float64  { return s.process }
func medianTrip(s *sample) float64 { return s.latency[0] }
func lateTrip(s *sample) float64   { return s.latency[1] }

// ratios divide each sample by the base's of the same repetition.
func ratios(of, base []sample, f func(s *sample) float64) (v []float64) {
	for i := range of {
		for j := range base {
			b := &base[j]
			if b.repetition == of[i].repetition && b.refused == "" && of[i].refused == "" && f(b) > 0 {
				v = append(v, f(&of[i])/f(b))
			}
		}
	}
	return v
}

// base is the topology that the row's ratios refer to: the first, which is the
// kernel's bridge or, where vswitchd is compared with itself, vswitchd undisturbed.
func (r *run) base(w *row) *topology {
	return r.topologies[slices.IndexFunc(r.topologies, w.on)]
}

// of is what was measured of a row on a topology.
func (r *run) of(w *row, t *topology) []sample { return r.series[key{w.name, t.name}] }

// unsteady are the rows in which the bridge itself varies too much to compare
// with it.
func (r *run) unsteady() (rows []*row) {
	for _, w := range r.rows {
		s := summarize(values(r.of(w, r.base(w)), rateOf))
		if s.n > 2 && s.q3-s.q1 > maxSpread*s.median {
			rows = append(rows, w)
		}
	}
	return rows
}

// short are the rows in which a switch has fewer measurements that count than were
// asked for.
func (r *run) short() (rows []*row) {
	for _, w := range r.rows {
		if slices.ContainsFunc(r.topologies, func(t *topology) bool {
			return w.on(t) && len(values(r.of(w, t), rateOf)) < r.repeat
		}) {
			rows = append(rows, w)
		}
	}
	return rows
}

// print writes all figures as Markdown.
func (r *run) print(out io.Writer) {
	for _, part := range []string{r.details(), r.idleTable(), r.scaleTables(), r.remarks()} {
		if part != "" {
			fmt.Fprint(out, "\n", part)
		}
	}
}

// details has a line per row and topology.
func (r *run) details() string {
	lines := [][]string{{"workload", "switch", "median", "min..max", "to the first", "n", "loss", "CPU: machine, switch", "p50, p99, p99.9 µs"}}
	paired := len(r.variants) > 1
	if paired {
		lines[0] = slices.Insert(lines[0], 5, "to vswitchd")
	}
	for _, w := range r.rows {
		for _, t := range r.topologies {
			if !w.on(t) {
				continue
			}
			line := r.line(w, t)
			if paired {
				line = slices.Insert(line, 5, ratioText(summarize(ratios(r.of(w, t), r.series[key{w.name, r.variants[0].name}], rateOf))))
			}
			lines = append(lines, line)
		}
	}
	return table(lines)
}

func (r *run) line(w *row, t *topology) []string {
	of := r.of(w, t)
	s := summarize(values(of, rateOf))
	if s.n == 0 {
		return []string{w.name, t.name, "refused", "", "", "0", "", "", ""}
	}
	unit, _ := w.rate()
	line := []string{
		w.name, t.name, figure(s.median) + " " + unit, figure(s.min) + ".." + figure(s.max),
		ratioText(summarize(ratios(of, r.of(w, r.base(w)), rateOf))),
		fmt.Sprintf("%d of %d", s.n, len(of)), "", "", "",
	}
	median := func(f func(s *sample) float64) float64 { return summarize(values(of, f)).median }
	line[6] = fmt.Sprintf("%.2g %%", 100*median(func(s *sample) float64 { return s.loss }))
	if per, _ := w.cost(); !w.awake {
		line[7] = fmt.Sprintf("%.0f, %.0f ns/%s", median(machineCPU), median(switchCPU), per)
	}
	if w.meter == trips {
		var p [3]string
		for i := range p {
			p[i] = figure(median(func(s *sample) float64 { return s.latency[i] }))
		}
		line[8] = strings.Join(p[:], ", ")
	}
	return line
}

// refusals say which measurements do not count, and why.
func (r *run) refusals() (lines []string) {
	for k, of := range r.series {
		for _, s := range of {
			if s.refused != "" {
				lines = append(lines, fmt.Sprintf("refused: %s on %s, repetition %d: %s", k.row, k.topology, s.repetition+1, s.refused))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

func ratioText(s spread) string {
	if s.n == 0 {
		return ""
	}
	if s.n == 1 {
		return fmt.Sprintf("%.2f", s.median)
	}
	return fmt.Sprintf("%.2f (%.2f..%.2f)", s.median, s.min, s.max)
}

// figure is a number with three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// table is Markdown with columns of even width. The first line is the head.
func table(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var text strings.Builder
	for n, line := range lines {
		for i, cell := range line {
			text.WriteString("| " + cell + strings.Repeat(" ", widths[i]-len([]rune(cell))+1))
		}
		text.WriteString("|\n")
		if n == 0 {
			for _, width := range widths {
				text.WriteString("| " + strings.Repeat("-", cmp.Or(width, 1)) + " ")
			}
			text.WriteString("|\n")
		}
	}
	return text.String()
}
