package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The measures of the drawing of scale, in pixels.
const (
	scaleLeft, scaleWidth = 60, 420
	scaleTop, scaleHeight = 40, 320
	legendWidth           = 330
	legendLine            = 17
)

// dashes tell the axes apart, as colours tell the figures of one.
var dashes = []string{"none", "6 3", "2 2"}

// scaleDrawing is an SVG of each figure's cost against size, both logarithmic.
func (r *run) scaleDrawing() string {
	size, least, most := 1.0, 0.5, 2.0
	for _, of := range r.scales {
		size = max(size, float64(of.sizes[len(of.sizes)-1]))
		for _, at := range of.at {
			for i, q := range at {
				cost := q.costTo(of.at[0][i])
				least, most = min(least, cost), max(most, cost)
			}
		}
	}
	x := func(n float64) float64 { return scaleLeft + math.Log(n)/math.Log(size)*scaleWidth }
	y := func(cost float64) float64 {
		return scaleTop + math.Log(most/cost)/math.Log(most/least)*scaleHeight
	}
	var body strings.Builder
	for n := 1.0; n <= size; n *= 10 {
		fmt.Fprintf(&body, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x(n), scaleTop+scaleHeight+18, n)
	}
	for cost := math.Pow10(int(math.Ceil(math.Log10(least)))); cost <= most; cost *= 10 {
		fmt.Fprintf(&body, `<path d="M%d %.1fh%d" stroke="#d0d7de"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", scaleLeft, y(cost), scaleWidth, scaleLeft-6, y(cost)+4, cost)
	}
	line := scaleTop
	for a, of := range r.scales {
		fmt.Fprintf(&body, `<text x="%d" y="%d" class="t">%s</text>`+"\n", scaleLeft+scaleWidth+20, line, html.EscapeString(of.of))
		for i, q := range of.at[0] {
			line += legendLine
			style := fmt.Sprintf(`fill="none" stroke-width="1.5" stroke="%s" stroke-dasharray="%s"`, colours[i%len(colours)], dashes[a%len(dashes)])
			path := "M"
			for k, n := range of.sizes {
				path += fmt.Sprintf("%.1f %.1f ", x(float64(n)), y(of.at[k][i].costTo(q)))
			}
			fmt.Fprintf(&body, `<path d="%s" %s/>`+"\n", strings.TrimSpace(path), style)
			fmt.Fprintf(&body, `<path d="M%d %dh26" %s/><text x="%d" y="%d">%s</text>`+"\n", scaleLeft+scaleWidth+20, line-4, style, scaleLeft+scaleWidth+52, line, html.EscapeString(strings.ReplaceAll(q.name, "`", "")))
		}
		line += legendLine * 3 / 2
	}
	width, height := scaleLeft+scaleWidth+legendWidth, max(line, scaleTop+scaleHeight+30)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="11" fill="#24292f">
<style>.t{font-weight:bold}</style>
<rect width="100%%" height="100%%" fill="white"/>
<text x="8" y="18" font-size="13" class="t">Cost against size, the smallest size = 1</text>
%s</svg>
`, width, height, width, body.String())
}
