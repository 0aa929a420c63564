package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

func TestConfigurationsAreShownComparedAndApplied(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	for path, text := range map[string]string{
		good: "vlan_aware: true\nports: [{name: a, access: 20}]\n",
		bad:  "vlan_aware: true\nports:\n- {name: a, acess: 20}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := newDaemon(t, map[string]any{
		"GET /v1/config":                   config.Config{VLANAware: new(true), Ports: []config.Port{{Name: "a", Access: 10}}},
		"GET /v1/config?startup=1":         config.Config{VLANAware: new(true)},
		"POST /v1/config/apply":            control.ConfigChange{Changes: []string{"- x", "+ y"}},
		"POST /v1/config/apply?confirm=60": control.ConfigChange{Changes: []string{"- x"}, Confirm: 60},
		"POST /v1/config/confirm":          nil,
		"POST /v1/config/save":             control.Error{Code: control.CodeConflict, Message: "the daemon has no startup file"},
	})
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"config show", 0, "vlan_aware: true\nports:\n  - name: a\n    access: 10\n"},
		{"config show --startup", 0, "vlan_aware: true\n"},
		{"config show -o json", 0, `"vlan_aware": true`},
		{"config validate " + good, 0, good + ": valid, 1 ports\n"},
		{"config validate " + bad, exitUsage, "bad.yaml:3:"},
		{"config validate " + dir + "/absent", exitFailed, "no such file"},
		{"config diff", 0, "+ ports[a].access: 10\n+ ports[a].name: a\n"},
		{"config diff " + good, 0, "- ports[a].access: 10\n+ ports[a].access: 20\n"},
		{"config apply " + bad, exitUsage, "did you mean access?"},
		{"config apply " + good, 0, "- x\n+ y\n"},
		{"config apply " + good + " --confirm 1m", 0, "- x\non trial: vswitchctl config confirm within 1m0s, or what was before comes back\n"},
		{"config apply " + good + " --confirm 1ms", exitUsage, "whole seconds"},
		{"config confirm", 0, ""},
		{"config save", exitConflict, "no startup file"},
		{"config import lo", exitUsage, "import bridge \"lo\": no such bridge\n  name one of: ip -br link show type bridge\n"},
	} {
		code, out, errOut := d.ctl(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out+errOut, c.says) || code == 0 && !strings.Contains(c.args, "json") && out != c.says {
			t.Errorf("%s: exit %d:\n%s%swant %d and\n%s", c.args, code, out, errOut, c.code, c.says)
		}
	}
}
