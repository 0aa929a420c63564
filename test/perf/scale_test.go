package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func someScales() *run {
	at := func(ms, rate float64) []quantity {
		return []quantity{{"`port add`", "ms", ms}, {"copies <&>", perSecond, rate}}
	}
	return &run{scales: []scaled{
		{axis{of: "ports", sizes: []int{10, 1000}}, [][]quantity{at(2, 300), at(3, 100)}},
		{axis{of: "VLANs", sizes: []int{1, 4094}}, [][]quantity{at(5, 1), at(5, 1)}},
	}}
}

func TestScaleComparesCostAlsoOfRates(t *testing.T) {
	got := someScales().scaleTables()
	for _, line := range []string{
		"| ports      | 10      | 1000    | cost, last to first |",
		"| `port add` | 2.00 ms | 3.00 ms | 1.50                |",
		"| copies <&> | 300 k/s | 100 k/s | 3.00                |",
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	if none := (&run{}).scaleTables(); none != "" {
		t.Errorf("of nothing: %q", none)
	}
}

func TestScaleDrawingIsXMLAndHasEveryFigure(t *testing.T) {
	text := someScales().scaleDrawing()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(text, ">port add<"); n != 2 {
		t.Errorf("%d figures are called port add, want 2", n)
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("%s is drawn", bad)
		}
	}
}
