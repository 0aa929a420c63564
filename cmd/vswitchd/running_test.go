package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

func (b *bench) client() *control.Client { return control.NewClient(b.socket()) }

// running returns the running configuration as a file has it.
func (b *bench) running() string {
	b.t.Helper()
	c, err := b.client().Running(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// kept is what a daemon after a kill begins with.
func (b *bench) kept() string {
	b.t.Helper()
	text, err := os.ReadFile(b.socket() + ".running")
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func (b *bench) write(yaml string) {
	b.t.Helper()
	if err := os.WriteFile(b.file, []byte(yaml), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// kill ends the daemon without its doing.
func (d *daemon) kill() {
	d.t.Helper()
	if err := d.cmd.Process.Kill(); err != nil {
		d.t.Fatal(err)
	}
	<-d.rest
	_ = d.cmd.Wait()
}

func index(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

func testAcknowledgedChangesSurviveAKill(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	for _, args := range []string{
		"port add p3 --access 20 --mtu 1400", "port del p1", "port set p2 --flood off",
		"fdb add 02:00:00:00:00:01 --vlan 20 --port p3", "fdb add 02:00:00:00:00:02 --vlan 10 --blackhole", "fdb set --ageing 60",
	} {
		b.ctl(strings.Fields(args)...)
		d.kill()
		d = b.start()
	}
	want := b.running()
	for _, part := range []string{"ageing: 60", "name: p3", "mtu: 1400", "flood: false", "blackhole: true", "port: p3"} {
		if !strings.Contains(want, part) || strings.Contains(want, "name: p1") {
			t.Errorf("lacks %q or has p1:\n%s", part, want)
		}
	}
	d.stop()
	d = b.start()
	if got := b.running(); got != want {
		t.Errorf("after an orderly end:\n%s\nwant\n%s", got, want)
	}
	if fdb := b.ctl("fdb", "list"); !strings.Contains(fdb, "blackhole") || !strings.Contains(fdb, "p3") {
		t.Errorf("the FDB lacks its static entries:\n%s", fdb)
	}
	d.stop()
}

func testChangedStartupFileWins(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	b.ctl("port", "add", "p3", "--access", "20", "--mtu", "1400")
	b.ctl("port", "del", "p1")
	d.kill()
	b.write(twoPorts + "- name: p4\nmetrics: {listen: none}\n")
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), "startup file changed", `change="+ ports[p3].mtu: 1400"`, `change="+ ports[p3].access: 20"`, `change="- ports[p1].name: p1"`)
	if got := links(t); got != "p1 p2 p4" {
		t.Errorf("links: %s", got)
	}
	d.kill()
	b.start().stop() // It is the file's that goes on now.
}

func testChangeThatCannotBeKeptIsRefused(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	before, p1 := b.running(), index(t, "p1")
	// A directory is in the way, as neither mode nor mount stops root everywhere.
	obstacle := b.socket() + ".running.new"
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		"port add p3 --access 20", "port del p1", "port set p1 --flood off --mtu 1400",
		"fdb add 02:00:00:00:00:02 --vlan 10 --blackhole", "fdb set --ageing 60",
	} {
		code, out := b.run("vswitchctl", append([]string{"--socket", b.socket()}, strings.Fields(args)...)...)
		wantExit(t, code, 1, out, "nothing was changed", "running configuration", obstacle)
	}
	if got := b.running(); got != before || links(t) != "p1 p2" || index(t, "p1") != p1 {
		t.Errorf("it was changed: %s:\n%s", links(t), got)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	b.ctl("port", "add", "p3", "--access", "20")
	d.stop()
}

func testBadApplyLeavesAllAsItWas(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	before, p2 := b.running(), index(t, "p2")
	c, err := b.client().Running(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	same, err := b.client().Apply(t.Context(), c, 0)
	if err != nil || len(same.Changes) != 0 || index(t, "p2") != p2 {
		t.Errorf("%v, %v", same, err)
	}
	c.Ports = []config.Port{{Name: "p2", Trunk: config.VIDsOf(10), MTU: 1300}, {Name: "p3", Ifname: "lo", Access: 10}, {Name: "p4", Access: 10}}
	_, err = b.client().Apply(t.Context(), c, 0)
	if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeConflict || !strings.Contains(e.Message, `port "p3"`) {
		t.Errorf("error %v, want a conflict of port p3", err)
	}
	if got := b.running(); got != before || links(t) != "p1 p2" || index(t, "p2") != p2 {
		t.Errorf("not put back: %s:\n%s", links(t), got)
	}
	if i, err := net.InterfaceByName("p2"); err != nil || i.MTU != 1500 {
		t.Errorf("%+v, %v", i, err)
	}
	d.stop()
}

func testHangupAppliesTheDifference(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	p2 := index(t, "p2")
	b.write("vlan_aware: true\nmetrics: {listen: none}\nports:\n- {name: p2, trunk: [10, 20]}\n- {name: p3, access: 10}\n")
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for links(t) != "p2 p3" {
		if time.Now().After(deadline) {
			t.Fatalf("links: %s", links(t))
		}
		time.Sleep(time.Millisecond)
	}
	if index(t, "p2") != p2 {
		t.Error("p2 was made anew")
	}
	b.ctl("port", "set", "p3", "--flood", "off")
	d.kill()
	// The file is the one that was applied, so that running goes on.
	d = b.start()
	if got := b.running(); !strings.Contains(got, "flood: false") {
		t.Errorf("not resumed:\n%s", got)
	}
	d.stop()
}

// inNamespace starts a process in a network namespace of its own.
func inNamespace(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	return cmd
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func testContainersPortsComeAndGoWithIt(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	stays, goes := inNamespace(t), inNamespace(t)
	for name, cmd := range map[string]*exec.Cmd{"stays": stays, "goes": goes} {
		b.ctl("port", "add", name, "--container", strconv.Itoa(cmd.Process.Pid), "--access", "10", "--ip", "10.0.0.2/24", "--gateway", "10.0.0.1", "--ifname", "eth1")
		b.ctl("fdb", "add", "02:00:00:00:00:0"+strconv.Itoa(len(name)), "--vlan", "10", "--port", name)
	}
	reachable := func(when string) {
		t.Helper()
		out, err := exec.Command("nsenter", "--net=/proc/"+strconv.Itoa(stays.Process.Pid)+"/ns/net", "ip", "route").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "default via 10.0.0.1 dev eth1") || !strings.Contains(string(out), "src 10.0.0.2") {
			t.Errorf("%s: %v: %s", when, err, out)
		}
	}
	reachable("added")
	code, text := b.run("vswitchctl", "--socket", b.socket(), "port", "add", "second", "--netns", strconv.Itoa(stays.Process.Pid), "--access", "10", "--ip", "10.9.0.2/24", "--gateway", "10.9.0.1", "--ifname", "eth2")
	wantExit(t, code, 6, text, "cannot add a default route by 10.9.0.1", "has one")
	// A container with the host's network would leave its port behind.
	code, text = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "own", "--container", strconv.Itoa(os.Getpid()), "--access", "10")
	wantExit(t, code, 2, text, "is the daemon's own")
	i := b.port("stays").Index
	same := func(when string) {
		t.Helper()
		if p := b.port("stays"); p.Index != i || !p.Up || !p.Config.Ephemeral {
			t.Errorf("%s: %+v", when, p)
		}
	}

	// The startup file and the container's port are no business of one another.
	if diff := b.ctl("config", "diff"); strings.Contains(diff, "stays") {
		t.Errorf("differs from the startup file:\n%s", diff)
	}
	b.ctl("config", "save")
	saved, err := os.ReadFile(b.file)
	text = string(saved)
	if err != nil || strings.Contains(text, "stays") || strings.Contains(text, "static") {
		t.Errorf("%v: saved:\n%s", err, text)
	}
	b.ctl("config", "apply", b.file)
	same("after the file was applied")

	// While the daemon is there, and while it is not.
	end(goes)
	deadline := time.Now().Add(10 * time.Second)
	for strings.Contains(b.running()+b.kept(), "goes") {
		if time.Now().After(deadline) {
			t.Fatalf("the port of a container that is gone is still there:\n%s", b.running())
		}
		time.Sleep(time.Millisecond)
	}
	d.kill()
	d = b.start()
	reachable("after a restart")
	if strings.Contains(d.log.String(), "goes") {
		t.Errorf("it is looked for after a restart:\n%s", d.log.String())
	}
	d.kill()
	b.write(twoPorts + "- name: p4\nmetrics: {listen: none}\n")
	d = b.start()
	if got := b.running(); !strings.Contains(got, "name: p4") || !strings.Contains(got, "port: stays") || !b.port("stays").Up {
		t.Errorf("with another startup file:\n%s", got)
	}
	d.kill()
	end(stays)
	b.write(twoPorts + "metrics: {listen: none}\n")
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone" port=stays`, "that process has ended")
	if got := b.running(); strings.Contains(got, "stays") {
		t.Errorf("running:\n%s", got)
	}
	d.stop()

	// Nor may one that is still there keep the switch from starting.
	taken := inNamespace(t)
	d = b.start()
	b.ctl("port", "add", "taken", "--container", strconv.Itoa(taken.Process.Pid), "--access", "10", "--ifname", "eth1")
	d.kill()
	if out, err := exec.Command("nsenter", "--net=/proc/"+strconv.Itoa(taken.Process.Pid)+"/ns/net", "ip", "link", "add", "eth1", "type", "bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone" port=taken`, "a link named eth1 exists already")
	d.stop()
}

func (b *bench) port(name string) control.Port {
	b.t.Helper()
	p, err := b.client().Port(b.t.Context(), name)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func testPortWithoutNamespaceIsNotResumed(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	station := exec.Command("unshare", "--net", "sleep", "1000")
	if err := station.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = station.Process.Kill(); _ = station.Wait() }()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("/proc", strconv.Itoa(station.Process.Pid), "ns", "net")
	for now := own; now == own; {
		if now, err = os.Readlink(path); err != nil {
			t.Fatal(err)
		}
	}
	b.ctl("port", "add", "web", "--access", "10", "--netns", path, "--ifname", "eth0")
	b.ctl("fdb", "add", "02:00:00:00:00:01", "--vlan", "10", "--port", "web")
	d.kill()
	if err := station.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = station.Wait()
	d = b.start()
	wantExit(t, 0, 0, d.log.String(), `msg="port gone"`, "port=web")
	if got := b.running(); strings.Contains(got, "web") || !strings.Contains(got, "name: p2") {
		t.Errorf("running:\n%s", got)
	}
	d.stop()
}
