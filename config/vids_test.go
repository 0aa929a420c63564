package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vswitchd/vswitchd/frame"
)

func TestVIDsForms(t *testing.T) {
	cases := []struct{ in, text, list string }{
		{`[]`, ``, `[]`},
		{`10`, `10`, `[10]`},
		{`"10"`, `10`, `[10]`},
		{`[10,"20-29"]`, `10,20-29`, `[10,"20-29"]`},
		{`"20 - 29, 10"`, `10,20-29`, `[10,"20-29"]`},
		{`[3,"1",2,"2-2"]`, `1-3`, `["1-3"]`},
		{`["1-4094",7]`, `1-4094`, `["1-4094"]`},
		{`["10-20","12-13",21]`, `10-21`, `["10-21"]`},
	}
	for _, c := range cases {
		var s VIDs
		if err := json.Unmarshal([]byte(c.in), &s); err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		list, err := json.Marshal(s)
		if err != nil || string(list) != c.list || s.String() != c.text {
			t.Errorf("%s is %q and %s (%v), want %q and %s", c.in, s, list, err, c.text, c.list)
		}
	}
}

func TestVIDsNameTheBadValue(t *testing.T) {
	for _, bad := range []string{"0", "4095", "70000", "29-20", "x", "", "-1", "1-", "-", "010", "+1", "1.5", "1-2-3", "0-5", "5-4095"} {
		_, err := ParseVIDs("10," + bad)
		if err == nil || !strings.Contains(err.Error(), quote(bad)) {
			t.Errorf("%q: got error %v", bad, err)
		}
	}
	for _, bad := range []string{`null`, `true`, `{}`, `[null]`, `[[1]]`, `[{}]`, `1.5`} {
		if s := VIDsOf(7); s.UnmarshalJSON([]byte(bad)) == nil || !s.Equal(VIDsOf(7)) {
			t.Errorf("%s was accepted as %v", bad, s)
		}
	}
}

// A set must be the same as a map of VIDs in all that can be asked of it.
func TestVIDsAgainstMap(t *testing.T) {
	vid := rapid.Map(rapid.Uint16Range(1, 4094), func(v uint16) frame.VID { return frame.VID(v) })
	some := rapid.SliceOfN(rapid.OneOf(vid, rapid.Map(rapid.Uint16Range(1, 12), func(v uint16) frame.VID { return frame.VID(v) })), 0, 30)
	model := func(lists ...[]frame.VID) []frame.VID {
		m := map[frame.VID]bool{}
		for _, v := range slices.Concat(lists...) {
			m[v] = true
		}
		return slices.Sorted(maps.Keys(m))
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := some.Draw(t, "a"), some.Draw(t, "b")
		s, u := VIDsOf(a...), VIDsOf(b...)
		want := model(a)
		if got := slices.Collect(s.All()); !slices.Equal(got, want) || s.Len() != len(want) {
			t.Fatalf("VIDsOf(%v) is %v with Len %d", a, got, s.Len())
		}
		if got := slices.Collect(s.Union(u).All()); !slices.Equal(got, model(a, b)) {
			t.Fatalf("union of %v and %v is %v", s, u, got)
		}
		both := slices.DeleteFunc(slices.Clone(want), func(v frame.VID) bool { return !slices.Contains(b, v) })
		if got := slices.Collect(s.intersect(u).All()); !slices.Equal(got, both) {
			t.Fatalf("%v and %v have %v in common", s, u, got)
		}
		if v := vid.Draw(t, "v"); s.Contains(v) != slices.Contains(a, v) {
			t.Fatalf("%v.Contains(%d) is wrong", s, v)
		}
		if s.Equal(u) != slices.Equal(want, model(b)) {
			t.Fatalf("%v.Equal(%v) is wrong", s, u)
		}
		if text, err := ParseVIDs(s.String()); len(s) > 0 && (err != nil || !text.Equal(s)) {
			t.Fatalf("%v was read back as %v, %v", s, text, err)
		}
	})
}
