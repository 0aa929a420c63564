package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// podman calls the plugin as netavark does.
func (r *rig) podman(in string, args ...string) (out string, ok bool) {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(programs, "vswitch-cni"), args...)
	cmd.Stdin = strings.NewReader(in)
	text, err := cmd.Output()
	return string(text), err == nil
}

func testNetavarkAttachesByItsOwnAPI(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	network := fmt.Sprintf(`{"name": "net", "id": "2f25", "driver": "vswitch", "network_interface": "", "internal": false, "dns_enabled": false,
		"subnets": [{"subnet": "10.2.0.0/16", "gateway": "10.2.0.1"}, {"subnet": "10.3.0.0/24"}], "ipam_options": {"driver": "host-local"},
		"options": {"socket": %q, "trunk": "10,20-21", "native": "1", "flood": "false"}}`, filepath.Join(r.dir, "s"))
	out, ok := r.podman(network, "create")
	var was, is any
	if err := json.Unmarshal([]byte(out), &is); !ok || err != nil {
		t.Fatalf("create: %v: %s", err, out)
	}
	_ = json.Unmarshal([]byte(network), &was)
	if fmt.Sprint(is) != fmt.Sprint(was) {
		t.Errorf("create has changed the network: %s", out)
	}
	id := strings.Repeat("752947ff91f961eb", 4)
	in := func(network string) string {
		return fmt.Sprintf(`{"container_id": %q, "container_name": "web", "port_mappings": null, "network": %s,
			"network_options": {"aliases": ["x"], "interface_name": "eth0", "static_ips": ["10.2.0.50", "10.3.0.50"], "static_mac": "aa:bb:cc:dd:aa:00"}}`, id, network)
	}
	out, ok = r.podman(in(network), "setup", path)
	if want := `{"interfaces":{"eth0":{"mac_address":"aa:bb:cc:dd:aa:00","subnets":[{"gateway":"10.2.0.1","ipnet":"10.2.0.50/16"},{"ipnet":"10.3.0.50/24"}]}}}` + "\n"; !ok || out != want {
		t.Fatalf("setup: %s, want %s", out, want)
	}
	p, err := r.Port(t.Context(), "752947ff91f961eb-eth0")
	if err != nil || !p.Config.Ephemeral || p.Config.Trunk.String() != "10,20-21" || p.Config.Native != 1 || *p.Config.Flood || p.Config.Description != "netavark net "+id+" eth0" {
		t.Errorf("%+v, %v", p, err)
	}
	if text := ip(t, path, "route"); !strings.Contains(text, "default via 10.2.0.1 dev eth0") {
		t.Errorf("routes: %s", text)
	}
	for range 2 {
		if out, ok = r.podman(in(network), "teardown", path); !ok || out != "" || r.ports() != "" {
			t.Errorf("teardown: %s, %s is left", out, r.ports())
		}
	}
	if out, ok = r.podman("", "info"); !ok || !strings.Contains(out, `"api_version":"1.0.0"`) {
		t.Errorf("info: %s", out)
	}
	for _, c := range []struct{ in, args, says string }{
		{strings.Replace(network, `"trunk"`, `"trnk"`, 1), "create", "network net: option trnk: "},
		{strings.Replace(network, `"trunk"`, `"ip"`, 1), "create", "option ip: each port has its own"},
		{in(strings.Replace(network, "10.2.0.0/16", "10.4.0.0/16", 1)), "setup " + path, "address 10.2.0.50 is in none of its subnets"},
		{in(strings.Replace(network, r.dir, "/nonexistent", 1)), "setup " + path, "network net: socket /nonexistent/s"},
		{in(network), "setup", "no subcommand"},
		{"", "nonsense", `no subcommand \"nonsense\"`},
	} {
		if out, ok := r.podman(c.in, strings.Fields(c.args)...); ok || !strings.HasPrefix(out, `{"error":"vswitch: `) || !strings.Contains(out, c.says) || r.ports() != "" {
			t.Errorf("%s: want %q: %s", c.args, c.says, out)
		}
	}
}
