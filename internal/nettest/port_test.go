package nettest

import (
	"testing"

	"github.com/vswitchd/vswitchd/config"
)

func TestPortHasTheKeysThatItLeavesOpen(t *testing.T) {
	t.Setenv("VSWITCH_TEST_PORT", `{"offload": false, "coalesce": false}`)
	p := Port(t, config.Port{Name: "a", Access: 10, Coalesce: new(true)})
	if p.Name != "a" || p.Access != 10 || p.Offload == nil || *p.Offload || !*p.Coalesce {
		t.Errorf("%+v", p)
	}
	if p := Port(t, config.Port{Name: "vm", Kind: config.KindStream}); p.Offload != nil {
		t.Errorf("a stream has no offload, but %+v", p)
	}
}
