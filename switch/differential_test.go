package vswitch

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

var (
	modelFrames = flag.Int("model.frames", 200_000, "how many frames to compare with the model")
	modelSeed   = flag.Uint64("model.seed", 0, "seed of the first comparison; 0 is a random one")
)

// burst sends a few frames as one batch and compares all that can be seen.
func (u *duel) burst() int {
	name := pick(u.dice, u.names...)
	w := u.s.ports[name].worker
	w.batch.N = 1 + u.dice(4)
	if u.one(16) {
		w.batch.N = frame.BatchSize
	}
	for i := range w.batch.N {
		f := u.frame()
		u.m.relay(name, f)
		w.batch.Frames[i] = frame.Frame{Bytes: f.Bytes, Offload: f.Offload}
	}
	w.relayBatch()
	for _, out := range u.names {
		p := u.m.ports[out]
		got := u.cables[out].Taken()
		if !slices.EqualFunc(got, p.sent, sameSent) {
			u.Errorf("port %s sent %s, the model %s", out, dumpSent(got), dumpSent(p.sent))
		}
		if got := u.s.ports[out].counters.load(); got != p.stats {
			u.Errorf("port %s counted %+v, the model %+v", out, got, p.stats)
		}
		p.sent = nil
	}
	if u.Failed() {
		for i := range w.batch.Live() {
			u.Logf("frame % x %+v", w.batch.Frames[i].Bytes[:min(40, len(w.batch.Frames[i].Bytes))], w.batch.Frames[i].Offload)
		}
		u.Fatalf("after %d frames, on port %s of a VLAN-aware (%v) switch with %+v", u.serial, name, u.m.aware, u.m.ports[name].config)
	}
	return w.batch.N
}

func sameSent(a, b porttest.Sent) bool {
	return a.Offload == b.Offload && bytes.Equal(a.Bytes, b.Bytes)
}

func dumpSent(sent []porttest.Sent) (s string) {
	for _, f := range sent {
		s += fmt.Sprintf("%s %+v", dump([][]byte{f.Bytes}), f.Offload)
	}
	return s
}

func (u *duel) compareFDB() {
	entries, err := u.s.FDB(FDBFilter{})
	u.must(err)
	want := map[FDBEntry]bool{}
	for k, e := range u.m.fdb {
		if u.m.expired(e) {
			continue
		}
		r := FDBEntry{MAC: k.mac, VID: k.vid, Port: e.port, Kind: e.kind}
		if e.kind == fdb.Dynamic {
			r.Age = u.m.now - e.heard
		}
		want[r] = true
	}
	got := map[FDBEntry]bool{}
	for _, e := range entries {
		got[e] = true
	}
	if !maps.Equal(got, want) || len(got) != len(entries) {
		u.Fatalf("the FDB holds %v, the model's %v", entries, want)
	}
	if u.s.Departed() != u.m.departed {
		u.Fatalf("departed ports counted %+v, the model %+v", u.s.Departed(), u.m.departed)
	}
}

// step is one change or one burst; it returns the number of frames.
func (u *duel) step() int {
	if u.one(12) {
		u.change()
		if u.one(8) {
			u.compareFDB()
		}
		return 0
	}
	return u.burst()
}

func TestRelayAgreesWithModel(t *testing.T) {
	const perSwitch = 5000
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for total := 0; total < *modelFrames; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			u := newDuel(t, rand.New(rand.NewPCG(seed, 0)).IntN)
			defer u.close()
			for n := 0; n < perSwitch; {
				n += u.step()
			}
			u.compareFDB()
			total += perSwitch
		})
		if t.Failed() {
			t.Fatalf("repeat with -run TestRelayAgreesWithModel -model.seed %d", seed)
		}
	}
}

func FuzzRelayAgainstModel(f *testing.F) {
	for seed := range uint64(8) {
		script := make([]byte, 1024)
		rng := rand.NewChaCha8([32]byte{byte(seed)})
		_, _ = rng.Read(script) // Never fails.
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		u := newDuel(t, func(n int) int {
			if len(script) == 0 {
				return 0
			}
			roll := int(script[0]) % n
			script = script[1:]
			return roll
		})
		defer u.close()
		for len(script) > 0 {
			u.step()
		}
		u.compareFDB()
	})
}
