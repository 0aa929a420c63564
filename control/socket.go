package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
)

// RootSocket is DefaultSocket for root.
const RootSocket = "/run/vswitchd/" + socketName

const socketName = "vswitchd.sock"

// DefaultSocket returns the path of the control socket where none is named:
// in a systemd unit vswitchd.sock in its RuntimeDirectory, RootSocket for root,
// else vswitchd.sock in the user's $XDG_RUNTIME_DIR or, without that, in a
// directory of the user's own under the one for temporary files. Whoever is root
// of a user namespace alone is no root here.
func DefaultSocket() string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(dir) { // systemd.exec(5)
		return filepath.Join(dir, socketName)
	}
	if UID() == 0 {
		return RootSocket
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, socketName)
	}
	return filepath.Join(ownTempDir(), socketName)
}

func ownTempDir() string {
	return filepath.Join(os.TempDir(), "vswitchd-"+strconv.Itoa(UID()))
}

// UID is the user's outside of the user namespace that the process is in.
func UID() int {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return os.Geteuid() // A kernel without user namespaces has no such file.
	}
	return outside(string(text), os.Geteuid())
}

// outside translates a user by a map of user_namespaces(7): lines of the first
// user inside, the first outside and their number.
func outside(uidMap string, uid int) int {
	for line := range strings.Lines(uidMap) {
		var from, to, n int
		if _, err := fmt.Sscan(line, &from, &to, &n); err == nil && uid >= from && uid-from < n {
			return uid - from + to
		}
	}
	return uid
}

// Listener is the control socket. It accepts MaxConnections at a time.
type Listener struct {
	connections
	lock *os.File
}

// Listen makes the control socket at path, which must not be served already.
// It is open to the daemon's user and, unless group is empty, to that group, a
// name or number. The lock file beside it, path and ".lock", is held until
// Unlock or the end of the process, and stays: removing it would let two daemons
// lock two files of one name.
func Listen(path, group string) (*Listener, error) {
	gid, err := groupID(group)
	if err != nil {
		return nil, socketError(path, err)
	}
	if len(path) > config.MaxSocketPath {
		return nil, socketError(path, fmt.Errorf("the path has %d bytes and a unix socket takes %d at most; choose another with --socket", len(path), config.MaxSocketPath))
	}
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, socketError(path, err)
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return nil, socketError(path, err)
	}
	l, err := bind(path, gid)
	if err != nil {
		return nil, socketError(path, errors.Join(err, lock.Close()))
	}
	return &Listener{connections: connections{UnixListener: l}, lock: lock}, nil
}

// Unlock lets another daemon have the path. Close, which removes the socket,
// comes first: until all that this daemon holds is given back, the next one must
// wait.
func (l *Listener) Unlock() error { return l.lock.Close() }

// socketError says what to do about errors that come bare from the kernel.
func socketError(path string, err error) error {
	_, isPath := errors.AsType[*fs.PathError](err)
	_, isCall := errors.AsType[*os.SyscallError](err)
	fix := ""
	switch {
	case errors.Is(err, unix.ENOSPC):
		fix = "; make room there, or choose another path with --socket"
	case errors.Is(err, fs.ErrNotExist):
		fix = "; make the directory above it, or choose another path with --socket"
	case isPath || isCall:
		fix = "; choose another path with --socket"
	}
	return fmt.Errorf("control socket %s: %w%s", path, err, fix)
}

// CheckGroup says whether Listen can give the socket to the group.
func CheckGroup(group string) error {
	_, err := groupID(group)
	return err
}

// groupID returns -1 for no group.
func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q; name one that exists", group)
	}
	return strconv.Atoi(g.Gid)
}

// makeDir makes the socket's directory unless it is there. One that anybody
// could have made must turn out to be the user's own.
func makeDir(dir string) error {
	mode := fs.FileMode(0o755)
	if dir == ownTempDir() {
		mode = 0o700
	}
	err := os.Mkdir(dir, mode)
	if err == nil {
		err = os.Chmod(dir, mode) // The umask has had a say.
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if dir != ownTempDir() {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Mode != unix.S_IFDIR|0o700 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory that belongs to user %d with mode 0700; remove it, or set XDG_RUNTIME_DIR", dir, os.Geteuid())
	}
	return nil
}

// acquire locks the file for as long as it is open and leaves the pid in it.
func acquire(path string) (*os.File, error) {
	// Nobody else may open it, for whoever can open it can lock it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = lock(f)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// bind makes the socket. Nobody can connect before listen(2), and by then mode
// and group are as they shall be.
func bind(path string, gid int) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // FileListener has a descriptor of its own.
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	l, err := listen(f, path, gid)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return l, nil
}

func listen(f *os.File, path string, gid int) (*net.UnixListener, error) {
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // The group must be able to connect.
		return nil, err
	}
	if gid >= 0 {
		if err := os.Lchown(path, -1, gid); err != nil {
			return nil, err
		}
	}
	if err := unix.Listen(int(f.Fd()), unix.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(true)
	return u, nil
}

// removeStale removes the socket that a dead daemon has left. The caller holds
// the lock, but a program that knows nothing of it may serve the path.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name which is not a socket; remove it, or choose another path with --socket")
	}
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return errors.Join(errors.New("another program serves it; stop that one, or choose another path with --socket"), c.Close())
	case errors.Is(err, unix.ECONNREFUSED): // Nobody listens.
		return os.Remove(path)
	}
	return fmt.Errorf("find out whether it is in use: %w", err)
}
