package port

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

// handOver gives a TAP to a process that runs in the tests' namespace or, with
// CLONE_NEWNET, in one of its own. It returns how errors call that process.
func handOver(t *testing.T, tap *TAP, clone uintptr) string {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(tap.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), tunDevice)
	cmd := exec.Command("sleep", "600")
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: clone, Pdeathsig: unix.SIGKILL}
	err = cmd.Start()
	if err := errors.Join(err, f.Close(), tap.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return "sleep (pid " + pidOf(cmd) + ")"
}

// namesake is a TAP called ifname somewhere else than in the tests' namespace.
func namesake(t *testing.T, ifname string) *TAP {
	t.Helper()
	cfg := named(ifname)
	cfg.Netns = nettest.New(t).Path()
	return open(t, cfg)
}

func TestCarrierTellsWhetherATAPIsInUse(t *testing.T) {
	cfg := persistent(t, "used1")
	for _, cfg.Up = range []bool{true, false} {
		tap := open(t, cfg)
		if !linkNamed(t, "used1").attached {
			t.Errorf("up %v: in use, but not so said", cfg.Up)
		}
		if err := tap.Close(); err != nil {
			t.Fatal(err)
		}
		if linkNamed(t, "used1").attached {
			t.Errorf("up %v: not in use, but so said", cfg.Up)
		}
	}
}

func TestUnusedTAPIsNotBlamedOnTheUserOfANamesake(t *testing.T) {
	cfg := persistent(t, "name1")
	unused(t, cfg)
	handOver(t, namesake(t, "name1"), unix.CLONE_NEWNET)
	cfg.Persistent = false
	_, err := OpenTAP(cfg)
	refused(t, err, ErrExists, "nobody was found to use it")
	if errors.Is(err, ErrBusy) {
		t.Error("said to be busy:", err)
	}
}

func TestUserOfATAPIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		clone   uintptr
		certain bool
	}{
		"that runs beside the link":          {0, true},
		"that runs elsewhere, as a namesake": {unix.CLONE_NEWNET, false},
	} {
		t.Run(name, func(t *testing.T) {
			user := handOver(t, open(t, named("held1")), c.clone)
			other := handOver(t, namesake(t, "held1"), unix.CLONE_NEWNET)
			_, err := OpenTAP(named("held1"))
			if c.certain {
				refused(t, err, ErrBusy, "in use by "+user+";", "or end that process")
				return
			}
			refused(t, err, ErrBusy, "in use by one of ", user, other)
			if strings.Contains(err.Error(), "end that process") {
				t.Error("which one?", err)
			}
		})
	}
}

// A switch that comes back finds its last run still closing one eth0, when it
// has others of its own already.
func TestOwnTAPsAreToldApart(t *testing.T) {
	tap := open(t, named("own1"))
	hidden(t, tap.fd)
	if err := tap.Close(); err != nil {
		t.Fatal(err)
	}
	namesake(t, "own1")
	err := occupied("own1", linkNamed(t, "own1"), -1)
	refused(t, err, ErrBusy, "in use by another process")
	if !errors.Is(err, errUnseen) {
		t.Error("OpenTAP would not wait for it")
	}
}
