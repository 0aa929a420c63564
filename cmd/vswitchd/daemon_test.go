package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// programs is the directory of vswitchd and vswitchctl while TestPrograms runs.
var programs string

// TestPrograms tries both programs as they are built, in the namespace of the
// test process.
func TestPrograms(t *testing.T) {
	nettest.Need(t)
	programs = t.TempDir()
	out, err := exec.Command("go", "build", "-o", programs, "github.com/vswitchd/vswitchd/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Run("DaemonServesItsPortsAndTakesThemAlong", testDaemonServesItsPortsAndTakesThemAlong)
	t.Run("DaemonWithManyPortsEndsCleanly", testDaemonWithManyPortsEndsCleanly)
	t.Run("SecondDaemonIsRefusedBeforeItTouchesAPort", testSecondDaemonIsRefusedBeforeItTouchesAPort)
	t.Run("KilledDaemonDoesNotStopTheNext", testKilledDaemonDoesNotStopTheNext)
	t.Run("PortsAreAddedAllOrNone", testPortsAreAddedAllOrNone)
	t.Run("BadConfigurationIsShownWhereItIsBad", testBadConfigurationIsShownWhereItIsBad)
	t.Run("CheckTouchesNothing", testCheckTouchesNothing)
	t.Run("MetricsAreServed", testMetricsAreServed)
	t.Run("AcknowledgedChangesSurviveAKill", testAcknowledgedChangesSurviveAKill)
	t.Run("ChangedStartupFileWins", testChangedStartupFileWins)
	t.Run("ChangeThatCannotBeKeptIsRefused", testChangeThatCannotBeKeptIsRefused)
	t.Run("BadApplyLeavesAllAsItWas", testBadApplyLeavesAllAsItWas)
	t.Run("HangupAppliesTheDifference", testHangupAppliesTheDifference)
	t.Run("ContainersPortsComeAndGoWithIt", testContainersPortsComeAndGoWithIt)
	t.Run("PortWithoutNamespaceIsNotResumed", testPortWithoutNamespaceIsNotResumed)
	t.Run("EventsAreToldAsTheyHappen", testEventsAreToldAsTheyHappen)
	t.Run("AdoptedTAPIsLeftAsItWasFound", testAdoptedTAPIsLeftAsItWasFound)
	t.Run("RenamedTAPIsFoundAgainAfterAKill", testRenamedTAPIsFoundAgainAfterAKill)
	t.Run("MovedTAPIsLeftWhereItIsAfterAKill", testMovedTAPIsLeftWhereItIsAfterAKill)
	t.Run("RulesAttachAndDetach", testRulesAttachAndDetach)
	t.Run("NetdevIsLeftAsItWasFound", testNetdevIsLeftAsItWasFound)
	t.Run("RuleTakesTheTAPOfAVMM", testRuleTakesTheTAPOfAVMM)
	t.Run("StartedDaemonKeepsNeededCapabilitiesOnly", testStartedDaemonKeepsNeededCapabilitiesOnly)
	t.Run("ConfinedDaemonDoesAllItsWork", testConfinedDaemonDoesAllItsWork)
	t.Run("ConfinedDaemonWritesWhereItMayOnly", testConfinedDaemonWritesWhereItMayOnly)
	t.Run("DemoShowsWhatItPromises", testDemoShowsWhatItPromises)
	t.Run("DemoEndsWhenItIsTold", testDemoEndsWhenItIsTold)
	t.Run("DemoNobodyCanReadFails", testDemoNobodyCanReadFails)
	t.Run("LabRunsCommandsOnItsHosts", testLabRunsCommandsOnItsHosts)
	t.Run("KilledLabDoesNotStopTheNext", testKilledLabDoesNotStopTheNext)
	t.Run("LabThatCannotBeSaysWhy", testLabThatCannotBeSaysWhy)
}

const twoPorts = `vlan_aware: true
ports:
- {name: p1, access: 10}
- {name: p2, trunk: [10, 20]}
`

func testDaemonServesItsPortsAndTakesThemAlong(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	b.ctl("port", "add", "p3", "--access", "20", "--mtu", "1400")
	if got := links(t); !strings.Contains(got, "p1") || !strings.Contains(got, "p2") || !strings.Contains(got, "p3") {
		t.Errorf("links: %s", got)
	}
	p3, err := net.InterfaceByName("p3")
	if err != nil || p3.MTU != 1400 {
		t.Errorf("%+v, %v", p3, err)
	}
	if list := b.ctl("port", "list"); strings.Count(list, "\n") != 4 {
		t.Errorf("list:\n%s", list)
	}
	b.ctl("port", "del", "p1")
	if got := links(t); strings.Contains(got, "p1") {
		t.Errorf("links: %s", got)
	}
	d.stop()
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
	if _, err := os.Lstat(b.socket()); err == nil {
		t.Error("the socket is left behind")
	}
}

func testDaemonWithManyPortsEndsCleanly(t *testing.T) {
	var yaml strings.Builder
	yaml.WriteString("vlan_aware: false\nports:\n")
	const ports = 200 // Twice as many as the 2 s of the promise are for.
	for i := range ports {
		yaml.WriteString("- name: p" + strconv.Itoa(i) + "\n")
	}
	b := newBench(t, yaml.String())
	d := b.start()
	if n := len(strings.Fields(links(t))); n != ports {
		t.Errorf("%d links, want %d", n, ports)
	}
	// A client that never finishes its request does not hold the end up.
	c, err := net.Dial("unix", b.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /v1/sta"); err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	d.stop()
	if took := time.Since(asked); took > 2*time.Second {
		t.Errorf("the end took %v, want 2 s at most", took)
	}
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func testSecondDaemonIsRefusedBeforeItTouchesAPort(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	code, out := b.fail()
	wantExit(t, code, 1, out, b.socket(), fmt.Sprintf("pid %d", d.cmd.Process.Pid))
	b.ctl("port", "show", "p1")
	d.stop()
	b.start().stop()
}

func testKilledDaemonDoesNotStopTheNext(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	b.start().stop()
}

func testPortsAreAddedAllOrNone(t *testing.T) {
	b := newBench(t, "vlan_aware: false\nports:\n- name: p1\n- {name: p2, ifname: lo}\n- name: p3\n")
	code, out := b.fail()
	wantExit(t, code, 1, out, `port \"p2\"`, "exists already")
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
	if _, err := os.Lstat(b.socket()); err == nil {
		t.Error("the socket is left behind")
	}
}

func testBadConfigurationIsShownWhereItIsBad(t *testing.T) {
	b := newBench(t, "vlan_aware: true\nports:\n- name: p1\n  acess: 10\n")
	for _, args := range [][]string{nil, {"--check"}} {
		code, out := b.fail(args...)
		wantExit(t, code, 1, out, "c.yaml:4:", "  acess: 10\n", "^", "access")
	}
}

func testCheckTouchesNothing(t *testing.T) {
	b := newBench(t, twoPorts)
	code, out := b.fail("--check")
	wantExit(t, code, 0, out, "c.yaml", "2 ports")
	if entries, err := os.ReadDir(b.dir); err != nil || len(entries) != 1 || links(t) != "" {
		t.Errorf("%v, %v, %s", entries, err, links(t))
	}
}

func testMetricsAreServed(t *testing.T) {
	b := newBench(t, twoPorts+"metrics: {listen: '127.0.0.1:0'}\n")
	d := b.start("--log-format", "json")
	_, rest, _ := strings.Cut(d.log.String(), `"metrics":"`)
	address, _, _ := strings.Cut(rest, `"`)
	for path, want := range map[string]string{"/metrics": `vswitch_port_up{port="p1"} 1`, "/-/ready": "ok", "/-/healthy": "ok", "/": "vswitchd"} {
		reply, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reply.Body)
		_ = reply.Body.Close()
		if err != nil || reply.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			t.Errorf("%s: %s, %v: lacks %q", path, reply.Status, err, want)
		}
	}
	if got := b.ctl("status"); !strings.Contains(got, address) {
		t.Errorf("the status lacks %s:\n%s", address, got)
	}

	second := newBench(t, "vlan_aware: true\nmetrics: {listen: '"+address+"'}\n")
	code, out := second.fail()
	wantExit(t, code, 1, out, address, "in use", "--metrics-listen")
	second.start("--metrics-listen", "none").stop()
	d.stop()
}
