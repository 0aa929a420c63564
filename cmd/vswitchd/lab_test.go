package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/internal/lab"
)

const threeHosts = `switch: {vlan_aware: true}
hosts:
- {name: web, ip: [10.0.0.1/24], access: 10}
- {name: db, ip: [10.0.0.2/24], access: 10, ifname: up0, impair: {loss: 50%, seed: 7, for: 1h}}
- {name: trunk, trunk: [10, 20]}
`

// labBench is a lab of the user who runs the tests, by a name that nobody else has.
type labBench struct {
	*bench
	name string
}

func newLabBench(t *testing.T) labBench {
	t.Helper()
	b := labBench{newBench(t, ""), fmt.Sprintf("test-%d", os.Getpid())}
	if err := os.WriteFile(b.file, []byte(threeHosts), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command(filepath.Join(programs, "vswitchctl"), "lab", "--name", b.name, "down").Run() })
	return b
}

// up starts the lab and returns once it is up.
func (b labBench) up() *exec.Cmd {
	b.t.Helper()
	c := outside(b.t, "lab", "--name", b.name, "up", b.file)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "is up, with 3 hosts") {
		b.t.Fatalf("%q, %v", line, err)
	}
	return c
}

func (b labBench) ctl(args ...string) (code int, out string) {
	b.t.Helper()
	return b.run("vswitchctl", append([]string{"lab", "--name", b.name}, args...)...)
}

func testLabRunsCommandsOnItsHosts(t *testing.T) {
	b := newLabBench(t)
	c := b.up()
	code, out := b.ctl("exec", "web", "--", "sh", "-c", "cat /proc/net/dev; exit 7")
	wantExit(t, code, 7, out, "eth0:", "lo:")
	code, out = b.ctl("exec", "db", "cat", "/proc/net/dev")
	wantExit(t, code, 0, out, "up0:")
	code, out = b.ctl("exec", "web", filepath.Join(programs, "vswitchctl"), "port", "list")
	wantExit(t, code, 0, out, "web", "db", "trunk")
	code, out = b.ctl("exec", "web", "--")
	wantExit(t, code, 2, out, "the command is missing")
	code, out = b.ctl("exec", "nobody", "true")
	wantExit(t, code, 4, out, `no host "nobody"`, "web, db, trunk")

	code, out = b.ctl("show")
	wantExit(t, code, 0, out, "web", "10.0.0.1/24", "loss 50%, seed 7, for another", "rx", "tx")
	code, out = b.ctl("show", "-o", "json")
	var s lab.State
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || len(s.Hosts) != 3 || s.Hosts[1].Impair == nil || s.Hosts[1].Impair.Loss != 50 {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}

	second, err := outside(t, "lab", "--name", b.name, "up", b.file).CombinedOutput()
	wantExit(t, exitCode(t, err), 6, string(second), "it is up already", "vswitchctl lab --name "+b.name+" down")

	code, out = b.ctl("down")
	wantExit(t, code, 0, out)
	wantExit(t, exitCode(t, c.Wait()), 0, "")
	if _, err := os.Lstat(lab.Path(b.name)); err == nil || links(t) != "" {
		t.Errorf("left behind: %v %s", err, links(t))
	}
	code, out = b.ctl("show")
	wantExit(t, code, 4, out, "it is not up", "up FILE")
	code, out = b.ctl("down")
	wantExit(t, code, 4, out, "it is not up")
}

func testKilledLabDoesNotStopTheNext(t *testing.T) {
	b := newLabBench(t)
	for range 2 {
		c := b.up()
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
	}
	code, out := b.ctl("down")
	wantExit(t, code, 0, out)
	if _, err := os.Lstat(lab.Path(b.name)); err == nil {
		t.Error("the directory is left behind")
	}
}

func testLabThatCannotBeSaysWhy(t *testing.T) {
	b := newLabBench(t)
	if err := os.WriteFile(b.file, []byte("switch: {vlan_aware: true}\nhosts:\n- name: web\n  acess: 10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := b.ctl("up", b.file)
	wantExit(t, code, 1, out, "c.yaml:4:", "  acess: 10\n", "^", "access")
	code, out = b.ctl("up", b.file+".not")
	wantExit(t, code, 1, out, "no such file")
	code, out = b.run("vswitchctl", "lab", "--name", "a/b", "show")
	wantExit(t, code, 2, out, `--name "a/b"`)
	if _, err := os.Lstat(lab.Path(b.name)); err == nil {
		t.Error("the directory is left behind")
	}
}
