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
