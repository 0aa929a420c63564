package main

import (
	"encoding/xml"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOnlyMeasurementsOfOneRepetitionAreCompared(t *testing.T) {
	base := []sample{{0, result{rate: 10}}, {1, result{rate: 20}}, {2, result{rate: 5, refused: "disturbed"}}}
	of := []sample{{1, result{rate: 30}}, {0, result{rate: 10}}, {2, result{rate: 5}}, {3, result{rate: 1}}}
	if got, want := ratios(of, base, rateOf), []float64{1.5, 1}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
}

func TestRefusedMeasurementsDoNotCount(t *testing.T) {
	s := summarize(values([]sample{{0, result{rate: 3}}, {1, result{rate: 99, refused: "disturbed"}}, {2, result{rate: 1}}}, rateOf))
	if want := (spread{n: 2, median: 2, min: 1, max: 3, q1: 1.5, q3: 2.5}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

func TestUnsteadyBridgeIsRepeated(t *testing.T) {
	w := allRows[0]
	for _, c := range []struct {
		rates    []float64
		unsteady bool
	}{{[]float64{10, 10, 11, 9}, false}, {[]float64{10, 5, 20, 9}, true}, {nil, false}} {
		bridge := bridgeTopology()
		r := &run{options: &options{rows: []*row{w}}, topologies: []*topology{bridge}, series: map[key][]sample{}}
		for i, rate := range c.rates {
			r.series[key{w.name, bridge.name}] = append(r.series[key{w.name, bridge.name}], sample{i, result{rate: rate}})
		}
		if got := len(r.unsteady()) > 0; got != c.unsteady {
			t.Errorf("%v: unsteady %v, want %v", c.rates, got, c.unsteady)
		}
	}
}

func TestBooksBalanceOrNameWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		sent, delivered, dropped uint64
		missing                  string
	}{
		{1000, 900, 100, ""},
		{1000, 900, 90, " 10 missing"},
		{1000, 900, 110, " -10 missing"},
		{1_000_000, 900_000, 99_950, ""},
	} {
		got := balance(c.sent, c.delivered, c.dropped)
		if (got == "") != (c.missing == "") || !strings.Contains(got, c.missing) {
			t.Errorf("%v: %q, want %q", c, got, c.missing)
		}
	}
}

func TestDisturbedWindowIsNoted(t *testing.T) {
	w, l := allRows[0], newLoad()
	for name, used := range map[string]usage{
		"":         {machine: time.Second, outside: time.Millisecond},
		"stole":    {stolen: tick},
		"other":    {outside: time.Hour},
		"disturbe": {outside: time.Hour, stolen: tick},
	} {
		var res result
		res.fill(w, l, state{at: time.Unix(0, 0)}, state{at: time.Unix(1, 0), units: 1, usage: used}, 0)
		if (res.noise == "") != (name == "") || !strings.Contains(res.noise, name) {
			t.Errorf("%+v: noise %q, want %q in it", used, res.noise, name)
		}
	}
}

func TestPercentiles(t *testing.T) {
	ns := make([]uint32, 1000)
	for i := range ns {
		ns[i] = uint32(1000 - i)
	}
	if got, want := percentiles(ns), [3]float64{0.501, 0.991, 1}; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := percentiles(nil); got != [3]float64{} {
		t.Errorf("of nothing: %v", got)
	}
}

func TestBusyTimeLeavesIdleAndGuestOut(t *testing.T) {
	busy, stolen := parseStat("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9 9\n")
	if busy != 63*tick || stolen != 32*tick {
		t.Errorf("busy %v, stolen %v", busy, stolen)
	}
}

func TestVariantWords(t *testing.T) {
	v, err := parseVariant("two=GOMAXPROCS=2 port.txqlen=128 config.forward_reserved=[stp] --log-level=debug ./other", "bin/vswitchd")
	want := &variant{
		name: "two", path: "./other", env: []string{"GOMAXPROCS=2"}, args: []string{"--log-level=debug"},
		port: []string{"txqlen: 128"}, config: []string{"forward_reserved: [stp]"},
	}
	if err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%+v, error %v, want %+v", v, err, want)
	}
	for _, bad := range []string{"", "two", "=x"} {
		if _, err := parseVariant(bad, "x"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestIMIXIsSevenToFourToOne(t *testing.T) {
	count := map[int]int{}
	for _, size := range imix() {
		count[size]++
	}
	if want := map[int]int{18: 35, 548: 20, 1472: 5}; !reflect.DeepEqual(count, want) {
		t.Errorf("%v, want %v", count, want)
	}
}

func TestDrawingIsXMLAndHasEveryRow(t *testing.T) {
	v := &variant{name: "vswitchd <&>"}
	r := &run{options: &options{rows: allRows, variants: []*variant{v}}, topologies: []*topology{bridgeTopology(), v.topology()}, series: map[key][]sample{}}
	w := allRows[0]
	r.series[key{w.name, r.topologies[0].name}] = []sample{{0, result{rate: 2}}}
	r.series[key{w.name, v.name}] = []sample{{0, result{rate: 3}}}
	text := r.drawing()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range allRows {
		if w.scene == ordinary && !strings.Contains(text, w.title) {
			t.Errorf("no %q", w.title)
		}
	}
	if !strings.Contains(text, ">1.50</text>") {
		t.Error("the ratio 1.50 is not there")
	}
}

func TestFigureHasThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0.123: "0.12", 9.876: "9.88", 12.34: "12.3", 1234.5: "1234", math.Pi: "3.14"} {
		if got := figure(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestTableHasEvenColumns(t *testing.T) {
	got := table([][]string{{"a", "µs"}, {"bcd", ""}})
	if want := "| a   | µs |\n| --- | -- |\n| bcd |    |\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestScenesHaveTablesOfTheirOwn(t *testing.T) {
	v := &variant{name: "vswitchd"}
	r := &run{
		options: &options{rows: allRows, variants: []*variant{v}}, series: map[key][]sample{},
		topologies: append([]*topology{bridgeTopology(), v.topology(), v.netdevTopology(), (*hypervisor)(nil).bridgeTopology(), v.guestTopology(nil)}, v.besideTopologies()...),
	}
	for _, w := range r.rows {
		for i, t := range r.topologies {
			if w.on(t) {
				r.series[key{w.name, t.name}] = []sample{{0, result{rate: float64(4 + i)}}}
			}
		}
	}
	for text, lines := range map[string][]string{
		r.netdevTable(): {
			"| TCP, 1 stream | veth pairs | 6.00 Gbit/s | 1.50 | |",
			"| 60-byte opaque frames to a virtual machine | veth pair, TAP of QEMU | 8.00 k/s | 1.14 | |",
		},
		r.besideTable(): {"| TCP, 1 stream | 9.00 Gbit/s | 10.0 Gbit/s | 1.11 |"},
		r.summary():     {"| TCP, 1 stream | 5.00 Gbit/s | 1.25 | |"},
	} {
		text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c == ' ' }), " ")
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("no line %q in\n%s", line, text)
			}
		}
	}
	if text := r.summary(); strings.Contains(text, "virtual machine") {
		t.Errorf("not of ordinary hosts:\n%s", text)
	}
	if err := r.missing(); err != nil {
		t.Error(err)
	}
}
