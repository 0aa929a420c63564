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
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// injection is a system call that fails now and then, as strace(1) makes it.
type injection struct {
	call   string
	path   string // of the file that it is about; empty for any
	errnos []string
}

var tunOnly = "/dev/net/tun"

func (r *rig) injections() []injection {
	return []injection{
		{"write", tunOnly, []string{"EAGAIN", "EINTR", "EIO", "ENOBUFS", "ENOMEM", "EBADFD", "EINVAL"}},
		{"io_uring_enter", "", []string{"EINTR", "EAGAIN", "ENOMEM", "EBADR"}},
		{"read", tunOnly, []string{"EAGAIN", "EINTR", "EIO", "ENOBUFS", "ENOMEM"}},
		{"ioctl", "", []string{"EINTR", "ENOMEM", "EMFILE"}},
		{"openat", "", []string{"EINTR", "EMFILE", "ENOMEM"}},
		{"socket", "", []string{"EMFILE", "ENOBUFS"}},
		{"recvmsg", "", []string{"EINTR", "ENOBUFS"}},
		{"recvfrom", "", []string{"ENOBUFS", "ENOMEM"}},
		{"accept4", "", []string{"ENOMEM", "EMFILE", "EINTR"}},
		{"write", r.socket() + ".running.new", []string{"EINTR", "EIO", "ENOSPC"}},
		{"fsync", "", []string{"EIO", "ENOSPC"}},
		{"renameat", "", []string{"EROFS"}},
	}
}

// injected has every third call fail while it runs do, and returns how many did.
func (r *rig) injected(call, path, errno string, do func()) (failures int) {
	r.t.Helper()
	trace := filepath.Join(r.dir, "trace")
	args := []string{"-f", "-q", "-p", strconv.Itoa(r.cmd.Process.Pid), "-o", trace, "-e", "trace=" + call, "-e", "inject=" + call + ":error=" + errno + ":when=2+3"}
	if path != "" {
		args = append(args, "-P", path)
	}
	strace := exec.Command("strace", args...)
	var said strings.Builder
	strace.Stderr = &said
	if err := strace.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, r.traced(strace.Process.Pid))
	do()
	_ = strace.Process.Signal(unix.SIGINT) // It lets go of the daemon.
	if err := strace.Wait(); err != nil && strace.ProcessState.ExitCode() != 130 && !strings.Contains(err.Error(), "interrupt") {
		r.t.Fatalf("strace: %v: %s", err, said.String())
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(text), "(INJECTED)")
}

// traced waits for every thread of the daemon to have the tracer.
func (r *rig) traced(pid int) func() error {
	return func() error {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.cmd.Process.Pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			status, err := os.ReadFile(task)
			if err == nil && !strings.Contains(string(status), fmt.Sprintf("TracerPid:\t%d\n", pid)) {
				err = fmt.Errorf("%s: not traced yet", task)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// exercise has frames relayed and changes made; either may fail.
func (r *rig) exercise() {
	r.t.Helper()
	for {
		if _, err := r.to.Recv(20 * time.Millisecond); err != nil {
			break // Nothing of an earlier burst is left to be taken for an answer.
		}
	}
	for i := range uint32(10) { // One at a time, then a burst.
		_ = r.from.Send(numbered(steadyTo, steadyFrom, i))
		_, _ = r.to.Recv(20 * time.Millisecond)
	}
	for i := range uint32(600) { // Some will wait for each other.
		_ = r.from.Send(numbered(steadyTo, steadyFrom, i))
		_ = r.to.Send(numbered(steadyFrom, steadyTo, i))
	}
	for range 3 {
		_, err := r.AddPort(r.t.Context(), config.Port{Name: "late"})
		if refused := (*control.Error)(nil); err != nil && !errors.As(err, &refused) && !errors.Is(err, control.ErrUnreachable) {
			r.t.Logf("port add: %v", err)
		}
		_, _ = r.RemovePort(r.t.Context(), "late")
	}
}

// Whatever a system call answers, the daemon goes on, counts what it cost and is
// as it was when it is over.
func testFailingSystemCalls(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		nettest.Lack(t, err.Error())
	}
	r := newRig(t)
	for _, in := range r.injections() {
		for _, errno := range in.errnos[:min(*soakErrnos, len(in.errnos))] {
			t.Run(in.call+" "+errno, func(t *testing.T) {
				r.t = t
				if n := r.injected(in.call, in.path, errno, r.exercise); n == 0 {
					t.Error("no call failed")
				} else {
					t.Logf("soak: %d calls failed", n)
				}
				// What could not be taken away may still be there.
				_, _ = r.RemovePort(t.Context(), "late")
				if i, err := net.InterfaceByName("late"); err == nil {
					t.Errorf("left behind: %+v", i)
				}
				r.wantPorts("from", "to")
				for _, st := range []struct {
					name string
					err  error
				}{{"from", r.from.Send(numbered(frame.Broadcast, steadyFrom, 0))}, {"to", r.to.Send(numbered(frame.Broadcast, steadyTo, 0))}} {
					if st.err != nil {
						t.Errorf("%s: %v", st.name, st.err)
					}
				}
				r.aftermath()
			})
		}
	}
}
