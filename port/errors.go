package port

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// What an Error is about, for errors.Is. Beside these there are os.ErrInvalid
// for a value that no link can have and os.ErrNotExist for a network namespace
// that is not there.
var (
	ErrExists       = errors.New("exists already")
	ErrBusy         = errors.New("in use")
	ErrNotSupported = errors.New("not supported")
	ErrPermission   = errors.New("permission denied")
)

// Error says what could not be done, why, and what to do about it.
type Error struct {
	Op   string // what was tried, such as "open TAP"
	Name string // to which object: a link or a network namespace
	Why  string
	Fix  string // what to do; may be empty
	Err  error  // one of the errors above or the kernel's
}

// Error returns all of it in one line.
func (e *Error) Error() string {
	s := e.Op + " " + strconv.Quote(e.Name) + ": " + e.Why
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

func invalid(op, name, why, fix string) *Error {
	return &Error{Op: op, Name: name, Why: why, Fix: fix, Err: os.ErrInvalid}
}

// failed explains an error of the kernel for which there is nothing more to say
// than which step it came from.
func failed(op, name, step string, err error) *Error {
	e := &Error{Op: op, Name: name, Why: step + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Err = ErrPermission
		e.Fix = "run as root or with CAP_NET_ADMIN (and CAP_SYS_ADMIN for other network namespaces)"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		e.Fix = moreFiles
	}
	return e
}

const moreFiles = "raise the daemon's limit of open files (LimitNOFILE, ulimit -n)"

// deviceError explains why /dev/net/tun does not open.
func deviceError(name string, err error) *Error {
	e := &Error{Op: "open TAP", Name: name, Why: tunDevice + ": " + err.Error(), Err: err}
	switch err {
	case unix.ENOENT, unix.ENODEV, unix.ENXIO:
		e.Err = ErrNotSupported
		e.Fix = "load the module (modprobe tun) or, in a container, pass the device in (--device " + tunDevice + ")"
	case unix.EACCES:
		e.Err = ErrPermission
		e.Fix = "allow it with chmod 0666 " + tunDevice + ` and, for good, the udev rule KERNEL=="tun", MODE="0666"`
	case unix.EPERM:
		// The mode of the file was not the reason, so it is the cgroup's list.
		e.Err = ErrPermission
		e.Fix = "let the container or unit use the device (--device " + tunDevice + ", DeviceAllow=" + tunDevice + " rw)"
	case unix.EMFILE, unix.ENFILE:
		e.Fix = moreFiles
	}
	return e
}
