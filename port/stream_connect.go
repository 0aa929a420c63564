package port

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	minRedial = 100 * time.Millisecond
	maxRedial = 5 * time.Second

	listenOn = "listen on" // Error.Op

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

func (s *Stream) setUp(up bool, report func(Link)) {
	s.up.Store(up)
	link, _ := s.Link() // It cannot fail.
	report(link)
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
		conn, err := d.DialContext(s.ctx, "unix", s.cfg.Dial)
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

// sleep returns false at once if the stream is closed meanwhile.
func (s *Stream) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return s.ctx.Err() == nil
	}
}

// listenStream makes a socket at path. Nobody can connect before listen(2), and
// by then the mode is as it shall be.
func listenStream(path string) (*net.UnixListener, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, failed(listenOn, path, "socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() // FileListener has a descriptor of its own.
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, socketError(path, "bind", err)
	}
	err = os.Chmod(path, 0o660) //nolint:gosec // The group must be able to connect.
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
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

// clearStale removes a socket at path that a dead process has left.
func clearStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return socketError(path, "look at it", err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return &Error{Op: listenOn, Name: path, Why: "there is a file of that name which is not a socket", Fix: "remove it, or choose another path", Err: ErrExists}
	}
	c, err := net.Dial("unix", path)
	switch {
	case errors.Is(err, unix.ECONNREFUSED): // Nobody listens.
		if err := os.Remove(path); err != nil {
			return socketError(path, "remove what a dead process has left", err)
		}
		return nil
	case err == nil:
		_ = c.Close() // It was a question only.
		fallthrough
	case errors.Is(err, unix.EAGAIN): // Its queue is full.
		return &Error{Op: listenOn, Name: path, Why: "another program listens there", Fix: "stop that one, or choose another path", Err: ErrBusy}
	}
	return socketError(path, "find out whether it is in use", err)
}

func socketError(path, step string, err error) *Error {
	e := &Error{Op: listenOn, Name: path, Why: step + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Err, e.Fix = ErrPermission, "let the daemon's user write to the directory, or choose another path"
	case errors.Is(err, fs.ErrNotExist):
		e.Fix = "make the directory first"
	}
	return e
}
