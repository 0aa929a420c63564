package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/control"
)

// command makes one that runs vswitchctl.
func (r *rig) command(program string, args ...string) *exec.Cmd {
	return exec.Command(program, append([]string{"--socket", r.socket()}, args...)...)
}

// asNobody runs vswitchctl as another user, in group 65533.
func (r *rig) asNobody(args ...string) (output string, pid, code int) {
	r.t.Helper()
	// The directory that it was built in is not for everybody.
	program := filepath.Join(r.dir, "vswitchctl")
	if text, err := os.ReadFile(filepath.Join(programs, "vswitchctl")); err != nil {
		r.t.Fatal(err)
	} else if err := os.WriteFile(program, text, 0o755); err != nil {
		r.t.Fatal(err)
	}
	cmd := r.command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65533}}
	out, err := cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
			r.t.Skip("this user namespace has one user only")
		}
		r.t.Fatal(err)
	}
	return string(out), cmd.Process.Pid, cmd.ProcessState.ExitCode()
}

func testOtherUserIsRefused(t *testing.T) {
	r := newRig(t)
	if out, _, code := r.asNobody("port", "set", "to", "--flood", "off"); code != 5 || !strings.Contains(out, "permission denied") {
		t.Errorf("exit code %d, want 5: %s", code, out)
	}
	r.signal(unix.SIGTERM)
	<-r.gone
	r.write("vlan_aware: false\nmetrics: {listen: '127.0.0.1:0'}\ncontrol: {group: '65533'}\n")
	r.launch()
	r.ready()
	if out, pid, code := r.asNobody("port", "del", "none"); code != 4 {
		t.Errorf("the group may not: exit code %d: %s", code, out)
	} else {
		r.wantLog("change refused", "path=/v1/ports/none", "uid=65534", "pid="+strconv.Itoa(pid))
	}
	if out, pid, code := r.asNobody("fdb", "set", "--ageing", "60"); code != 0 {
		t.Errorf("the group may not: exit code %d: %s", code, out)
	} else {
		r.wantLog("msg=changed", "path=/v1/fdb/settings", "uid=65534", "pid="+strconv.Itoa(pid))
	}
}

// Clients that say nothing, a byte now and then, or do not listen cost neither a
// frame nor another client's answer.
func testClientsThatStarve(t *testing.T) {
	const growth = 16 << 10 // KiB
	r := newRig(t)
	before, err := r.holdings()
	if err != nil {
		t.Fatal(err)
	}
	r.undisturbed(func() {
		starving := newCrew(t)
		for i := range 4 * control.MaxConnections {
			starving.start("starve", func() error { return starve(r.socket(), i, starving.stop) })
		}
		for i := range 20 {
			for _, args := range []string{"status", "port add late", "port del late"} {
				if out, err := r.command(filepath.Join(programs, "vswitchctl"), strings.Fields(args)...).CombinedOutput(); err != nil {
					t.Errorf("time %d: %s: %v: %s", i, args, err, out)
				}
			}
		}
		starving.end()
	})
	eventually(t, func() error {
		after, err := r.holdings()
		if err == nil && (after.fds > before.fds || after.goroutines > before.goroutines || after.rss-before.rss > growth) {
			err = fmt.Errorf("%+v, before they came %+v", after, before)
		}
		return err
	})
	r.aftermath()
}

// starve asks as a client should not, again whenever it is cut off.
func starve(socket string, kind int, stop <-chan struct{}) error {
	for {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		switch kind % 3 {
		case 0: // asks for much, and takes none of it
			_, _ = c.Write([]byte(strings.Repeat("GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n", 200)))
			<-stop
			return c.Close()
		case 1:
			<-stop
			return c.Close()
		}
		for _, b := range []byte("POST /v1/fdb/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}") {
			select {
			case <-stop:
				return c.Close()
			case <-time.After(50 * time.Millisecond):
			}
			if _, err := c.Write([]byte{b}); err != nil {
				break
			}
		}
		_ = c.Close()
	}
}
