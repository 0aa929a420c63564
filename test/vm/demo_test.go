package vm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

// newDemo builds vswitchctl as `make build` does and returns its demo, as a user
// starts it who is in no namespace of the test's.
func newDemo(t *testing.T) *exec.Cmd {
	t.Helper()
	nettest.Need(t)
	findKernel(t)
	path := filepath.Join(t.TempDir(), "vswitchctl")
	build := exec.Command("go", "build", "-o", path, "github.com/vswitchd/vswitchd/cmd/vswitchctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := exec.CommandContext(t.Context(), path, "demo")
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VSWITCH_ISOLATED_FROM=") })
	return c
}

func TestDemoShowsAVirtualMachineBesideTheHosts(t *testing.T) {
	out, err := newDemo(t).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"ping  web -> vm   reply in", "TCP   web -> vm   it says: Linux ", "52:54:00:00:00:05  VLAN 10  port vm", "\n    vm ", "All as it should be"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func TestDemoWithoutKernelSaysSoAndShowsTheRest(t *testing.T) {
	c := newDemo(t)
	if kernels, _ := filepath.Glob("/boot/vmlinuz-*"); len(kernels) > 0 {
		t.Skip("this machine has one in /boot")
	}
	c.Env = append(c.Env, "VSWITCH_VM_KERNEL="+t.TempDir())
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "get Debian's with: make vm-kernel") || !strings.Contains(string(out), "All as it should be") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// However the demo ends, its virtual machine does.
func TestDemoThatIsEndedLeavesNoVirtualMachine(t *testing.T) {
	for name, s := range map[string]syscall.Signal{"Interrupted": unix.SIGINT, "Killed": unix.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			c := newDemo(t)
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			// By its first ping, it has started QEMU.
			lines := bufio.NewScanner(out)
			for lines.Scan() && !strings.Contains(lines.Text(), "ping  web") {
			}
			family := descendants(c.Process.Pid)
			if !slices.ContainsFunc(family, func(p process) bool { return strings.HasPrefix(p.name, "qemu") }) {
				t.Errorf("QEMU is not among %v", family)
			}
			if err := c.Process.Signal(s); err != nil {
				t.Error(err)
			}
			for lines.Scan() { // Until all who could write have ended.
				if strings.Contains(lines.Text(), "All as it should be") {
					t.Error("it went on to the end")
				}
			}
			if err := c.Wait(); err == nil {
				t.Error("it was not ended")
			}
			eventually(t, func() error {
				for _, p := range family {
					if p.lives() {
						return fmt.Errorf("%s, process %d, is still there", p.name, p.pid)
					}
				}
				return nil
			})
		})
	}
}

// process is one as /proc/PID/stat had it.
type process struct {
	pid, parent int
	name, state string
}

func readProcess(pid int) (p process, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return p, err
	}
	before, after, _ := strings.Cut(string(text), ") ")
	_, p.name, _ = strings.Cut(before, "(")
	p.pid = pid
	_, err = fmt.Sscan(after, &p.state, &p.parent)
	return p, err
}

// lives tells whether it has not ended; its pid can be another's by now.
func (p process) lives() bool {
	now, err := readProcess(p.pid)
	return err == nil && now.name == p.name && now.state != "Z" && now.state != "X"
}

// descendants returns the process's children, and theirs.
func descendants(of int) (all []process) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if p, err := readProcess(pid); err == nil && p.parent == of {
			all = append(append(all, p), descendants(pid)...)
		} else if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			panic(err)
		}
	}
	return all
}
