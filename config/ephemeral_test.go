package config

import (
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/frame"
)

func TestEphemeralPortsAreNobodysConfiguration(t *testing.T) {
	sta := func(n byte) frame.MAC { return frame.MAC{2, 0, 0, 0, 0, n} }
	running := &Config{
		VLANAware: new(true),
		Ports: []Port{
			{Name: "host", Access: 10},
			{Name: "web", Access: 10, Netns: "web", Ephemeral: true},
			{Name: "db", Access: 10, Netns: "db", Ephemeral: true},
		},
		FDB: FDB{Static: []StaticEntry{{MAC: sta(1), VLAN: 10, Port: "host"}, {MAC: sta(2), VLAN: 10, Port: "web"}, {MAC: sta(3), VLAN: 10, Blackhole: true}, {MAC: sta(4), VLAN: 10, Port: "web"}}},
	}
	saved := running.WithoutEphemeral()
	if len(saved.Ports) != 1 || len(saved.FDB.Static) != 2 || len(running.Ports) != 3 || len(running.FDB.Static) != 4 || saved.Validate() != nil {
		t.Errorf("%+v of %+v", saved, running)
	}
	if d := Diff(saved, running); len(d) > 0 {
		t.Errorf("differs:\n%s", strings.Join(d, "\n"))
	}

	next := &Config{VLANAware: new(true), Ports: []Port{{Name: "db", Access: 20}}, FDB: FDB{Static: []StaticEntry{{MAC: sta(4), VLAN: 10, Blackhole: true}}}}
	both := next.WithEphemeral(running)
	if err := both.Validate(); err != nil || len(both.Ports) != 2 || both.Ports[0].Access != 20 || both.Ports[1].Name != "web" {
		t.Errorf("%v: %+v", err, both)
	}
	if e := both.FDB.Static; len(e) != 2 || e[0].MAC != sta(4) || e[1].MAC != sta(2) || len(next.FDB.Static) != 1 {
		t.Errorf("%+v", e)
	}
	if next.WithEphemeral(saved) != next {
		t.Error("without ephemeral ports it is another")
	}
}
