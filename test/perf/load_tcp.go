package main

import (
	"errors"
	"fmt"
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
		unix.SetsockoptString(listener, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"),
		unix.Bind(listener, address(to.addr, port)), unix.Listen(listener, 1)); err != nil {
		return 0, 0, fmt.Errorf("listen at %s port %d: %w", to.addr, port, err)
	}
	client, err = l.socket(from, unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		return 0, 0, err
	}
	if err := unix.SetsockoptString(client, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic"); err != nil {
		return 0, 0, fmt.Errorf("use cubic: %w", err)
	}
	if err := persist(func() error { return unix.Connect(client, address(to.addr, port)) }); err != nil {
		return 0, 0, fmt.Errorf("connect %s to %s port %d: %w", from.addr, to.addr, port, err)
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

// bulk sends all it can over one TCP connection.
func (l *load) bulk(from, to *host, port int) error {
	client, server, err := l.streamTo(from, to, port)
	if err != nil {
		return err
	}
	got := add(&l.octets)
	l.send(func() error {
		data := make([]byte, bulkWrite)
		for l.sending.Load() {
			_, errno := transfer(unix.SYS_WRITE, client, data)
			if errno != 0 && !waits(errno) {
				return fmt.Errorf("write to a stream: %w", errno)
			}
		}
		return unix.Shutdown(client, unix.SHUT_WR)
	})
	l.receive(func() error {
		data := make([]byte, bulkWrite)
		for {
			n, errno := transfer(unix.SYS_READ, server, data)
			switch {
			case errno == 0 && n == 0:
				return nil
			case errno == 0:
				got.n.Add(uint64(n))
			case !waits(errno):
				return fmt.Errorf("read from a stream: %w", errno)
			case !l.receiving.Load():
				return nil
			}
		}
	})
	return nil
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
