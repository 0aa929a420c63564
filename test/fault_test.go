package test

import (
	"context"
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

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// loaded has a station send bursts to an address that it and everybody else
// does not know, until fault is over.
func (r *rig) loaded(from *nettest.Station, fault func()) {
	r.t.Helper()
	c := newCrew(r.t)
	c.start("load", func() error {
		for pace := time.NewTicker(time.Millisecond); ; {
			select {
			case <-c.stop:
				pace.Stop()
				return nil
			case <-pace.C:
			}
			for i := range uint32(8) {
				// A full queue is what there is to be.
				if err := from.Send(numbered(frame.MAC{2, 0xdd}, frame.MAC{2, 0xcc}, i)); err != nil && !errors.Is(err, unix.ENOBUFS) {
					return err
				}
			}
		}
	})
	fault()
	c.end()
}

// wantPorts waits until the switch has these ports and its links no others.
func (r *rig) wantPorts(names ...string) {
	r.t.Helper()
	eventually(r.t, func() error {
		ports, err := r.Ports(r.t.Context())
		if err != nil {
			return err
		}
		var has []string
		for _, p := range ports {
			has = append(has, p.Name)
		}
		if got, want := strings.Join(has, " "), strings.Join(names, " "); got != want {
			return fmt.Errorf("ports %s, want %s", got, want)
		}
		return nil
	})
}

func testDeletedLinkCostsItsOwnPort(t *testing.T) {
	r := newRig(t)
	ns, load := r.plug("gone"), r.station("load")
	r.undisturbed(func() {
		r.loaded(load, func() {
			err := ns.Do(func() error {
				link, err := netlink.LinkByName("eth0")
				if err != nil {
					return err
				}
				return netlink.LinkDel(link)
			})
			if err != nil {
				t.Fatal(err)
			}
			r.wantPorts("from", "load", "to")
		})
	})
	r.wantLog("port gone", "port=gone")
	r.aftermath()
}

func testEndedNamespaceCostsItsOwnPort(t *testing.T) {
	r := newRig(t)
	ns, load := r.plug("gone"), r.station("load")
	r.undisturbed(func() {
		r.loaded(load, func() {
			ns.Close()
			r.wantPorts("from", "load", "to")
		})
	})
	r.wantLog("port gone", "port=gone")
	r.aftermath()
}

// A daemon that is stopped and goes on has lost what did not fit in the kernel's
// queues, and nothing else: whoever it knew it knows, who asked is answered.
func testStoppedDaemonForgetsNobody(t *testing.T) {
	r := newRig(t)
	load := r.station("load")
	known := func() control.FDBInfo {
		t.Helper()
		s, err := r.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.FDB
	}
	eventually(t, func() error {
		if n := known().Dynamic; n != 1 {
			return fmt.Errorf("%d addresses known, want that of a station that now is silent", n)
		}
		return nil
	})
	answered := make(chan error, 1)
	r.loaded(load, func() {
		r.signal(unix.SIGSTOP)
		go func() {
			_, err := r.SetPort(context.Background(), "to", map[string]any{"limit": 5})
			answered <- err
		}()
		time.Sleep(*soakPause)
		r.signal(unix.SIGCONT)
		if err := <-answered; err != nil {
			t.Errorf("a change asked for while the daemon was stopped: %v", err)
		}
	})
	if f := known(); f.Aged != 0 || f.Dynamic != 2 {
		t.Errorf("%d addresses known and %d aged, want the silent station's and the load's", f.Dynamic, f.Aged)
	}
	r.undisturbed(r.aftermath)
}

// inPrivate runs a command in the mount namespace of the daemon.
func (r *rig) inPrivate(args ...string) {
	r.t.Helper()
	args = append([]string{"--target", strconv.Itoa(r.cmd.Process.Pid), "--mount"}, args...)
	if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
		r.t.Fatalf("nsenter %q: %v: %s", args, err, out)
	}
}

// refusedUntil tries a change while a fault is there, which must be refused with
// all of the parts and touch nothing, and again when it is over.
func (r *rig) refusedUntil(over func(), parts ...string) {
	r.t.Helper()
	_, err := r.AddPort(r.t.Context(), config.Port{Name: "late"})
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		r.t.Fatalf("error %v, want one of the daemon's", err)
	}
	r.t.Logf("%s; %s", e.Message, e.Fix)
	for _, p := range parts {
		if !strings.Contains(e.Message+"\n"+e.Fix, p) {
			r.t.Errorf("error %+v, want one with %q", e, p)
		}
	}
	if i, err := net.InterfaceByName("late"); err == nil {
		r.t.Errorf("left behind: %+v", i)
	}
	r.wantPorts("from", "to")
	over()
	for _, do := range []func() error{
		func() error { _, err := r.AddPort(r.t.Context(), config.Port{Name: "late"}); return err },
		func() error { _, err := r.RemovePort(r.t.Context(), "late"); return err },
	} {
		if err := do(); err != nil {
			r.t.Error(err)
		}
	}
}

func testRuntimeDirectoryThatTakesNothing(t *testing.T) {
	mount := `mkdir -p "$0" && mount -t tmpfs -o size=1m,mode=0755 none "$0" && exec "$@"`
	dir := func(r *rig) string { return filepath.Join(r.dir, "run") }
	// The shell's $0 is the directory, which newRig makes up: it is that of --socket.
	r := newRig(t, "unshare", "--mount", "sh", "-c", `for at; do :; done; set -- "${at%/s}" "$@"; at=$1; shift; set -- "$at" "$@"; exec sh -c '`+mount+`' "$@"`, "-")
	r.undisturbed(func() {
		// On top of the same directory: a file system that is written to cannot become so.
		r.inPrivate("mount", "-o", "bind,ro", dir(r), dir(r))
		r.refusedUntil(func() { r.inPrivate("umount", dir(r)) },
			"read-only", filepath.Join(dir(r), "s.running"), "let the daemon write to "+dir(r))
	})
	r.aftermath()

	full := filepath.Join(fmt.Sprintf("/proc/%d/root", r.cmd.Process.Pid), dir(r), "full")
	r.undisturbed(func() {
		if err := os.WriteFile(full, make([]byte, 2<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("%v, want a full directory", err)
		}
		r.refusedUntil(func() { _ = os.Remove(full) }, "no space left", "s.running", "make room in "+dir(r))
	})
	r.aftermath()
}

// limitFiles leaves the daemon room for so many descriptors and returns what
// gives it more again.
func (r *rig) limitFiles(room int) (lift func()) {
	r.t.Helper()
	time.Sleep(50 * time.Millisecond) // Connections that are just being closed.
	limit := uint64(0)                // of the numbers
	for ; ; limit++ {
		_, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", r.cmd.Process.Pid, limit))
		if err == nil {
			continue
		}
		if room == 0 {
			break
		}
		room--
	}
	set := func(l *unix.Rlimit) (old unix.Rlimit) {
		r.t.Helper()
		if err := unix.Prlimit(r.cmd.Process.Pid, unix.RLIMIT_NOFILE, l, &old); err != nil {
			r.t.Fatal(err)
		}
		return old
	}
	old := set(nil)
	set(&unix.Rlimit{Cur: limit, Max: old.Max})
	return func() { set(&old) }
}

func testNoDescriptorLeft(t *testing.T) {
	r := newRig(t)
	for room, parts := range map[int][]string{
		1: {"too many open files", "s.running", "raise the daemon's limit of open files"}, // for the connection
		2: {"too many open files", `port "late"`, "raise the daemon's limit of open files"},
		3: {"too many open files", `port "late"`, "raise the daemon's limit of open files"},
	} {
		r.undisturbed(func() { r.refusedUntil(r.limitFiles(room), parts...) })
	}
	// With no room for the connection either, whoever connects waits for some.
	r.undisturbed(func() {
		lift, answered := r.limitFiles(0), make(chan error, 1)
		go func() {
			_, err := r.Status(context.Background())
			answered <- err
		}()
		r.wantLog("Accept error", "too many open files")
		lift()
		if err := <-answered; err != nil {
			t.Error(err)
		}
	})
	r.aftermath()
}
