package control

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func station(n byte) frame.MAC { return frame.MAC{2, 0, 0, 0, 0, n} }

// framed makes a frame of n bytes; rest follows the addresses.
func framed(n int, dst, src frame.MAC, rest ...byte) FrameBytes {
	b := slices.Concat(dst[:], src[:], rest)
	return append(b, make([]byte, max(0, n-len(b)))...)
}

// broken are set-ups in which something does not get through, each with what
// trace has to say about it: the cause, and what ends it.
var broken = map[string]struct {
	breaks func(r *rig)
	in     string
	frame  FrameBytes
	reason string
	says   []string
}{
	"wrong VLAN": {
		func(r *rig) { r.set("b", func(c *config.Port) { c.Access = 20 }); r.hear(r.b, station(2)) },
		"a", framed(60, station(2), station(1)), "no_member",
		[]string{"02:00:00:00:00:02 is a station at b in VLAN 20", "port set a --access 20"},
	},
	"wrong VLAN of a tag": {
		func(r *rig) {
			r.set("a", func(c *config.Port) { c.Access, c.Trunk = 0, config.VIDsOf(10, 11) })
		},
		"a", framed(60, station(2), station(1), 0x81, 0, 0, 20, 8, 0), "ingress_filter",
		[]string{"port a is no member of VLAN 20", "it is of VLAN 10-11", "port set a --trunk 10-11,20"},
	},
	"MTU mismatch": {
		func(r *rig) { r.hear(r.b, station(2)) },
		"a", framed(9014, station(2), station(1)), "oversize",
		[]string{"needs an MTU of 9000", "link of port b has 1500", "port set b --mtu 9000"},
	},
	"isolated port": {
		func(r *rig) {
			r.hear(r.b, station(2))
			r.set("a", func(c *config.Port) { c.Isolated = 3 })
			r.set("b", func(c *config.Port) { c.Isolated = 3 })
		},
		"a", framed(60, station(2), station(1)), "isolated",
		[]string{"a and b are both in isolation group 3", "port set b --isolated off"},
	},
	"isolated port, flooded": {
		func(r *rig) {
			r.set("a", func(c *config.Port) { c.Isolated = 3 })
			r.set("b", func(c *config.Port) { c.Isolated = 3 })
		},
		"a", framed(60, frame.Broadcast, station(1)), "isolated",
		[]string{"a is in isolation group 3, and so is every other forwarding member of VLAN 10", "port set a --isolated off"},
	},
	"MAC limit": {
		func(r *rig) {
			r.set("a", func(c *config.Port) { c.Limit = new(1) })
			r.hear(r.a, station(7))
			r.hear(r.b, station(2))
		},
		"a", framed(60, station(2), station(1)), "",
		[]string{"delivered to b untagged, but 02:00:00:00:00:01 is not learned: port a is at its limit of 1 addresses", "port set a --limit"},
	},
	"static MAC spoofed": {
		func(r *rig) { r.fixed(station(1), "b") },
		"a", framed(60, frame.Broadcast, station(1)), "",
		[]string{"but 02:00:00:00:00:01 is a static entry of b in VLAN 10: answers do not come here", "fdb add 02:00:00:00:00:01 --port a --vlan 10"},
	},
	"static MAC spoofed at a locked port": {
		func(r *rig) {
			r.fixed(station(1), "b")
			r.set("a", func(c *config.Port) { c.Locked = true })
		},
		"a", framed(60, frame.Broadcast, station(1)), "locked",
		[]string{"port a is locked", "02:00:00:00:00:01 is not a static entry of it but a static entry of b", "forged"},
	},
	"unknown destination with flooding off": {
		func(r *rig) { r.set("b", func(c *config.Port) { c.Flood = new(false) }) },
		"a", framed(60, station(2), station(1)), "flood_off",
		[]string{"02:00:00:00:00:02 is not known in VLAN 10", "flooding of unknown unicast is off", "fdb add 02:00:00:00:00:02 --port PORT --vlan 10", "--flood on"},
	},
	"double tag": {
		func(r *rig) {
			r.set("a", func(c *config.Port) { c.Access, c.Trunk = 0, config.VIDsOf(10) })
			r.set("b", func(c *config.Port) { c.Access, c.Trunk, c.Native = 0, config.VIDsOf(20), 10 })
		},
		"a", framed(60, frame.Broadcast, station(1), 0x81, 0, 0, 10, 0x81, 0, 0, 20, 8, 0), "inner_tag",
		[]string{"second C-TAG", "port b", "sends VLAN 10 untagged", "send with one tag"},
	},
	"double tag on an access port": {
		func(*rig) {},
		"a", framed(60, frame.Broadcast, station(1), 0x81, 0, 0, 10, 0x81, 0, 0, 20, 8, 0), "frame_type",
		[]string{"port a takes no tagged frames", "VLAN 10"},
	},
	"link down": {
		func(r *rig) { r.plug("c", port.Link{Ifname: "tap-c", MTU: 1500}) },
		"c", framed(60, frame.Broadcast, station(1)), "ingress_state",
		[]string{"the link of port c is down", "ip link set tap-c up"},
	},
	"link of the destination down": {
		func(r *rig) {
			r.plug("c", port.Link{Ifname: "tap-c", MTU: 1500, AdminUp: true})
			r.fixed(station(3), "c")
		},
		"a", framed(60, station(3), station(1)), "egress_state",
		[]string{"the link of port c is down: tap-c has no carrier", "port show c"},
	},
	"link of the only other member down": {
		func(r *rig) {
			r.set("b", func(c *config.Port) { c.Access = 20 })
			r.plug("c", port.Link{Ifname: "tap-c", MTU: 1500})
		},
		"a", framed(60, station(3), station(1)), "no_member",
		[]string{"no other forwarding port is a member of VLAN 10; the link of port c is down"},
	},
}

func (r *rig) set(name string, change func(*config.Port)) {
	r.t.Helper()
	if err := r.sw.Set(name, func(c config.Port) (config.Port, error) { change(&c); return c, nil }); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) plug(name string, link port.Link) {
	r.t.Helper()
	r.c = porttest.NewCable(1)
	if err := r.sw.Attach(config.Port{Name: name, Access: 10}, r.c, link); err != nil {
		r.t.Fatal(err)
	}
}

// fixed makes a static entry in VLAN 10.
func (r *rig) fixed(mac frame.MAC, name string) {
	r.t.Helper()
	if err := r.sw.AddFDB(mac, 10, name); err != nil {
		r.t.Fatal(err)
	}
}

// hear has a station send, and waits until the FDB knows it.
func (r *rig) hear(from *porttest.Cable, mac frame.MAC) {
	r.t.Helper()
	from.Send(framed(60, frame.Broadcast, mac))
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if e, err := r.sw.FDB(vswitch.FDBFilter{MAC: &mac}); err == nil && len(e) == 1 {
			return
		}
	}
	r.t.Fatalf("%v is not learned", mac)
}

func TestTraceNamesTheCause(t *testing.T) {
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b.breaks(r)
			got, err := r.Trace(t.Context(), TraceRequest{In: b.in, Frame: b.frame})
			if err != nil {
				t.Fatal(err)
			}
			if got.Reason != b.reason || got.Delivered != (b.reason == "") {
				t.Errorf("delivered %v, dropped for %q, want %q: %s", got.Delivered, got.Reason, b.reason, got.Verdict)
			}
			for _, words := range b.says {
				if !strings.Contains(got.Verdict+"; "+got.Fix, words) {
					t.Errorf("%s; %s\ndoes not say %q", got.Verdict, got.Fix, words)
				}
			}
			if strings.Contains(got.Verdict, "dropped") && !strings.Contains(got.Verdict, got.Reason) {
				t.Errorf("%q does not name %s", got.Verdict, got.Reason)
			}
			if strings.Contains(r.log.String(), "changed") {
				t.Errorf("logged as a change: %s", r.log)
			}
		})
	}
}

// The configuration in the request is asked with the links and stations of the
// running switch, which stays as it is.
func TestTraceOfACandidate(t *testing.T) {
	r := newRig(t)
	r.hear(r.b, station(2))
	next := must(r.Running(t.Context()))(t)
	next.Ports[1].State = config.StateDiscarding
	ask := TraceRequest{In: "a", Frame: framed(60, station(2), station(1)), Config: next}
	if got := must(r.Trace(t.Context(), ask))(t); got.Reason != "no_member" || !strings.Contains(got.Verdict, "port b is in state discarding") {
		t.Errorf("the candidate: %+v", got)
	}
	ask.Config = nil
	if got := must(r.Trace(t.Context(), ask))(t); got.Verdict != "delivered to b untagged" || got.VLAN != 10 || len(got.Steps) != 4 {
		t.Errorf("what is running: %+v", got)
	}
	// Without a daemon nothing has been learned.
	ask.Config = next
	ask.Config.Ports[1].State = ""
	if got := must(ask.Evaluate())(t); got.Verdict != "flooded to b untagged" || got.Learning != "learned" {
		t.Errorf("without a daemon: %+v", got)
	}
	ask.In = "bb"
	_, err := ask.Evaluate()
	wantCode(t, err, CodeNotFound, `port "bb"`, "did you mean b?")
}

func TestWrongTraceIsRefused(t *testing.T) {
	r := newRig(t)
	for body, words := range map[string]string{
		``:                                      "not a JSON object",
		`{"frame":"00"}`:                        "in: the key is missing",
		`{"in":"a"}`:                            "frame: the key is missing",
		`{"in":"a","frame":"0g"}`:               "hexadecimal",
		`{"in":"a","frame":"000"}`:              "hexadecimal",
		`{"in":"a","frame":[1]}`:                "frame",
		`{"in":"a","frame":"00","port":"b"}`:    "the keys are config, frame, in",
		`{"in":"a","frame":"00","config":{}}`:   "vlan_aware",
		`{"in":"a","frame":"00","config":"17"}`: "config",
		`{"in":"a","frame":"` + strings.Repeat("00", frame.MaxTaggedLen+1) + `"}`: "are no frame",
	} {
		if status, answer := r.ask("POST", "/v1/trace", body); status != 400 || !strings.Contains(answer, words) {
			t.Errorf("%.60s: %d %s, want %q", body, status, answer, words)
		}
	}
	if status, answer := r.ask("POST", "/v1/trace", `{"in":"ab","frame":"00"}`); status != 404 || !strings.Contains(answer, "did you mean a?") {
		t.Errorf("no such port: %d %s", status, answer)
	}
	if status, _ := r.ask("GET", "/v1/trace", ""); status != 405 {
		t.Errorf("GET: %d", status)
	}
}

// FuzzTrace asks with bodies as a hostile client makes them: what is not refused
// has a verdict, and nothing is learned, counted or sent.
func FuzzTrace(f *testing.F) {
	for _, b := range broken {
		text, _ := b.frame.MarshalText()
		f.Add([]byte(`{"in":"` + b.in + `","frame":"` + string(text) + `"}`))
	}
	f.Add([]byte(`{"in":"a","frame":"ffffffffffff0200000000018100000a0800","config":{"vlan_aware":true,"ports":[{"name":"a","trunk":[10]},{"name":"x","access":10}],` +
		`"fdb":{"static":[{"mac":"02:00:00:00:00:02","vlan":10,"port":"x"}]}}}`))
	a, b := porttest.NewCable(16), porttest.NewCable(16)
	sw := newSwitch(f, map[string]*porttest.Cable{"a": a, "b": b})
	s := &Server{sw: sw}
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, err := s.trace(nil, bytes.Clone(body))
		if err != nil {
			if errorOf(err).Code == CodeFailed {
				t.Fatalf("failed: %v", err)
			}
			return
		}
		if got := answer.(*Trace); got.Verdict == "" || len(got.Steps) == 0 || got.Delivered != (got.Reason == "") {
			t.Fatalf("%+v", got)
		}
		if st, _ := sw.FDBStats(); st.Dynamic+st.Static+st.Blackhole != 0 || len(a.Taken())+len(b.Taken()) != 0 {
			t.Fatalf("something was done: %+v", st)
		}
	})
}
