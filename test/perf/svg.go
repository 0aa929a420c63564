package main

import (
	"fmt"
	"html"
	"strings"
)

// The drawing's measures, in pixels.
const (
	barHeight   = 12
	labelWidth  = 150
	plotWidth   = 480
	figureWidth = 70
	titleHeight = 22
	topHeight   = 44
)

// colours of the switches, in order; they repeat.
var colours = []string{"#1f6feb", "#8b949e", "#d29922", "#a371f7", "#3fb950", "#db6d28"}

// drawing is an SVG of every row's ratios to the bridge: a bar for the median, a
// line from the smallest to the largest.
func (r *run) drawing() string {
	right := 1.25
	for _, w := range r.rows {
		for _, t := range r.drawn(w) {
			right = max(right, r.toBridge(w, t).max*1.05)
		}
	}
	x := func(ratio float64) float64 { return labelWidth + ratio/right*plotWidth }
	var body strings.Builder
	y := topHeight
	for _, w := range r.rows {
		if len(r.drawn(w)) == 0 {
			continue
		}
		fmt.Fprintf(&body, `<text x="8" y="%d" class="t">%s</text>`+"\n", y+14, html.EscapeString(w.title))
		y += titleHeight
		for i, t := range r.drawn(w) {
			s := r.toBridge(w, t)
			fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelWidth-6, y+10, html.EscapeString(t.name))
			if s.n == 0 {
				fmt.Fprintf(&body, `<text x="%d" y="%d">refused</text>`+"\n", labelWidth+4, y+10)
			} else {
				fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", labelWidth, y, x(s.median)-labelWidth, barHeight-2, colours[i%len(colours)])
				fmt.Fprintf(&body, `<path d="M%.1f %dH%.1f" stroke="#24292f"/>`+"\n", x(s.min), y+barHeight/2-1, x(s.max))
				fmt.Fprintf(&body, `<text x="%.1f" y="%d">%.2f</text>`+"\n", x(s.max)+4, y+10, s.median)
			}
			y += barHeight
		}
		y += barHeight / 2
	}
	width := labelWidth + plotWidth + figureWidth
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="11" fill="#24292f">
<style>.t{font-weight:bold}</style>
<rect width="100%%" height="100%%" fill="white"/>
<text x="8" y="18" font-size="13" class="t">Throughput, kernel bridge = 1: median, and smallest to largest ratio</text>
<path d="M%.1f %dV%d" stroke="#24292f" stroke-dasharray="3 3"/>
<text x="%.1f" y="%d" text-anchor="middle">kernel bridge</text>
%s</svg>
`, width, y, width, x(1), topHeight-6, y, x(1), topHeight-10, body.String())
}

// drawn are the switches that have a bar for the row.
func (r *run) drawn(w *row) (of []*topology) {
	for _, t := range r.topologies[1:] {
		if w.scene == ordinary && w.on(t) {
			of = append(of, t)
		}
	}
	return of
}

func (r *run) toBridge(w *row, t *topology) spread {
	return summarize(ratios(r.of(w, t), r.of(w, r.base(w)), rateOf))
}
