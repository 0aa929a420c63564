package netns

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// noNamespaces is why tests that make namespaces are skipped; nil: they run.
var noNamespaces error

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(play(role))
	}
	child, exit, err := Isolate()
	if err == nil && !child {
		os.Exit(exit)
	}
	noNamespaces = err
	os.Exit(m.Run())
}

func newNS(t *testing.T) *NS {
	t.Helper()
	need(t)
	ns, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return ns
}

func need(t *testing.T) {
	t.Helper()
	if noNamespaces == nil {
		return
	}
	if os.Getenv("VSWITCH_REQUIRE_NETNS") == "1" {
		t.Fatal(noNamespaces)
	}
	t.Skip(noNamespaces)
}

// own returns the name of the namespace that the calling thread is in.
func own(t *testing.T) string {
	t.Helper()
	s, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewHasLoopbackUpAndNothingElse(t *testing.T) {
	err := newNS(t).Do(func() error {
		ifis, err := net.Interfaces()
		if len(ifis) != 1 || ifis[0].Name != "lo" || ifis[0].Flags&net.FlagUp == 0 {
			t.Errorf("interfaces %v, want lo alone, up", ifis)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPathNamesTheNamespace(t *testing.T) {
	ns, other := newNS(t), newNS(t)
	var inside string
	if err := ns.Do(func() error { inside = own(t); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		ns   *NS
		same bool
	}{{ns, true}, {other, false}} {
		if got, err := os.Readlink(tt.ns.Path()); err != nil || (got == inside) != tt.same {
			t.Errorf("%s is %q, error %v; inside the first is %q", tt.ns.Path(), got, err, inside)
		}
	}
}

func TestCloseLetsGo(t *testing.T) {
	ns := newNS(t)
	path := ns.Path()
	var inside string
	if err := ns.Do(func() error { inside = own(t); return nil }); err != nil {
		t.Fatal(err)
	}
	ns.Close()
	ns.Close()
	if got, _ := os.Readlink(path); got == inside {
		t.Errorf("%s still holds %s after Close", path, got)
	}
}

func TestDoReturnsTheThread(t *testing.T) {
	ns := newNS(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := own(t)

	wanted := errors.New("wanted")
	if err := ns.Do(func() error { return wanted }); !errors.Is(err, wanted) {
		t.Errorf("Do returned %v, want the function's error", err)
	}
	if got := own(t); got != home {
		t.Errorf("after an error the thread is in %s, want %s", got, home)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("Do swallowed a panic")
			}
		}()
		_ = ns.Do(func() error { panic("wanted") })
	}()
	if got := own(t); got != home {
		t.Errorf("after a panic the thread is in %s, want %s", got, home)
	}
}

func TestDoRefusesAClosedNamespace(t *testing.T) {
	ns := newNS(t)
	ns.Close()
	if err := ns.Do(func() error { t.Error("ran"); return nil }); !errors.Is(err, unix.EBADF) {
		t.Errorf("error %v, want EBADF", err)
	}
}

func TestForbiddingNamesTheSysctl(t *testing.T) {
	for name, tt := range map[string]struct{ file, value, want string }{
		"no user namespaces":  {"user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"},
		"no net namespaces":   {"user/max_net_namespaces", "0", "sudo sysctl -w user.max_net_namespaces=15000"},
		"Debian's switch":     {"kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		"Ubuntu's AppArmor":   {"kernel/apparmor_restrict_unprivileged_userns", "1", "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		"allowed by all":      {"kernel/unprivileged_userns_clone", "1", "no sysctl forbids it"},
		"files not there":     {"kernel/other", "0", "no sysctl forbids it"},
		"room for namespaces": {"user/max_user_namespaces", "96365", "no sysctl forbids it"},
	} {
		sys := t.TempDir()
		path := filepath.Join(sys, tt.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tt.value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Forbidding(sys); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q does not contain %q", name, got, tt.want)
		}
	}
}

func TestCheckTUNSaysWhatToDo(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "tun")
	if err := checkTUN(absent); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "modprobe tun") {
		t.Errorf("absent device: %v", err)
	}
	closed := filepath.Join(t.TempDir(), "tun")
	if err := os.WriteFile(closed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkTUN(closed); err != nil {
		t.Errorf("open device: %v", err)
	}
	for err, want := range map[unix.Errno]string{
		unix.EACCES: "its mode is 0600; run as root, or ",
		unix.EPERM:  "--device " + closed,
		unix.ENODEV: "modprobe tun",
		unix.EIO:    "run as root",
	} {
		if got := TUNRemedy(err, closed); !strings.Contains(got, want) {
			t.Errorf("%v: %q does not contain %q", err, got, want)
		}
	}
}

func TestPIDNamesTheNamespaceUntilClose(t *testing.T) {
	need(t)
	ns, err := New()
	if err != nil {
		t.Fatal(err)
	}
	pid := ns.PID()
	var here, there unix.Stat_t
	if err := errors.Join(unix.Stat(ns.Path(), &here), unix.Stat("/proc/"+pid+"/ns/net", &there)); err != nil {
		t.Fatal(err)
	}
	if here.Ino != there.Ino || ns.PID() != pid {
		t.Errorf("thread %s is in namespace %d, want %d", pid, there.Ino, here.Ino)
	}
	ns.Close()
}
