package port

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestNetnsNameComesBeforePid(t *testing.T) {
	ns, cmd := nettest.New(t), container(t)
	byPath, err := openNetns(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(byPath)
	want, err := identify(byPath)
	if err != nil {
		t.Fatal(err)
	}

	var got nsIdentity
	done := make(chan error)
	go func() {
		// Not unlocked: the thread with a /run of its own ends with the goroutine.
		runtime.LockOSThread()
		done <- func() error {
			if err := errors.Join(
				unix.Unshare(unix.CLONE_NEWNS),
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount("none", "/run", "tmpfs", 0, ""),
				os.Mkdir("/run/netns", 0o755),
				os.Symlink(ns.Path(), "/run/netns/"+pidOf(cmd)),
			); err != nil {
				return err
			}
			fd, err := openNetns(pidOf(cmd))
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			got, err = identify(fd)
			return err
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Error("the pid was preferred to the name")
	}
}

func TestNetnsOfAProcessNeedsNoLookIntoIt(t *testing.T) {
	pid := pidOf(container(t))
	byPath, err := openNetns(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(byPath)
	want, err := identify(byPath)
	if err != nil {
		t.Fatal(err)
	}
	byLink, err := netnsOfPid(pidIn("/proc/" + pid + "/ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(byLink)
	if got, err := identify(byLink); err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	own, err := netnsOfPid(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(own)
	if same, err := isOwn(own); err != nil || !same {
		t.Errorf("own: %v, %v", same, err)
	}
	if _, err := netnsOfPid(1 << 30); err != unix.ESRCH {
		t.Errorf("no process: %v", err)
	}
	if exists("vsw-new0") {
		t.Error("a link is left behind")
	}
	for _, path := range []string{"/proc/self/ns/net", "/proc/1/ns/mnt", "/proc//ns/net", "/run/netns/1", "/proc/-1/ns/net"} {
		if pid := pidIn(path); pid != 0 {
			t.Errorf("%s: process %d", path, pid)
		}
	}
}

func TestPinnedProcessIsNoLaterOneOfItsPid(t *testing.T) {
	cmd := container(t)
	spec, err := PinProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := openNetns(spec)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	for _, other := range []string{spec + "0", pidOf(cmd) + "@1", pidOf(cmd) + "@", "2147483647@1"} {
		if _, err := openNetns(other); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", other, err)
		}
	}
}
