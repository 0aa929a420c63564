package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/control"
)

func TestWhyIsToldInWords(t *testing.T) {
	var told control.Why
	text := `{"groups":[
	{"port":"web","direction":"ingress","reason":"ingress_filter","frames":12,"text":"T.","because":"port web is no member of VLAN 20","origin":"/etc/v.yaml:7","fix":"vswitchctl port set web --trunk 10,20",
	 "sample":{"in":"web","stage":"ingress","vlan":20,"length":60,"frame":"ffffffffffff020000000001810000140806"}},
	{"port":"db","direction":"egress","reason":"queue_full","frames":3,"text":"The kernel had no room."}]}`
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	writeWhy(&b, &told, "", "")
	for _, words := range []string{
		"web: ingress_filter (ingress), 12 in the last minute\n  why:    port web is no member of VLAN 20\n  sample: in by web, 60 bytes, dropped at ingress: 02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff",
		"\n  set by: /etc/v.yaml:7\n  do:     vswitchctl port set web --trunk 10,20\ndb: queue_full (egress), 3 in the last minute\n  why:    The kernel had no room.\n",
	} {
		if !strings.Contains(b.String(), words) {
			t.Errorf("%s\nhas no %q", b.String(), words)
		}
	}
	b.Reset()
	writeWhy(&b, &control.Why{}, "oversize", "The frame is longer.")
	if !strings.HasPrefix(b.String(), "oversize: The frame is longer.\nNo such drops") {
		t.Error(b.String())
	}
}

// counted is an answer that ends what follows once it was given twice.
type counted struct {
	told control.Why
	left int
	end  context.CancelFunc
}

func (c *counted) MarshalJSON() ([]byte, error) {
	if c.left--; c.left == 0 {
		c.end()
	}
	return json.Marshal(&c.told)
}

func TestFollowedDropsAreToldOfOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := control.Why{Groups: []control.WhyGroup{{Port: "web", Reason: "oversize", Direction: "egress", Frames: 1, Last: time.Unix(9, 0)}}}
	d := newDaemon(t, map[string]any{"GET /v1/why?port=web": &counted{told, 3, cancel}})
	var out, errOut bytes.Buffer
	if code := run(ctx, []string{"--socket", d.socket, "why", "web", "-f"}, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
	if n := strings.Count(out.String(), "web: oversize (egress), 1 in the last minute"); n != 1 {
		t.Errorf("told of %d times:\n%s", n, out.String())
	}
}
