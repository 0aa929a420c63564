package bridge

import (
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

var (
	update = flag.Bool("update", false, "write the golden files")
	record = flag.String("record", "", "write what the kernel tells to the `FILE`, see testdata/bridge.sh")
)

func TestMain(m *testing.M) { nettest.Main(m) }

// load reads what a kernel told.
func load(t *testing.T, file string) (d dumps) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// imported converts the bridge and checks that what comes out is valid, and
// still is once it was written and read again.
func imported(t *testing.T, b *bridge) (*Import, string) {
	t.Helper()
	i, err := b.convert()
	if err != nil {
		t.Fatal(err)
	}
	text, err := i.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse("import.yaml", text)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	if d := config.Diff(&i.Config, again); len(d) > 0 {
		t.Errorf("read again, these differ: %q\n%s", d, text)
	}
	return i, string(text)
}

func TestRecordedBridge(t *testing.T) {
	if *record != "" {
		d, err := dump()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*record, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	d := load(t, "testdata/vlan.json")
	b, err := d.decode("br0")
	if err != nil {
		t.Fatal(err)
	}
	_, got := imported(t, b)
	const golden = "testdata/vlan.yaml"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || got != string(want) {
		t.Errorf("%v, got\n%s", err, got)
	}
	if _, err := d.decode("veth0"); !errors.Is(err, ErrNotBridge) {
		t.Error(err)
	}
}

// What is commented out must be valid as well once the signs are taken away.
func TestWhatIsLeftOutIsValidOnceItIsWanted(t *testing.T) {
	d := load(t, "testdata/vlan.json")
	b, err := d.decode("br0")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range b.ports {
		if l.name == "veth0" {
			l.kind, l.data = "tun", attrs{nl.IFLA_TUN_TYPE: {unix.IFF_TUN}}
		}
	}
	i, text := imported(t, b)
	if len(i.LeftOut.Ports) == 0 || len(i.LeftOut.Static) == 0 {
		t.Fatal("nothing is left out")
	}
	var wanted strings.Builder
	for line := range strings.Lines(text) {
		if before, after, ok := strings.Cut(line, "# "); ok && strings.TrimSpace(before) == "" && (strings.HasPrefix(after, "- ") || strings.HasPrefix(after, "  ")) {
			line = before + after
		}
		wanted.WriteString(line)
	}
	c, err := config.Parse("wanted.yaml", []byte(wanted.String()))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Ports) != len(i.Config.Ports)+len(i.LeftOut.Ports) || len(c.FDB.Static) != len(i.Config.FDB.Static)+len(i.LeftOut.Static) {
		t.Errorf("%d ports, %d entries", len(c.Ports), len(c.FDB.Static))
	}
}

func TestBridgeOfThisKernelIsImported(t *testing.T) {
	ns := nettest.New(t)
	var i *Import
	err := ns.Do(func() (err error) {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, AgeingTime: new(uint32(6000)), GroupFwdMask: new(uint16(1 << 14))}
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		ip, _ := netlink.ParseAddr("192.0.2.1/24")
		tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tap0", MasterIndex: br.Index}, Mode: netlink.TUNTAP_MODE_TAP, Owner: 7}
		mac, _ := net.ParseMAC("02:00:00:00:00:01")
		err = errors.Join(netlink.AddrAdd(br, ip), netlink.LinkSetUp(br), netlink.LinkAdd(tap), netlink.LinkSetMaster(tap, br), netlink.LinkSetUp(tap),
			netlink.LinkSetLearning(tap, false), netlink.LinkSetIsolated(tap, true), netlink.LinkSetHairpin(tap, true))
		err = errors.Join(err, netlink.NeighAppend(&netlink.Neigh{
			Family: unix.AF_BRIDGE, LinkIndex: tap.Index, Flags: netlink.NTF_MASTER, State: netlink.NUD_NOARP, HardwareAddr: mac,
		}))
		if err == nil {
			i, err = Read("br0")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := i.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"vlan_aware: false\nforward_reserved: [stp, lldp]\nfdb:\n  ageing: 60\n  static:\n    - mac: \"02:00:00:00:00:01\"\n      port: tap0\n",
		"    ip: [192.0.2.1/24]\n", "  # hairpin is on",
		"  - name: tap0\n    adopt: true\n    learning: false\n    isolated: 1\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no\n%s\nin\n%s", want, text)
		}
	}
}
