// Package netns makes network namespaces for tests and the demo. They are held
// by file descriptors alone: nothing is mounted under /run/netns, and however
// the process ends, its namespaces end with it.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// NS is a network namespace of this process, made by New. Its methods are safe
// for concurrent use, except that nothing may use it after Close.
type NS struct {
	// A bare number: an os.File would be closed by the garbage collector while
	// somebody still has its Path.
	fd int

	once   sync.Once
	thread int           // in the namespace; 0 before PID
	leave  chan struct{} // ends it
	left   chan struct{}
}

// New makes a network namespace with its loopback interface up. It needs
// CAP_SYS_ADMIN, which Isolate provides.
func New() (*NS, error) {
	ns := &NS{fd: -1, leave: make(chan struct{}), left: make(chan struct{})}
	err := detour(unshare, func() (err error) {
		if ns.fd, err = openOwn(); err != nil {
			return err
		}
		return loopbackUp()
	})
	if err != nil {
		ns.Close()
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	return ns, nil
}

// Path names the namespace for anything that takes the path of one, such as
// netns: in a configuration, in this process or in one that may trace it. It
// is good until Close.
func (ns *NS) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.fd)
}

// PID is the number of a thread that stays in the namespace until Close. It names
// the namespace for a process that may not look into this one's descriptors, such
// as a daemon that has confined itself.
func (ns *NS) PID() string {
	ns.once.Do(func() {
		here := make(chan int)
		go func() {
			defer close(ns.left)
			runtime.LockOSThread() // For good: the thread ends with the goroutine.
			if unix.Setns(ns.fd, unix.CLONE_NEWNET) != nil {
				here <- 0
				return
			}
			here <- unix.Gettid()
			<-ns.leave
		}()
		ns.thread = <-here
	})
	return strconv.Itoa(ns.thread)
}

// Do runs f inside the namespace, on the caller's goroutine, and returns its
// error. Goroutines that f starts run outside. Sockets that f opens belong to
// the namespace for good; other code that wants this process's own namespace
// must not look at /proc/self/ns/net meanwhile, which is the main thread's, and
// that may be the one running f.
func (ns *NS) Do(f func() error) error {
	return detour(func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns.Path(), err)
		}
		return nil
	}, f)
}

// Close lets go of the namespace. The kernel ends it, with every interface in
// it that was made there, once no process, socket or other descriptor is left
// in it either.
func (ns *NS) Close() {
	ns.once.Do(func() { close(ns.left) })
	if ns.fd >= 0 {
		close(ns.leave)
		<-ns.left
		_ = unix.Close(ns.fd) // A descriptor of nsfs has nothing to flush, so nothing to fail.
		ns.fd = -1
	}
}

// detour locks the goroutine to its thread, lets enter move the thread to
// another namespace, runs f there and takes the thread home again, also when f
// panics or ends the goroutine, as (*testing.T).Fatal does.
func detour(enter, f func() error) (err error) {
	runtime.LockOSThread()
	home, err := openOwn()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() {
		defer unix.Close(home)
		if e := unix.Setns(home, unix.CLONE_NEWNET); e != nil {
			// The thread stays locked, so that the runtime ends it together
			// with this goroutine and nobody else is ever run in the wrong
			// namespace.
			err = errors.Join(err, fmt.Errorf("return to the own network namespace: %w", e))
			return
		}
		runtime.UnlockOSThread()
	}()
	if err := enter(); err != nil {
		return err
	}
	return f()
}

func unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	return nil
}

// openOwn opens the namespace that the calling thread is in.
func openOwn() (int, error) {
	const own = "/proc/thread-self/ns/net"
	fd, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", own, err)
	}
	return fd, nil
}

// loopbackUp does what `ip link set lo up` does, in the calling thread's
// namespace. An ioctl is enough for that and spares the import of netlink.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set the loopback interface up: socket: %w", err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	return nil
}
