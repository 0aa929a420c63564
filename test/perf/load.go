package main

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A load is traffic under way between hosts of a network. Its threads make bare
// system calls that block, as a program in C does: the Go scheduler is in
// nobody's way, because main gives every thread a P and runs no collector.
type load struct {
	begun     sync.Once
	gate      chan struct{} // closed once all is set up
	sending   atomic.Bool   // senders go on while it is set
	receiving atomic.Bool   // receivers give up, once nothing comes, when it is not
	senders   sync.WaitGroup
	receivers sync.WaitGroup
	failed    atomic.Pointer[error]

	sent      []*count // frames or datagrams handed to the kernel
	refused   []*count // those that it did not take
	delivered []*count
	octets    []*count // of those delivered
	trips     []uint32 // round-trip times in ns; nil for other loads
	fds       []int
}

// count is one thread's, in cache lines of its own.
type count struct {
	n atomic.Uint64
	_ [120]byte
}

func total(counts []*count) (sum uint64) {
	for _, c := range counts {
		sum += c.n.Load()
	}
	return sum
}

func newLoad() *load {
	l := &load{gate: make(chan struct{})}
	l.sending.Store(true)
	l.receiving.Store(true)
	return l
}

// begin sets off the threads, which send and receive have prepared.
func (l *load) begin() { l.begun.Do(func() { close(l.gate) }) }

// add makes a counter in one of the load's lists.
func add(list *[]*count) *count {
	c := &count{}
	*list = append(*list, c)
	return c
}

func (l *load) send(f func() error)    { l.thread(&l.senders, f) }
func (l *load) receive(f func() error) { l.thread(&l.receivers, f) }

func (l *load) thread(group *sync.WaitGroup, f func() error) {
	group.Go(func() {
		<-l.gate
		if err := f(); err != nil {
			l.failed.CompareAndSwap(nil, &err)
		}
	})
}

// stopSending returns once no sender is at work any more.
func (l *load) stopSending() {
	l.sending.Store(false)
	l.senders.Wait()
}

// end stops everything and returns the first error of any thread. The load may
// have ended already, or not have begun.
func (l *load) end() error {
	l.begin()
	l.stopSending()
	l.receiving.Store(false)
	l.receivers.Wait()
	for _, fd := range l.fds {
		_ = unix.Close(fd) // Nothing is left in it that would be missed.
	}
	l.fds = nil
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// patience is how long a thread stays in a system call before it looks whether
// it is to end.
const patience = 100 * time.Millisecond

// socket makes a socket of the host that the load closes at its end. Calls on
// it block for patience at most.
func (l *load) socket(h *host, domain, typ int) (fd int, err error) {
	err = h.ns.Do(func() error {
		fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	l.fds = append(l.fds, fd)
	return fd, bound(fd)
}

func bound(fd int) error {
	tv := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return fmt.Errorf("bound the time of a read: %w", err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return fmt.Errorf("bound the time of a write: %w", err)
	}
	return nil
}

func address(a netip.Addr, port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.As4(), Port: port}
}

// waits tells whether a system call ended for a reason to try it again.
func waits(errno unix.Errno) bool {
	return errno == unix.EAGAIN || errno == unix.EINTR || errno == unix.ENOBUFS
}
