package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestDiffNamesEachKeyThatDiffers(t *testing.T) {
	a := parse(t, `vlan_aware: true
fdb: {ageing: 60, static: [{mac: "02:00:00:00:00:01", vlan: 10, port: a}]}
ports: [{name: a, access: 10, mtu: 1400}, {name: b}, {name: c, trunk: [1-3]}]
`)
	b := parse(t, `vlan_aware: true
fdb: {ageing: 90, static: [{mac: "02:00:00:00:00:01", vlan: 10, blackhole: true}]}
ports: [{name: c, trunk: "1,2,3"}, {name: d, up: false}, {name: a, access: 10}]
`)
	want := []string{
		"- fdb.ageing: 60", "+ fdb.ageing: 90",
		"+ fdb.static[10 02:00:00:00:00:01].blackhole: true", "- fdb.static[10 02:00:00:00:00:01].port: a",
		"- ports[a].mtu: 1400", "- ports[b].name: b", "+ ports[d].name: d", "+ ports[d].up: false",
	}
	if got := Diff(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Diff(a, a); len(got) != 0 {
		t.Errorf("a differs from itself: %v", got)
	}
}

func TestKeptConfigurationComesBackWithItsOrigin(t *testing.T) {
	c := parse(t, string(read(t, "testdata/good/full.yaml")))
	began := []byte("vlan_aware: true\nports:\n  - name: a\n")
	text, err := Kept{Sum([]byte("x")), began, c}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseKept("f", text)
	if err != nil || got.Startup != Sum([]byte("x")) || string(got.Began) != string(began) || len(Diff(got.Config, c)) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	if _, err := ParseKept("f", []byte(rest)); err == nil || !strings.HasPrefix(err.Error(), "f: ") {
		t.Errorf("without origin: %v", err)
	}
}

func TestReplacedFileIsTheOldOrTheNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := func(want string) {
		t.Helper()
		if got := string(read(t, path)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the other file is left behind: %v", err)
		}
	}
	for _, text := range []string{"first", "a longer second", "3"} {
		r, err := Replace(path, 4, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Commit([]byte(text)); err != nil {
			t.Fatal(err)
		}
		content(text)
	}
	r, err := Replace(path, 100, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Abandon(); err != nil {
		t.Error(err)
	}
	content("3")
	if _, err := Replace(filepath.Join(path, "f"), 1, 0o600); err == nil {
		t.Error("a file was made where none can be")
	}
}
