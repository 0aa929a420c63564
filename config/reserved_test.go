package config

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestReservedForms(t *testing.T) {
	cases := []struct {
		in   string
		want Reserved
		list string
	}{
		{`[]`, 0, `[]`},
		{`"stp"`, 1, `["stp"]`},
		{`14`, 1 << 14, `["lldp"]`},
		{`[0,1,2,3,14]`, 0x400f, `["stp","pause","lacp","eapol","lldp"]`},
		{`["01-80-c2-00-00-04","01:80:C2:00:00:0E","15"]`, 0xc010, `["01-80-c2-00-00-04","lldp","01-80-c2-00-00-0f"]`},
		{`"all"`, 0xffff, `["all"]`},
		{`["stp","all"]`, 0xffff, `["all"]`},
	}
	for _, c := range cases {
		var r Reserved
		if err := json.Unmarshal([]byte(c.in), &r); err != nil || r != c.want {
			t.Errorf("%s is %04x (%v), want %04x", c.in, uint16(r), err, uint16(c.want))
		}
		if list, err := json.Marshal(r); err != nil || string(list) != c.list {
			t.Errorf("%s is written %s (%v), want %s", c.in, list, err, c.list)
		}
	}
}

func TestReservedAsText(t *testing.T) {
	if got := Reserved(0x4011).String(); got != "stp,01-80-c2-00-00-04,lldp" {
		t.Errorf("got %s", got)
	}
}

func TestReservedRoundTrip(t *testing.T) {
	for mask := 0; mask <= 0xffff; mask += 0x11 {
		r := Reserved(mask)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again Reserved
		if err := json.Unmarshal(raw, &again); err != nil || again != r {
			t.Fatalf("%04x was written %s and read %04x (%v)", uint16(r), raw, uint16(again), err)
		}
	}
}

func TestReservedNamesTheBadValue(t *testing.T) {
	for _, bad := range []string{`"cdp"`, `""`, `"16"`, `"01-80-c2-00-00-10"`, `"STP"`} {
		var r Reserved
		if err := r.UnmarshalJSON([]byte(bad)); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got error %v", bad, err)
		}
	}
}

func TestReservedHas(t *testing.T) {
	r := Reserved(1<<0 | 1<<0xe)
	for low4 := range uint8(16) {
		if want := low4 == 0 || low4 == 0xe; r.Has(low4) != want {
			t.Errorf("Has(%#x) is %v", low4, !want)
		}
	}
}

func TestReservedIsLeftOutIfEmpty(t *testing.T) {
	if raw, err := json.Marshal(Port{Name: "a"}); err != nil || string(raw) != `{"name":"a"}` {
		t.Errorf("a port with defaults only is written %s, %v", raw, err)
	}
}

func TestGroupForms(t *testing.T) {
	for in, want := range map[string]Group{"true": 1, "false": 0, "0": 0, "255": 255} {
		g := Group(9)
		if err := json.Unmarshal([]byte(in), &g); err != nil || g != want {
			t.Errorf("%s is %d, %v", in, g, err)
		}
	}
	for _, bad := range []string{"256", "-1", `"1"`, "1.5", "[]"} {
		if g := Group(9); g.UnmarshalJSON([]byte(bad)) == nil || g != 9 {
			t.Errorf("%s was accepted as %d", bad, g)
		}
	}
}
