package metrics_test

import (
	"flag"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/metrics"
	"github.com/vswitchd/vswitchd/port"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

var update = flag.Bool("update", false, "rewrite testdata/metrics.golden")

type fake []vswitch.PortInfo

func (f fake) Ports() []vswitch.PortInfo { return f }

func (f fake) Resyncs() uint64 { return 5 }

func (f fake) Unapplied() uint64 { return 7 }

func (f fake) FDBStats() (fdb.Stats, int) {
	return fdb.Stats{Capacity: 16384, Dynamic: 2, Static: 1, Learned: 9, Moved: 1, Aged: 4, Evicted: 1, Refused: 8, Flushed: 1}, 300
}

// twoPorts have a different figure wherever a mix-up could hide.
func twoPorts() fake {
	web := vswitch.PortInfo{
		Config: config.Port{Name: "web", Kind: "tap"},
		Link:   port.Link{Ifname: "eth0", MTU: 1500, Up: true},
		State:  config.StateForwarding, Learned: 2, ReceiveErrors: 3,
	}
	web.Stats.Receive = vswitch.Traffic{Frames: 100, Bytes: 6400, Multicast: 5, Broadcast: 6}
	web.Stats.Transmit = vswitch.Traffic{Frames: 80, Bytes: 5120, Multicast: 7, Broadcast: 8}
	web.Stats.Relayed, web.Stats.Copies = 90, 95
	web.Stats.Flooded = [vswitch.NumCauses]uint64{11, 12, 13}
	for r := range web.Stats.Dropped {
		web.Stats.Dropped[r] = uint64(20 + r)
	}
	db := vswitch.PortInfo{
		Config: config.Port{Name: "db", Kind: "tap"},
		Link:   port.Link{Ifname: "not\xffUTF-8", MTU: 9000},
		State:  config.StateDiscarding,
	}
	return fake{db, web}
}

func TestExpositionIsTheGoldenOne(t *testing.T) {
	const golden = "testdata/metrics.golden"
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(metrics.NewCollector(twoPorts(), metrics.Build{Version: "1.2.3", Revision: "abc", GoVersion: "go1.26"}))
	if *update {
		if err := write(golden, reg); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.Open(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if err := testutil.GatherAndCompare(reg, want); err != nil {
		t.Error(err)
	}
}

func write(path string, g prometheus.Gatherer) error {
	families, err := g.Gather()
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(f, family); err != nil {
			return err
		}
	}
	return nil
}

func TestMetricsPassPromlint(t *testing.T) {
	problems, err := testutil.CollectAndLint(metrics.NewCollector(twoPorts(), metrics.Build{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeriesOfARemovedPortEnd(t *testing.T) {
	count := func(f fake) int {
		return testutil.CollectAndCount(metrics.NewCollector(f, metrics.Build{}), "vswitch_dropped_frames_total")
	}
	both, one := count(twoPorts()), count(twoPorts()[:1])
	if perPort := int(frame.NumDropReasons) - 1; both != 2*perPort || one != perPort {
		t.Errorf("%d series with two ports, %d with one, want %d a port", both, one, perPort)
	}
}
