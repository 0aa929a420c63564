package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
)

func TestPortNamesFitAndDiffer(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ container, ifname, want string }{
		{"web", "eth0", "web-eth0"},
		{long, "eth0", "0123456789abcdef-eth0"},
		{long, "veth12345678901", "0123456789abcdef-veth12345678901"},
		{"a-container-of-a-long-name", "eth0", "6368c2fe2540ed22-eth0"},
	} {
		a := attachment{"cni", "net", c.container, c.ifname}
		got := a.port()
		if err := (config.Port{Name: got, Ifname: "x", Access: 1}).Validate(true); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
		if back, ok := attachmentOf(a.description()); !ok || back != a {
			t.Errorf("%+v, %v, want %+v", back, ok, a)
		}
	}
	one, other := attachment{container: "a-container-of-a-long-name-1"}, attachment{container: "a-container-of-a-long-name-2"}
	if one.port() == other.port() {
		t.Errorf("%s twice", one.port())
	}
}

func testAttachmentIsAddedCheckedAndRemoved(t *testing.T) {
	r := newRig(t)
	ns, path := container(t)
	_, otherPath := container(t)
	net := r.config("net", ipam, `"access": 10, "mtu": 1400, "capabilities": {"mac": true}, "runtimeConfig": {"mac": "02:00:00:00:00:01"}`)
	add := call{"ADD", "web", "eth0", path, "IgnoreUnknown=1;K8S_POD_NAME=x"}
	res := r.must(add, net)
	if len(res.Interfaces) != 1 || res.Interfaces[0].Mac != "02:00:00:00:00:01" || res.Interfaces[0].Sandbox != path || res.Interfaces[0].Mtu != 1400 ||
		len(res.IPs) != 1 || res.IPs[0].Address != "10.1.0.2/24" || res.IPs[0].Gateway != "10.1.0.1" || len(res.Routes) != 1 {
		t.Fatalf("result %s", res.text)
	}
	p, err := r.Port(t.Context(), "web-eth0")
	if err != nil || !p.Config.Ephemeral || p.Config.Access != 10 || p.Config.Description != "cni net web eth0" || p.MTU != 1400 {
		t.Errorf("%+v, %v", p, err)
	}
	if text := ip(t, path, "route"); !strings.Contains(text, "default via 10.1.0.1 dev eth0") {
		t.Errorf("routes: %s", text)
	}
	_, thirdPath := container(t)
	r.must(call{"ADD", "mac", "eth0", thirdPath, "IgnoreUnknown=1;MAC=02:00:00:00:00:02"}, r.config("net", `"access": 10`))
	if text := ip(t, thirdPath, "link"); !strings.Contains(text, "02:00:00:00:00:02") {
		t.Errorf("MAC address: %s", text)
	}
	r.must(call{"DEL", "mac", "eth0", thirdPath, ""}, r.config("net", `"access": 10`))
	db := r.must(call{"ADD", "db", "eth0", otherPath, ""}, r.config("net", ipam, `"access": 10`))
	if _, err := host(ns, "10.1.0.2/24").Ping(netip.MustParseAddr("10.1.0.3"), patience); err != nil {
		t.Error(err)
	}

	r.log()
	again := r.must(add, net)
	if again.Interfaces[0] != res.Interfaces[0] || again.IPs[0] != res.IPs[0] || again.Routes[0].Dst != "0.0.0.0/0" || r.log() != "" {
		t.Errorf("added again, the result is %s", again.text)
	}
	check := call{"CHECK", "web", "eth0", path, ""}
	withPrevious := r.config("net", ipam, `"access": 10, "prevResult": `+res.text)
	r.must(check, withPrevious)
	if log := r.log(); log != "CHECK web eth0" {
		t.Errorf("IPAM was told %q", log)
	}
	// A daemon that was killed leaves no container without address, route and MAC.
	r.stop()
	r.start()
	r.must(check, withPrevious)
	r.must(call{"CHECK", "db", "eth0", otherPath, ""}, r.config("net", ipam, `"access": 10, "prevResult": `+db.text))
	if _, err := host(ns, "10.1.0.2/24").Ping(netip.MustParseAddr("10.1.0.3"), patience); err != nil {
		t.Error(err)
	}
	ip(t, path, "route", "del", "default")
	r.refused(999, check, withPrevious, "network net: ", "the route to 0.0.0.0/0 by link eth0 is gone")
	ip(t, path, "address", "flush", "dev", "eth0")
	r.refused(999, check, withPrevious, "lacks the address 10.1.0.2/24")
	ip(t, path, "link", "set", "eth0", "address", "02:00:00:00:00:09")
	r.refused(999, check, withPrevious, "has the MAC address 02:00:00:00:00:09, and had")

	del := call{"DEL", "web", "eth0", path, ""}
	r.log()
	r.must(del, net)
	if text := ip(t, path, "-br", "link"); strings.Contains(text, "eth0") || r.ports() != "db-eth0" || r.log() != "DEL web eth0" {
		t.Errorf("removed, but %s, %s", text, r.ports())
	}
	r.refused(999, check, withPrevious, "is gone")
	r.must(del, net)
	r.must(call{"DEL", "db", "eth0", "", ""}, net)
	if r.ports() != "" {
		t.Errorf("without a namespace, %s is left", r.ports())
	}
}

func testAddIsAllOrNothing(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	add := call{"ADD", "web", "eth0", path, ""}
	for _, c := range []struct {
		code   int
		config string
		says   string
		log    string
	}{
		{7, r.config("net", `"acess": 10`), `"acess" is not a key that exists here; did you mean access?`, ""},
		{7, r.config("net", `"netns": "x"`), "netns: each port has its own", ""},
		{7, r.config("net", `"access": 5000`), "access: is 5000", ""},
		{100, r.config("net", ipam, `"access": 10, "trunk": 20`), "trunk: and access exclude each other", "ADD web eth0\nDEL web eth0"},
		{11, strings.Replace(r.config("net", `"access": 10`), r.dir, "/nonexistent", 1), "/nonexistent/s", ""},
		{7, r.config("net", `"access": 10, "prevResult": {"cniVersion": "1.1.0", "interfaces": []}`), "put it first", ""},
	} {
		r.refused(c.code, add, c.config, c.says, "network net")
		if log := r.log(); log != c.log || r.ports() != "" {
			t.Errorf("%s: IPAM was told %q; ports %s", c.says, log, r.ports())
		}
	}
	// No route by a gateway that is not there.
	if err := os.WriteFile(filepath.Join(r.dir, "addresses"), []byte("#!/bin/sh\necho $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME >>"+r.dir+"/ipam.log\n"+
		`[ $CNI_COMMAND != ADD ] || echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.2/24"}], "routes": [{"dst": "0.0.0.0/0", "gw": "10.9.0.1"}, {"dst": "10.7.0.0/16", "gw": "10.1.0.9"}, {"dst": "10.8.0.0/16", "gw": "10.9.0.1"}]}'`+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.refused(999, add, r.config("net", ipam, `"access": 10`), "add the route to 0.0.0.0/0 by 10.9.0.1")
	if log := r.log(); log != "ADD web eth0\nDEL web eth0" || r.ports() != "" {
		t.Errorf("IPAM was told %q; ports %s", log, r.ports())
	}
	if err := os.WriteFile(filepath.Join(r.dir, "addresses"), []byte("#!/bin/sh\necho '{\"code\": 100, \"msg\": \"no address is left\"}'; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.refused(100, add, r.config("net", ipam, `"access": 10`), "network net: ipam addresses: no address is left")
}

func testCollectRemovesWhatIsNotValid(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ network, container, ifname string }{{"a", "keep", "eth0"}, {"a", "keep", "eth1"}, {"a", "stale", "eth0"}, {"b", "other", "eth0"}} {
		_, path := container(t)
		r.must(call{"ADD", c.container, c.ifname, path, ""}, r.config(c.network, `"access": 10`))
	}
	if _, err := r.AddPort(t.Context(), config.Port{Name: "mine", Access: 10, Description: "cni a"}); err != nil {
		t.Fatal(err)
	}
	r.must(call{command: "GC"}, r.config("a", ipam, `"access": 10, "cni.dev/valid-attachments": [{"containerID": "keep", "ifname": "eth0"}]`))
	if got := r.ports(); got != "keep-eth0 mine other-eth0" {
		t.Errorf("left: %s", got)
	}
	if log := r.log(); log != "GC" {
		t.Errorf("IPAM was told %q", log)
	}
}

func testStatusIsTheDaemons(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	net := r.config("net", ipam, `"access": 10`)
	r.must(call{command: "STATUS"}, net)
	r.must(call{"ADD", "web", "eth0", path, ""}, net)
	r.stop()
	r.refused(50, call{command: "STATUS"}, net, "no vswitchd answers")
	r.refused(11, call{"ADD", "web", "eth1", path, ""}, net, "no vswitchd answers", "is vswitchd running?")
	r.log()
	r.must(call{"DEL", "web", "eth0", path, ""}, net)
	if log := r.log(); log != "DEL web eth0" {
		t.Errorf("IPAM was told %q", log)
	}
	if v := r.must(call{command: "VERSION"}, ""); !strings.Contains(v.text, `"1.1.0"`) {
		t.Errorf("version %s", v.text)
	}
}

func testFirstDefaultRouteStays(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	net := r.config("net", ipam, `"access": 10`)
	for _, ifname := range []string{"eth0", "eth1"} {
		r.must(call{"ADD", "web", ifname, path, ""}, net)
	}
	if text := ip(t, path, "route"); strings.Count(text, "default") != 1 || !strings.Contains(text, "default via 10.1.0.1 dev eth0") {
		t.Errorf("routes: %s", text)
	}
}

// A container whose id is used again has another namespace.
func testLeftoverOfAnotherNamespaceIsReplaced(t *testing.T) {
	r := newRig(t)
	_, before := container(t)
	_, now := container(t)
	net := r.config("net", ipam, `"access": 10`)
	r.must(call{"ADD", "web", "eth0", before, ""}, net)
	r.must(call{"ADD", "web", "eth0", now, ""}, net)
	if text := ip(t, now, "-br", "address", "show", "eth0"); !strings.Contains(text, "10.1.0.3/24") || r.log() != "ADD web eth0\nDEL web eth0\nADD web eth0" {
		t.Errorf("addresses: %s", text)
	}
	if _, err := r.SetPort(t.Context(), "web-eth0", map[string]any{"description": "somebody's"}); err != nil {
		t.Fatal(err)
	}
	r.refused(999, call{"ADD", "web", "eth0", now, ""}, net, "port web-eth0 is not this container's", `"somebody's"`)
	r.must(call{"DEL", "web", "eth0", now, ""}, net)
	if r.ports() != "web-eth0" {
		t.Error("somebody else's port was removed")
	}
}
