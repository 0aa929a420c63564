package config

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func port(t testing.TB, text string) Port {
	t.Helper()
	p, err := DecodePort([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatchedChangesOnlyTheKeysGiven(t *testing.T) {
	const trunk = `{"name":"a","mtu":9000,"trunk":[10,20],"native":5,"frame_types":"all","ingress_filtering":false}`
	cases := []struct{ name, old, patch, want string }{
		{"nothing", trunk, `{}`, trunk},
		{"null is the default", `{"name":"a","mtu":9000,"up":false,"limit":3}`, `{"mtu":null,"up":null}`, `{"name":"a","limit":3}`},
		{"flag", `{"name":"a","access":10}`, `{"flood":false,"isolated":true}`, `{"name":"a","access":10,"flood":false,"isolated":1}`},
		{"same name and kind", `{"name":"a"}`, `{"name":"a","kind":"tap"}`, `{"name":"a","kind":"tap"}`},
		{"access on trunk", trunk, `{"access":20}`, `{"name":"a","mtu":9000,"access":20}`},
		{"access on trunk with frame types", trunk, `{"access":20,"frame_types":"all"}`, `{"name":"a","mtu":9000,"access":20,"frame_types":"all"}`},
		{"native on trunk", trunk, `{"native":7}`, strings.Replace(trunk, `"native":5`, `"native":7`, 1)},
		{"no native on trunk", trunk, `{"native":null}`, strings.Replace(trunk, `"native":5,`, ``, 1)},
		{"trunk on trunk", trunk, `{"trunk":[30]}`, strings.Replace(trunk, `[10,20]`, `[30]`, 1)},
		{"trunk on access", `{"name":"a","access":10}`, `{"trunk":[30]}`, `{"name":"a","trunk":[30]}`},
		{"long on trunk", trunk, `{"untagged":[7],"pvid":7}`, `{"name":"a","mtu":9000,"pvid":7,"untagged":[7]}`},
		{"pvid on long", `{"name":"a","pvid":7,"untagged":[7],"tagged":[8]}`, `{"pvid":9}`, `{"name":"a","pvid":9,"untagged":[7],"tagged":[8]}`},
		{"access on long", `{"name":"a","pvid":7,"untagged":[7],"tagged":[8]}`, `{"access":9}`, `{"name":"a","access":9}`},
		{"access on none", `{"name":"a","frame_types":"all"}`, `{"access":9}`, `{"name":"a","access":9,"frame_types":"all"}`},
		{"frame types only", trunk, `{"frame_types":"tagged"}`, strings.Replace(trunk, `"all"`, `"tagged"`, 1)},
		{"null of another form", trunk, `{"access":null}`, trunk},
		{"list", `{"name":"a","ip":["192.0.2.1/24"]}`, `{"ip":[]}`, `{"name":"a"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			old := port(t, c.old)
			before, _ := json.Marshal(old)
			got, err := old.Patched([]byte(c.patch))
			if err != nil {
				t.Fatal(err)
			}
			gotJSON, _ := json.Marshal(got)
			wantJSON, _ := json.Marshal(port(t, c.want))
			if string(gotJSON) != string(wantJSON) {
				t.Errorf("got  %s\nwant %s", gotJSON, wantJSON)
			}
			if after, _ := json.Marshal(old); string(after) != string(before) {
				t.Errorf("the old port changed from %s to %s", before, after)
			}
		})
	}
}

func TestPatchedDoesNotWriteIntoTheOldPort(t *testing.T) {
	old := port(t, `{"name":"a","limit":3,"up":true,"mac":"02:00:00:00:00:01","ip":["192.0.2.1/24"],"trunk":[10,20]}`)
	limit, up, mac, ip, trunk := old.Limit, old.Up, old.MAC, old.IP, old.Trunk
	if _, err := old.Patched([]byte(`{"limit":4,"up":false,"mac":"02:00:00:00:00:02","ip":["192.0.2.2/24"],"trunk":[30]}`)); err != nil {
		t.Fatal(err)
	}
	if *limit != 3 || !*up || mac[5] != 1 || ip[0] != netip.MustParsePrefix("192.0.2.1/24") || trunk.String() != "10,20" {
		t.Errorf("the old port changed: %d %v %v %v %v", *limit, *up, mac, ip, trunk)
	}
}

func TestPatchedRefuses(t *testing.T) {
	cases := []struct {
		patch string
		paths []string
		text  string
	}{
		{`{"name":"b"}`, []string{"name"}, "cannot change"},
		{`{"name":null,"kind":"veth"}`, []string{"name", "kind"}, "cannot change"},
		{`{"acess":1}`, []string{"acess"}, "did you mean access?"},
		{`{"Access":1}`, []string{"Access"}, "did you mean access?"},
		{`{"mtu":"x","up":1,"access":0,"trunk":[0]}`, []string{"mtu", "up", "access", "trunk"}, `mtu: is "x" (after byte 6); write a whole number`},
		{`{"mtu":1500,"mtu":1501}`, []string{"mtu"}, "twice"},
		{`[]`, []string{""}, "not a JSON object at byte 1"},
		{``, []string{""}, "not a JSON object"},
		{`{"mtu":1500`, []string{""}, "broken at byte 11"},
		{`{"mtu":}`, []string{""}, "broken"},
		{`{"mtu":1500} {}`, []string{""}, "follows"},
		{`{"mtu":` + strings.Repeat("[", 20000), []string{""}, "broken"},
	}
	for _, c := range cases {
		_, err := Port{Name: "a"}.Patched([]byte(c.patch))
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("%.60s: got error %v", c.patch, err)
			continue
		}
		paths := []string{}
		for _, p := range ps {
			paths = append(paths, p.Path)
		}
		if !slices.Equal(paths, c.paths) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%.60s: got %v, want problems at %q with %q", c.patch, err, c.paths, c.text)
		}
	}
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte(`{"name":"a","trunk":[10,"20-29"]}`), []byte(`{"access":20,"up":null}`))
	f.Add([]byte(`{"name":"a","pvid":7,"untagged":7,"ip":["192.0.2.1/24"]}`), []byte(`{"native":5,"forward_reserved":["stp"]}`))
	f.Add([]byte(`{"name":"a","mac":"02:00:5e:10:00:01","isolated":true}`), []byte(`{"mtu":"x"}`))
	f.Fuzz(func(t *testing.T, old, patch []byte) {
		p, err := DecodePort(old)
		if err != nil {
			return
		}
		before, err := json.Marshal(p)
		if err != nil {
			t.Skip("a port that is not valid need not be writable")
		}
		got, err := p.Patched(patch)
		if after, _ := json.Marshal(p); string(after) != string(before) {
			t.Errorf("the old port changed from %s to %s", before, after)
		}
		if err != nil || got.Validate(true) != nil {
			return
		}
		again, err := got.Patched(patch)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("the same patch changed %+v into %+v, %v", got, again, err)
		}
		checkRoundTrip(t, &Config{VLANAware: new(true), Ports: []Port{got}})
	})
}
