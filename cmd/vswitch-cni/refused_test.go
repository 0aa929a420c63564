package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	vport "github.com/vswitchd/vswitchd/port"
)

func testWrongCallsAreRefusedWithCNIsCodes(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	fifo, file := filepath.Join(r.dir, "fifo"), filepath.Join(r.dir, "addresses")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	net := r.config("net", `"access": 10`)
	add := func(container, ifname, netns, args string) call { return call{"ADD", container, ifname, netns, args} }
	good := add("web", "eth0", path, "")
	for _, c := range []struct {
		code int
		call
		config, says string
	}{
		{6, good, `garbage`, "invalid character"},
		{6, good, ``, "unexpected end"},
		{6, good, `[]`, "cannot unmarshal array"},
		{6, good, `{"cniVersion": "1.1.0", "name": "net", "type": "vswitch", "socket": 5}`, "socket"},
		{1, good, strings.Replace(net, "1.1.0", "9.9.9", 1), "incompatible"},
		{7, good, strings.Replace(net, `"net"`, `"a;$(id)"`, 1), "network name"},
		{7, good, r.config("net", `"acess": 10`), "did you mean access?"},
		{999, good, r.config("net", `"access": 10, "ipam": {"type": "../../../bin/sh"}`), "invalid plugin name"},
		{4, add("x;$(id)", "eth0", path, ""), net, "containerID"},
		{4, add("web", "a/../b", path, ""), net, "interface name"},
		{4, add("web", "eth0", "", ""), net, "CNI_NETNS"},
		{4, add("web", "eth0", fifo, ""), net, "is not a network namespace"},
		{4, add("web", "eth0", file, ""), net, "CNI_NETNS"},
		{3, add("web", "eth0", "/nonexistent", ""), net, "/nonexistent"},
		{8, add("web", "eth0", "/proc/self/ns/net", ""), net, "the host's"},
		{100, add("web", "lo", path, ""), net, "a link named lo exists already"},
		{7, add("web", "eth0", path, "MAC=zz"), net, "not a MAC address"},
		{7, add("web", "eth0", path, "bogus"), net, "CNI_ARGS"},
		{7, call{"CHECK", "web", "eth0", path, ""}, net, "prevResult is missing"},
		{50, call{command: "STATUS"}, r.config("net", `"access": 10, "ipam": {"type": "nosuch"}`), "nosuch"},
		{4, call{command: "NOSUCH"}, net, "NOSUCH"},
	} {
		r.refused(c.code, c.call, c.config, c.says)
		if res := r.call(c.call, c.config); res.Details != "" && strings.Contains(res.Msg, res.Details) {
			t.Errorf("said twice: %s", res.text)
		}
		if r.ports() != "" {
			t.Fatalf("%v leaves %s", c.call, r.ports())
		}
	}
	if text := ip(t, path, "-br", "link"); strings.Contains(text, "eth0") {
		t.Errorf("links: %s", text)
	}
}

// A runtime calls DEL where ADD has failed, and tries until it succeeds.
func testWhatAddRefusesCanBeDeleted(t *testing.T) {
	r := newRig(t)
	_, path := container(t)
	wrong := r.config("net", ipam, `"acess": 10`)
	r.refused(7, call{"ADD", "web", "eth0", path, ""}, wrong, "acess")
	r.must(call{"DEL", "web", "eth0", path, ""}, wrong)
	r.must(call{"DEL", "web", "eth0", "/nonexistent", ""}, wrong)
	if log := r.log(); log != "DEL web eth0\nDEL web eth0" {
		t.Errorf("IPAM was told %q", log)
	}
	r.must(call{command: "GC"}, r.config("net", `"acess": 10, "cni.dev/valid-attachments": []`))
}

// After DEL without a daemon another process may have the pid when one is started.
func TestPathOfAProcessIsNotThatOfALaterOne(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	want, err := vport.PinProcess(os.Getpid())
	if got := pinned("/proc/" + self + "/ns/net"); err != nil || got != want {
		t.Errorf("%s, want %s: %v", got, want, err)
	}
	for _, path := range []string{"/run/netns/x", "/proc/self/ns/net", "/proc/" + self + "/task/1/ns/net", "/proc/2147483647/ns/net", "/proc/99999999999999999999/ns/net"} {
		if got := pinned(path); got != path {
			t.Errorf("%s: %s", path, got)
		}
	}
}
