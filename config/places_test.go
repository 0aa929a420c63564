package config

import "testing"

func TestPlacesAreTheLinesOfTheFile(t *testing.T) {
	got := Places([]byte(`vlan_aware: true
ports:
  - name: web
    access: 10

  - {name: db, mtu: 9000,
     isolated: 3}
`))
	for path, line := range map[string]int{
		"vlan_aware": 1, "ports[web]": 3, "ports[web].access": 4, "ports[db]": 6, "ports[db].mtu": 6, "ports[db].isolated": 7,
	} {
		if got[path] != line {
			t.Errorf("%s is in line %d, want %d", path, got[path], line)
		}
	}
	for _, text := range []string{"", "\xff", "a: [", "ports: 7"} {
		if n := Places([]byte(text))["ports[web]"]; n != 0 {
			t.Errorf("%q has a port in line %d", text, n)
		}
	}
}
