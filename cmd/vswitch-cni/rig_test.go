package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// programs is the directory of vswitchd and vswitch-cni while TestPlugin runs.
var programs string

// TestPlugin has the plugin, as it is built, talk to a daemon.
func TestPlugin(t *testing.T) {
	nettest.Need(t)
	programs = t.TempDir()
	out, err := exec.Command("go", "build", "-o", programs, "github.com/vswitchd/vswitchd/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("AttachmentIsAddedCheckedAndRemoved", testAttachmentIsAddedCheckedAndRemoved)
	t.Run("WrongCallsAreRefusedWithCNIsCodes", testWrongCallsAreRefusedWithCNIsCodes)
	t.Run("WhatAddRefusesCanBeDeleted", testWhatAddRefusesCanBeDeleted)
	t.Run("AddIsAllOrNothing", testAddIsAllOrNothing)
	t.Run("FirstDefaultRouteStays", testFirstDefaultRouteStays)
	t.Run("CollectRemovesWhatIsNotValid", testCollectRemovesWhatIsNotValid)
	t.Run("StatusIsTheDaemons", testStatusIsTheDaemons)
	t.Run("LeftoverOfAnotherNamespaceIsReplaced", testLeftoverOfAnotherNamespaceIsReplaced)
	t.Run("NetavarkAttachesByItsOwnAPI", testNetavarkAttachesByItsOwnAPI)
}

// rig is a daemon as it is built, the plugin, and an IPAM plugin that gives out
// 10.1.0.2/24 and up and logs what it is told.
type rig struct {
	t *testing.T
	*control.Client
	dir    string
	daemon *exec.Cmd
}

const patience = 30 * time.Second

func newRig(t *testing.T) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw") // The path of a socket is short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, Client: control.NewClient(filepath.Join(dir, "s"))}
	ipam := `#!/bin/sh
cat >/dev/null
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >>` + dir + `/ipam.log
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.1.0.'$(($(grep -c ADD ` + dir + `/ipam.log) + 1))'/24", "gateway": "10.1.0.1"}], "routes": [{"dst": "0.0.0.0/0"}]}'
`
	if err := os.WriteFile(filepath.Join(dir, "addresses"), []byte(ipam), 0o755); err != nil {
		t.Fatal(err)
	}
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	r.daemon = exec.Command(filepath.Join(programs, "vswitchd"), "--vlan-aware=true", "--metrics-listen=none", "--socket", filepath.Join(r.dir, "s"))
	r.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.daemon.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.stop)
	r.eventually(func() error { _, err := r.Status(r.t.Context()); return err })
}

func (r *rig) stop() {
	_ = r.daemon.Process.Kill()
	_ = r.daemon.Wait()
}

func (r *rig) eventually(f func() error) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
	}
}

// config is a network's configuration with more keys, such as `"access": 10`.
func (r *rig) config(name string, more ...string) string {
	return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "type": "vswitch", "socket": %q%s}`,
		name, filepath.Join(r.dir, "s"), strings.Join(append([]string{""}, more...), ", "))
}

const ipam = `"ipam": {"type": "addresses"}`

// call is one call of the plugin.
type call struct{ command, container, ifname, netns, args string }

// result is the part of a result, or an error, that is looked at.
type result struct {
	Interfaces []struct {
		Name, Mac, Sandbox string
		Mtu                int
	}
	IPs []struct {
		Address, Gateway string
		Interface        int
	}
	Routes []struct{ Dst, Gw string }

	Code         int
	Msg, Details string

	text string
}

func (r *rig) call(c call, config string) result {
	r.t.Helper()
	cmd := exec.Command(filepath.Join(programs, "vswitch-cni"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+c.command, "CNI_CONTAINERID="+c.container, "CNI_IFNAME="+c.ifname,
		"CNI_NETNS="+c.netns, "CNI_ARGS="+c.args, "CNI_PATH="+r.dir)
	cmd.Stdin = strings.NewReader(config)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	res := result{text: out.String() + complaint.String()}
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &res); err != nil {
			r.t.Fatalf("%s: %v: %s", c.command, err, res.text)
		}
	}
	if (err != nil) != (res.Code != 0) {
		r.t.Fatalf("%s: %v: %s", c.command, err, res.text)
	}
	return res
}

// must is call for what has to succeed.
func (r *rig) must(c call, config string) result {
	r.t.Helper()
	res := r.call(c, config)
	if res.Code != 0 {
		r.t.Fatalf("%s: %s", c.command, res.text)
	}
	return res
}

// refused is call for what has to fail, and say so.
func (r *rig) refused(code int, c call, config string, says ...string) {
	r.t.Helper()
	res := r.call(c, config)
	for _, part := range says {
		if res.Code != code || !strings.Contains(res.Msg+res.Details, part) {
			r.t.Errorf("%s: want %d and %q: %s", c.command, code, part, res.text)
		}
	}
}

// log returns what the IPAM plugin was told since the last time.
func (r *rig) log() string {
	text, _ := os.ReadFile(filepath.Join(r.dir, "ipam.log"))
	seen, _ := os.ReadFile(filepath.Join(r.dir, "ipam.seen"))
	_ = os.WriteFile(filepath.Join(r.dir, "ipam.seen"), text, 0o600)
	return strings.TrimSpace(string(text[len(seen):]))
}

// ports are the names of the ports.
func (r *rig) ports() string {
	r.t.Helper()
	all, err := r.Ports(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// container is a network namespace, and its path for the plugin: that of a
// thread, as that of a descriptor of this process is hidden from the daemon.
func container(t *testing.T) (*netns.NS, string) {
	t.Helper()
	ns := nettest.New(t)
	return ns, "/proc/" + ns.PID() + "/ns/net"
}

func host(ns *netns.NS, addr string) *lab.Host {
	return &lab.Host{Name: addr, NS: ns, Interface: "eth0", Addr: netip.MustParsePrefix(addr)}
}

// ip runs ip(8) in a namespace.
func ip(t *testing.T, netns string, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + netns, "ip"}, args...)...).CombinedOutput()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	return string(out)
}
