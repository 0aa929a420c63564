package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

func TestPresetLocksThePortAndEntersTheVMInEachVLAN(t *testing.T) {
	entry := func(vlan string) string {
		return `{"mac":"52:54:00:00:00:07",` + vlan + `"port":"web","state":"static"}`
	}
	for args, want := range map[string][]string{
		"add web --trunk 10,20-21 --native 1": {`{"name":"web","trunk":[10,"20-21"],"native":1,"flood":false,"locked":true}`, entry(`"vlan":1,`), entry(`"vlan":10,`), entry(`"vlan":20,`), entry(`"vlan":21,`)},
		"set web":                             {`{"flood":false,"locked":true}`, entry(`"vlan":1,`), entry(`"vlan":10,`), entry(`"vlan":20,`), entry(`"vlan":21,`)},
	} {
		answers := samples()
		answers["POST /v1/fdb"] = control.FDBEntry{}
		d := newDaemon(t, answers)
		code, _, errOut := d.ctl(t, append([]string{"port"}, strings.Fields(args+" --preset vm --vm-mac 52:54:00:00:00:07")...)...)
		if code != 0 || !slices.Equal(d.bodies, want) {
			t.Errorf("port %s: exit %d: %s sent %q, want %q", args, code, errOut, d.bodies, want)
		}
	}
}

func TestPresetOfASwitchWithoutVLANsEntersTheVMOnce(t *testing.T) {
	answers := samples()
	answers["POST /v1/fdb"] = control.FDBEntry{}
	answers["POST /v1/ports"] = portNamed("web", config.Port{})
	d := newDaemon(t, answers)
	code, _, errOut := d.ctl(t, "port", "add", "web", "--preset", "vm", "--vm-mac", "52:54:00:00:00:07", "--flood", "on")
	want := []string{`{"name":"web","flood":true,"locked":true}`, `{"mac":"52:54:00:00:00:07","port":"web","state":"static"}`}
	if code != 0 || !slices.Equal(d.bodies, want) {
		t.Errorf("exit %d: %s sent %q, want %q", code, errOut, d.bodies, want)
	}
}

func TestPresetSaysThatThePortIsLockedIfTheVMIsRefused(t *testing.T) {
	answers := samples()
	answers["POST /v1/fdb"] = control.Error{Code: control.CodeConflict, Message: "the FDB is full", Fix: "raise it"}
	code, _, errOut := newDaemon(t, answers).ctl(t, "port", "set", "web", "--preset", "vm", "--vm-mac", "52:54:00:00:00:07")
	if code != exitConflict || !strings.Contains(errOut, `port "web" is locked, but 52:54:00:00:00:07 cannot be admitted: the FDB is full`) || !strings.Contains(errOut, "raise it") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}
