package config

import (
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

var update = flag.Bool("update", false, "write the golden files under testdata/bad and badlab")

func files(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return names
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBadFilesAreRefusedWithPlaceAndFix(t *testing.T) {
	refused(t, "testdata/bad/*.yaml", func(name string) error { _, err := Load(name); return err })
}

// refused has each of the files refused with what its golden file says.
func refused(t *testing.T, pattern string, load func(name string) error) {
	t.Helper()
	for _, name := range files(t, pattern) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			err := load(name)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := string(read(t, golden)); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func parse(t testing.TB, text string) *Config {
	t.Helper()
	c, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFullFileSetsEveryField(t *testing.T) {
	c := parse(t, string(read(t, "testdata/good/full.yaml")))
	want := &Config{
		VLANAware:       new(true),
		ForwardReserved: 1<<0x0e | 1<<0x04,
		FDB: FDB{Ageing: new(0), Capacity: 2048, Limit: new(100), Static: []StaticEntry{
			{MAC: frame.MAC{2, 0, 0x5e, 0x10, 0, 2}, VLAN: 10, Port: "web"},
			{MAC: frame.MAC{2, 0, 0x5e, 0x10, 0, 2}, VLAN: 11, Blackhole: true},
		}},
		Control: Control{Socket: "/run/vswitchd/control.sock", Group: "1000"},
		Metrics: Metrics{Listen: "[::1]:9876", WebConfig: "/etc/vswitchd/web.yml"},
		Ports: []Port{{
			Name: "web", Description: "container web, of the shop", Ephemeral: true, Kind: "tap", Ifname: "eth0", Netns: "web",
			MAC: &frame.MAC{2, 0, 0x5e, 0x10, 0, 1}, MTU: 9000, TxQLen: 500, Up: new(false),
			IP: []netip.Prefix{
				netip.MustParsePrefix("192.0.2.1/24"),
				netip.MustParsePrefix("2001:db8::1/64"),
				netip.MustParsePrefix("198.51.100.0/31"),
			},
			Gateway: []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::1")},
			Access:  10, FrameTypes: FrameTypesAll, IngressFiltering: new(false),
			Learning: new(false), Flood: new(false), McastFlood: new(false), BcastFlood: new(false),
			Isolated: 1, State: StateLearning, Limit: new(0), ForwardReserved: ReservedAll,
		}, {
			Name: "uplink", Role: RoleUplink, Persistent: true, Owner: "0", Group: "kvm",
			Trunk: VIDs{{10, 10}, {20, 31}}, Native: 5,
		}, {
			Name: "long", PVID: 7, Tagged: VIDs{{100, 200}}, Untagged: VIDs{{7, 9}}, Isolated: 255, Locked: true,
		}, {
			Name: "plain",
		}, {
			Name: "vm-of-a-longer-name-than-a-link", Kind: KindStream, Listen: "/run/vswitchd/vm.sock", MTU: 9000,
		}, {
			Name: "vm2", Kind: KindStream, Dial: "/run/qemu/vm2.sock",
		}, {
			Name: "probe-of-a-longer-name", Kind: KindResponder, MAC: &frame.MAC{2, 0, 0x5e, 0x10, 0, 3},
			IP: []netip.Prefix{netip.MustParsePrefix("192.0.2.254/24"), netip.MustParsePrefix("2001:db8::fe/64")},
		}, {
			Name: "vm3", Kind: KindDgram, Listen: "/run/vswitchd/vm3.sock", Dial: "/run/qemu/vm3.sock",
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got:\n%+v\nwant:\n%+v", c, want)
	}
}

func TestNullIsTheDefault(t *testing.T) {
	c := parse(t, string(read(t, "testdata/good/nulls.yaml")))
	if want := (&Config{VLANAware: new(true), Ports: []Port{{Name: "a"}}}); !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestNumbersAreTextsWhereTextsAreWanted(t *testing.T) {
	c := parse(t, string(read(t, "testdata/good/numbers_as_names.yaml")))
	want := []Port{{Name: "007", Owner: "0x1f", Netns: "1234"}, {Name: "1e3"}, {Name: "10"}}
	if !reflect.DeepEqual(c.Ports, want) {
		t.Errorf("got %+v, want %+v", c.Ports, want)
	}
}

// checkRoundTrip fails unless the configuration survives being written as YAML
// and as JSON.
func checkRoundTrip(t testing.TB, c *Config) {
	t.Helper()
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("again.yaml", text)
	if err != nil {
		t.Fatalf("%v\nin:\n%s", err, text)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	rawAgain, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	if string(raw) != string(rawAgain) {
		t.Errorf("YAML changed\n%s\ninto\n%s\nby way of\n%s", raw, rawAgain, text)
	}
	var fromJSON Config
	if err := json.Unmarshal(raw, &fromJSON); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	if !reflect.DeepEqual(&fromJSON, again) {
		t.Errorf("JSON made %+v\nYAML made %+v", fromJSON, *again)
	}
}

func TestGoodFilesSurviveMarshal(t *testing.T) {
	for _, name := range files(t, "testdata/good/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			c, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			checkRoundTrip(t, c)
		})
	}
}

func TestMarshalQuotesWhatYAMLWouldTakeForSomethingElse(t *testing.T) {
	texts := []string{
		"true", "No", "null", "~", "1", "0x1f", "1e3", ".inf", "nan", "-", "- a", "a: b", "a #b", "#", "&a", "*a", "!a",
		"{", "[a]", "a,b", " a ", "\"", "'", "\\", "a\nb", "\t", "\x00\x1b", "\u2028\u0085\ufeff", "ä→😀", "<&>", "%", "@", "`", "|", ">", "?", "<<", "---", "...", "=",
	}
	for _, text := range texts {
		checkRoundTrip(t, &Config{VLANAware: new(false), Metrics: Metrics{WebConfig: text}, Ports: []Port{{Name: "a", Netns: text}}})
	}
}

func TestMarshalIsShort(t *testing.T) {
	const text = `vlan_aware: true
fdb:
  ageing: 0
ports:
  - name: a
    mac: "02:00:5e:10:00:01"
    ip: [192.0.2.1/24, "2001:db8::1/64"]
    trunk: [10, 20-29]
    flood: false
  - name: b
`
	got, err := parse(t, text).Marshal()
	if err != nil || string(got) != text {
		t.Errorf("got %v\n%s\nwant:\n%s", err, got, text)
	}
}

func TestLoadRefusesLargeFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "large.yaml")
	text := "vlan_aware: true\n"
	text += strings.Repeat("#", MaxFile-len(text))
	for _, c := range []struct{ text, want string }{{text, ""}, {text + "#", "larger than"}} {
		if err := os.WriteFile(name, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(name); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d bytes: got error %v, want %q", len(c.text), err, c.want)
		}
	}
}

func TestParseRefusesMoreTokensThanAConfigurationHas(t *testing.T) {
	_, err := Parse("x", []byte("vlan_aware: true\nports:\n"+strings.Repeat("  -\n", maxTokens)))
	if err == nil || !strings.Contains(err.Error(), "words and signs") {
		t.Errorf("got %v", err)
	}
}

func TestLoadNamesAMissingFile(t *testing.T) {
	_, err := Load("testdata/absent.yaml")
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "testdata/absent.yaml") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, name := range files(f, pattern) {
			f.Add(read(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.yaml:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		checkRoundTrip(t, c)
	})
}
