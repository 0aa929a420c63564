package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestBadLabsAreRefusedWithPlaceAndFix(t *testing.T) {
	refused(t, "testdata/badlab/*.yaml", func(name string) error { _, err := ParseLab(name, read(t, name)); return err })
}

func TestLabIsReadWhole(t *testing.T) {
	l, err := ParseLab("test.yaml", []byte(`
switch:
  vlan_aware: true
  fdb: {static: [{mac: 02:00:00:00:00:01, vlan: 10, port: web}]}
hosts:
- name: web
  ip: [10.0.0.1/24]
  access: 10
  isolated: true
  impair: {loss: 0.5%, duplicate: 2, corrupt: "3 %", delay: 20ms, jitter: 5ms, seed: -7, for: 1m30s}
- {name: db, trunk: 10, mtu: 9000, ifname: up}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Lab{
		Switch: Config{VLANAware: new(true), FDB: l.Switch.FDB},
		Hosts: []Host{
			{
				Port: Port{Name: "web", IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}, Access: 10, Isolated: 1},
				Impair: Impair{
					Loss: 0.5, Duplicate: 2, Corrupt: 3, Delay: Duration(20 * time.Millisecond), Jitter: Duration(5 * time.Millisecond),
					Seed: -7, For: Duration(90 * time.Second),
				},
			},
			{Port: Port{Name: "db", Trunk: VIDsOf(10), MTU: 9000, Ifname: "up"}},
		},
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got  %+v\nwant %+v", l, want)
	}
	c := l.Config()
	if c.Ports[0].Ifname != HostIfname || c.Ports[1].Ifname != "up" || len(l.Switch.Ports) != 0 {
		t.Errorf("ports %+v", c.Ports)
	}
}

// A lab of many hosts has more keys that no daemon has than a stray file may.
func TestLabOfManyHostsIsRead(t *testing.T) {
	text := "switch: {vlan_aware: false}\nhosts:\n"
	for i := range 200 {
		text += "- {name: h" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + ", impair: {loss: 1, jitter: 1ms, for: 1s}}\n"
	}
	if _, err := ParseLab("test.yaml", []byte(text)); err != nil {
		t.Error(err)
	}
}
