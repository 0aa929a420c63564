package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	bulkWrite = 128 << 10 // bytes of one write and one read, as iperf3
	tripSize  = 64        // bytes of a request and of its response
	// maxTrips bounds the round trips that one load keeps the times of.
	maxTrips = 4 << 20
)

// streamTo connects two hosts by TCP. Both ends use cubic, whatever the
// machine's default is.
func (l *load) streamTo(from, to *host, port int) (client, server int, err error) {
	listener, err := l.socket(to, unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		return 0, 0, err
	}
	if err := errors.Join(
		// The connection of a measurement before may not be forgotten yet.
		unix.SetsockoptInt(listener, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptString(listener, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"),
		unix.Bind(listener, address(to.addr, port)), unix.Listen(listener, 1)); err != nil {
		return 0, 0, fmt.Errorf("listen at %s port %d: %w", to.addr, port, err)
	}
	if client, err = l.dial(from, to, port); err != nil {
		return 0, 0, err
	}
	err = persist(func() error {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("accept at %s: %w", to.addr, err)
	}
	l.fds = append(l.fds, server)
	return client, server, bound(server)
}

// dial connects a host to a port that another one listens at.
func (l *load) dial(from, to *host, port int) (int, error) {
	fd, err := l.socket(from, unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"); err != nil {
		return -1, fmt.Errorf("use cubic: %w", err)
	}
	if err := persist(func() error { return unix.Connect(fd, address(to.addr, port)) }); err != nil {
		return -1, fmt.Errorf("connect %s to %s port %d: %w", from.addr, to.addr, port, err)
	}
	return fd, nil
}

// persist repeats a call that has patience only, for as long as a segment may
// have to be sent again.
func persist(call func() error) error {
	for end := time.Now().Add(10 * time.Second); ; {
		err := call()
		if err == nil || err == unix.EISCONN {
			return nil
		}
		again := err == unix.EINPROGRESS || err == unix.EALREADY || err == unix.EAGAIN || err == unix.EINTR
		if !again || time.Now().After(end) {
			return err
		}
	}
}

// bulk sends all it can over some TCP connections, to ports from port on. One
// thread sends on all of them and one receives, as in iperf3 before 3.16: with
// more threads than CPUs a sender finds its receiver on its own CPU and the data
// in its cache, which flatters the bridge.
func (l *load) bulk(from, to *host, port, streams int) error {
	var clients, servers []unix.PollFd
	for i := range streams {
		client, server, err := l.streamTo(from, to, port+i)
		if err != nil {
			return err
		}
		if err := errors.Join(unix.SetNonblock(client, true), unix.SetNonblock(server, true)); err != nil {
			return err
		}
		clients = append(clients, unix.PollFd{Fd: int32(client), Events: unix.POLLOUT})
		servers = append(servers, unix.PollFd{Fd: int32(server), Events: unix.POLLIN})
	}
	got := add(&l.octets)
	l.send(func() error {
		err := pump(unix.SYS_WRITE, clients, &l.sending, nil)
		for _, c := range clients {
			err = errors.Join(err, unix.Shutdown(int(c.Fd), unix.SHUT_WR))
		}
		return err
	})
	l.receive(func() error { return pump(unix.SYS_READ, servers, &l.receiving, got) })
	return nil
}

// pump reads or writes whatever of the sockets is ready, one call each in turn,
// as long as goOn is set and, of readers, until every stream has ended.
func pump(call uintptr, sockets []unix.PollFd, goOn *atomic.Bool, octets *count) error {
	data := make([]byte, bulkWrite)
	for open := len(sockets); open > 0; {
		if poll(sockets) == 0 && !goOn.Load() {
			return nil
		}
		for i := range sockets {
			s := &sockets[i]
			if s.Revents == 0 {
				continue
			}
			n, errno := transfer(call, int(s.Fd), data)
			switch {
			case errno == 0 && n == 0:
				s.Fd = -1 // poll passes over it.
				open--
			case errno == 0 && octets != nil:
				octets.n.Add(uint64(n))
			case errno != 0 && !waits(errno):
				return fmt.Errorf("bulk traffic: %w", errno)
			}
		}
		if call == unix.SYS_WRITE && !goOn.Load() {
			return nil
		}
	}
	return nil
}

// poll waits for one of the sockets to be ready, patience at most, and returns
// how many are.
func poll(sockets []unix.PollFd) int {
	ts := unix.NsecToTimespec(int64(patience))
	n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(unsafe.SliceData(sockets))), uintptr(len(sockets)),
		uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// roundTrips sends a request over TCP, waits for the response, and so on.
func (l *load) roundTrips(from, to *host, port int) error {
	client, server, err := l.streamTo(from, to, port)
	if err != nil {
		return err
	}
	for _, fd := range []int{client, server} {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			return fmt.Errorf("send small segments at once: %w", err)
		}
	}
	l.trips = make([]uint32, maxTrips)
	done := add(&l.delivered)
	l.send(func() error {
		data := make([]byte, tripSize)
		last := time.Now()
		for i := 0; l.sending.Load() && i < len(l.trips); i++ {
			if ok, err := l.all(unix.SYS_WRITE, client, data); !ok {
				return err
			}
			if ok, err := l.all(unix.SYS_READ, client, data); !ok {
				return err
			}
			now := time.Now()
			l.trips[i] = uint32(now.Sub(last))
			last = now
			done.n.Add(1)
		}
		return unix.Shutdown(client, unix.SHUT_WR)
	})
	l.receive(func() error {
		data := make([]byte, tripSize)
		for {
			if ok, err := l.all(unix.SYS_READ, server, data); !ok {
				return err
			}
			if ok, err := l.all(unix.SYS_WRITE, server, data); !ok {
				return err
			}
		}
	})
	return nil
}

// all reads or writes all of data. It is false at the end of the stream, when
// the load is to end, and on an error.
func (l *load) all(call uintptr, fd int, data []byte) (bool, error) {
	for len(data) > 0 {
		n, errno := transfer(call, fd, data)
		switch {
		case errno == 0 && n == 0:
			return false, nil
		case errno == 0:
			data = data[n:]
		case !waits(errno):
			return false, fmt.Errorf("request or response: %w", errno)
		case !l.receiving.Load():
			return false, nil
		}
	}
	return true, nil
}

// transfer is read(2) or write(2).
func transfer(call uintptr, fd int, data []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)))
	return int(n), errno
}
