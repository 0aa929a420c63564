package main

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// discarded sends all it can to a guest, which reads it. What the sender's socket has
// taken counts: once it is full, that is what the guest has taken too.
func (l *load) discarded(from, to *host) error {
	stream, err := l.guestStream(from, to, discardPort, unix.POLLOUT)
	if err != nil {
		return err
	}
	got := add(&l.octets)
	l.send(func() error { return pump(unix.SYS_WRITE, stream, &l.sending, got) })
	return nil
}

// generated reads what a guest sends, which is all it can.
func (l *load) generated(to, from *host) error {
	stream, err := l.guestStream(to, from, chargenPort, unix.POLLIN)
	if err != nil {
		return err
	}
	got, fd := add(&l.octets), int(stream[0].Fd)
	l.send(func() error { // That is, have it sent.
		for l.sending.Load() {
			time.Sleep(patience / 10)
		}
		return unix.Shutdown(fd, unix.SHUT_RDWR)
	})
	l.receive(func() error { return pump(unix.SYS_READ, stream, &l.receiving, got) })
	return nil
}

// guestStream connects a host to a guest, which has been asked for all that it can
// do once the load begins.
func (l *load) guestStream(h, of *host, port int, events int16) ([]unix.PollFd, error) {
	fd, err := l.dial(h, of, port)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("have a socket not block: %w", err)
	}
	return []unix.PollFd{{Fd: int32(fd), Events: events}}, nil
}
