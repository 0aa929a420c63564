package control

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// socketPath is short enough for a unix socket whatever the test is called.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func listenAt(t *testing.T, path string) *Listener {
	t.Helper()
	l, err := Listen(path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		_ = l.Unlock()
	})
	return l
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Fatalf("error %v, want one with %q", err, part)
		}
	}
}

func TestListenOpensTheSocketToUserAndGroupOnly(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), "dir", "s")
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	l, err := Listen(path, strconv.Itoa(os.Getegid()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	defer l.Close()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, want 0660", st.Mode())
	}
	if st, err = os.Stat(filepath.Dir(path)); err != nil || st.Mode() != fs.ModeDir|0o755 {
		t.Errorf("mode of its directory %v, want 0755; %v", st.Mode(), err)
	}
}

func TestListenRefusesASecondDaemonAndNamesTheFirst(t *testing.T) {
	path := socketPath(t)
	first := listenAt(t, path)
	_, err := Listen(path, "")
	wantError(t, err, path, "pid "+strconv.Itoa(os.Getpid()))

	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(path, "")
	wantError(t, err, "pid") // Its ports may still be there.

	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	listenAt(t, path)
}

// A daemon that was killed holds its lock until the kernel has closed its TAPs.
func TestListenWaitsForADaemonThatIsEnding(t *testing.T) {
	if ending(strconv.Itoa(os.Getpid())) || ending("") {
		t.Error("a process that goes on, or none, is seen to end")
	}
	dead := exec.Command("sleep", "1000")
	if err := dead.Start(); err != nil {
		t.Fatal(err)
	}
	defer dead.Wait() // Until then it is a zombie.
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(dead.Process.Pid)
	for deadline := time.Now().Add(patience); !ending(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a process that was killed is not seen to end")
		}
	}

	path := socketPath(t)
	first := listenAt(t, path)
	if err := os.WriteFile(path+".lock", []byte(pid+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	end := time.AfterFunc(2*lockLooks*lockPause, func() {
		_ = first.Close()
		_ = first.Unlock()
	})
	defer end.Stop()
	listenAt(t, path)
}

func TestCloseRemovesTheSocket(t *testing.T) {
	path := socketPath(t)
	if err := listenAt(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the socket is still there")
	}
}

func TestListenReplacesTheSocketOfADeadDaemon(t *testing.T) {
	path := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	listenAt(t, path)
}

func TestListenLeavesWhatIsNotADeadDaemonsAlone(t *testing.T) {
	path := socketPath(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(path, "")
	wantError(t, err, "not a socket")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, err = Listen(path, "")
	wantError(t, err, "another program")
}

func TestListenExplainsBadPathsAndGroups(t *testing.T) {
	_, err := Listen("/"+strings.Repeat("x", 107), "")
	wantError(t, err, "108 bytes", "107")
	_, err = Listen(socketPath(t), "no-such-group")
	wantError(t, err, `"no-such-group"`)
	_, err = Listen(socketPath(t)+"/none/s", "")
	wantError(t, err, "no such file", "make the directory above it", "--socket")
	err = socketError("s", &fs.PathError{Op: "open", Path: "s.lock", Err: unix.ENOSPC})
	wantError(t, err, "no space left", "make room", "--socket")
	err = socketError("s", os.NewSyscallError("bind", unix.EACCES))
	wantError(t, err, "permission denied", "--socket")
}

func TestDefaultSocketIsTheUsersOwn(t *testing.T) {
	tmp := filepath.Join(os.TempDir(), "vswitchd-"+strconv.Itoa(UID()), "vswitchd.sock")
	for dir, want := range map[string]string{"/run/user/5": "/run/user/5/vswitchd.sock", "": tmp, "relative": tmp} {
		if UID() == 0 {
			want = "/run/vswitchd/vswitchd.sock"
		}
		t.Setenv("XDG_RUNTIME_DIR", dir)
		if got := DefaultSocket(); got != want {
			t.Errorf("XDG_RUNTIME_DIR=%s: %s, want %s", dir, got, want)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", "/run/unit")
	if got := DefaultSocket(); got != "/run/unit/vswitchd.sock" {
		t.Errorf("in a unit: %s", got)
	}
}

func TestRootOfAUserNamespaceIsTheUserWhoMadeIt(t *testing.T) {
	for uidMap, want := range map[string]int{
		"         0          0 4294967295\n": 0,
		"0 0 1\n":                            0,
		"0 1000 1\n":                         1000,
		"1 100000 65536\n0 1000 1\n":         1000,
		"":                                   0,
		"odd\n":                              0,
	} {
		if got := outside(uidMap, 0); got != want {
			t.Errorf("%q: root is %d outside, want %d", uidMap, got, want)
		}
	}
	if got := outside("0 1000 1\n1 100000 65536\n", 5); got != 100004 {
		t.Errorf("user 5 is %d outside", got)
	}
}

func TestTemporaryDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Dir(socketPath(t)))
	if err := os.Mkdir(ownTempDir(), 0o777); err != nil {
		t.Fatal(err)
	}
	wantError(t, makeDir(ownTempDir()), "0700", "remove it")
	if err := os.Remove(ownTempDir()); err != nil {
		t.Fatal(err)
	}
	if err := makeDir(ownTempDir()); err != nil {
		t.Fatal(err)
	}
}
