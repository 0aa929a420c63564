package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/control"
)

// Dir is the directory of a lab that is up: the lock that there is but one of the
// name, and its sockets. Nothing in it is of use to the next lab.
type Dir struct {
	Path string
	lock *os.File // the directory itself
}

// ErrUp says that a lab of the name is up.
var ErrUp = errors.New("it is up already")

const (
	// dying is how long a lab that was killed may still have the lock, while the
	// kernel takes its links away.
	dying      = 5 * time.Second
	dyingPause = 20 * time.Millisecond
)

// Path returns where the directory of the user's lab of that name is: below
// /run for root, else below $XDG_RUNTIME_DIR or that for temporary files.
func Path(name string) string {
	const dir = "vswitchd-lab"
	uid := control.UID()
	if uid == 0 {
		return filepath.Join("/run", dir, name)
	}
	if run := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) {
		return filepath.Join(run, dir, name)
	}
	return filepath.Join(os.TempDir(), dir+"-"+strconv.Itoa(uid), name)
}

// Acquire makes the directory at path, of a lab that is not up, and clears away
// what one that was killed has left there.
func Acquire(path string) (*Dir, error) {
	for until := time.Now().Add(dying); ; time.Sleep(dyingPause) {
		d, err := lockDir(path)
		// One that ends takes the directory along.
		if err == nil || !errors.Is(err, ErrUp) && !errors.Is(err, fs.ErrNotExist) {
			return d, err
		}
		if _, down := Query(path); down == nil || time.Now().After(until) {
			return nil, err
		}
	}
}

func lockDir(path string) (*Dir, error) {
	for _, dir := range []string{filepath.Dir(path), path} {
		if err := makeOwn(dir); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	d := &Dir{path, f}
	if err := d.take(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// take locks the directory, makes sure that it is still the one at the path, and
// empties it.
func (d *Dir) take() error {
	err := unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrUp
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", d.Path, err)
	}
	locked, err := d.lock.Stat()
	if err != nil {
		return err
	}
	now, err := os.Lstat(d.Path)
	if err == nil && !os.SameFile(locked, now) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return err
	}
	return d.clear()
}

// makeOwn makes a directory for this user alone unless it is there. One that
// anybody could have made must turn out to be that.
func makeOwn(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if st.Mode != unix.S_IFDIR|0o700 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not a directory of this user with mode 0700; remove it, or set XDG_RUNTIME_DIR", dir)
	}
	return nil
}

func (d *Dir) clear() error {
	entries, err := os.ReadDir(d.Path)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(d.Path, e.Name())))
	}
	return err
}

// Remove removes the directory and all in it, and lets another lab have the name.
func (d *Dir) Remove() error {
	err := os.RemoveAll(d.Path)
	_ = os.Remove(filepath.Dir(d.Path)) // Unless there are other labs.
	return errors.Join(err, d.lock.Close())
}

func (d *Dir) file(name string) string { return filepath.Join(d.Path, name) }

// Socket is the path of the control socket of the lab's switch.
func (d *Dir) Socket() string { return d.file("control.sock") }
