package port

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	minRedial = 100 * time.Millisecond
	maxRedial = 5 * time.Second

	// How long a station that connects may wait for the one before it to be seen
	// to have gone: a VMM that is restarted finds its port again.
	handover = 200 * time.Millisecond
)

// run takes connections one after the other until Close.
func (s *Stream) run(report func(Link)) {
	for pause := time.Duration(0); ; {
		conn := s.next(pause)
		if conn == nil {
			return
		}
		began := time.Now()
		s.serve(conn, report)
		// A station that hangs up on us at once is not pestered.
		if pause = min(max(2*pause, minRedial), maxRedial); time.Since(began) > maxRedial {
			pause = minRedial
		}
	}
}

// serve is the life of one connection.
func (s *Stream) serve(conn net.Conn, report func(Link)) {
	c := &connection{Conn: conn, done: make(chan struct{})}
	defer context.AfterFunc(s.ctx, func() { s.end(c, EndClosed) })()
	s.connections.Add(1)
	s.out.begin()
	s.setUp(true, report)
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		s.write(c)
	}()
	select {
	case s.arrived <- c:
	case <-c.done:
	}
	<-c.done
	<-writer
	s.lost.Add(s.out.finish())
	s.setUp(false, report)
}

// next returns the next connection, or nil after Close. Dialling begins after
// the pause.
func (s *Stream) next(pause time.Duration) net.Conn {
	if s.listener == nil {
		return s.dial(pause)
	}
	select {
	case conn := <-s.clients:
		return conn
	case <-s.ctx.Done():
		return nil
	}
}

func (s *Stream) dial(pause time.Duration) net.Conn {
	var d net.Dialer
	for s.sleep(pause) {
		conn, err := d.DialContext(s.ctx, "unix", s.path)
		if err == nil {
			s.failure.Store(nil)
			return conn
		}
		s.failure.Store(&err)
		pause = min(max(2*pause, minRedial), maxRedial)
	}
	return nil
}

// accept hands stations to run. One that comes while another is served is
// turned away.
func (s *Stream) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // No file descriptor is left, say.
			s.failure.Store(&err)
			s.sleep(minRedial)
			continue
		}
		limit := time.NewTimer(handover)
		select {
		case s.clients <- conn:
		case <-limit.C:
			s.refused.Add(1)
			_ = conn.Close() // Nobody is left to be told.
		case <-s.ctx.Done():
			_ = conn.Close()
		}
		limit.Stop()
	}
}

// listenStream makes a socket at path that listens.
func listenStream(path string) (*net.UnixListener, error) {
	f, err := bindSocket(path, unix.SOCK_STREAM)
	if err != nil {
		return nil, err
	}
	defer f.Close() // FileListener has a descriptor of its own.
	err = unix.Listen(int(f.Fd()), unix.SOMAXCONN)
	var l net.Listener
	if err == nil {
		l, err = net.FileListener(f)
	}
	if err != nil {
		return nil, errors.Join(socketError(path, "listen", err), os.Remove(path))
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(true)
	return u, nil
}
