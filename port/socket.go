package port

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const listenOn = "listen on" // Error.Op

// socket is what ports over a unix socket have in common: a queue towards the
// station, and a link that is no interface of the kernel.
type socket struct {
	path    string          // names it to people
	ctx     context.Context //nolint:containedctx // It ends with Close, as the goroutines that Start begins.
	cancel  context.CancelFunc
	running sync.WaitGroup

	out outQueue

	mtu         atomic.Int64
	up          atomic.Bool
	connections atomic.Uint64
	lost        atomic.Uint64
	ended       [NumEnds]atomic.Uint64
	failure     atomic.Pointer[error] // of the last try to connect
}

// init prepares the zero value.
func (s *socket) init(path string, mtu int) {
	s.path, s.out = path, newOutQueue()
	s.mtu.Store(int64(mtu))
	s.ctx, s.cancel = context.WithCancel(context.Background())
}

// SocketInfo is what became of the connections of a port over a socket.
type SocketInfo struct {
	Connected   bool
	Connections uint64 // ever made
	Refused     uint64 // closed at once because another one was served
	Ended       [NumEnds]uint64
	Lost        uint64 // frames or segments transmitted into a connection that ended first
	TooLong     uint64 // datagrams longer than any frame, which were not received
	Failure     error  // why the last try to connect failed; nil if it did not
}

func (s *socket) info() SocketInfo {
	i := SocketInfo{Connected: s.up.Load(), Connections: s.connections.Load(), Lost: s.lost.Load()}
	for e := range s.ended {
		i.Ended[e] = s.ended[e].Load()
	}
	if err := s.failure.Load(); err != nil {
		i.Failure = *err
	}
	return i
}

// Link returns the state of the link, which is no kernel interface: it has an
// MTU, and is up while a station is connected.
func (s *socket) Link() (Link, error) {
	return Link{NSID: OwnNSID, MTU: int(s.mtu.Load()), Up: s.up.Load(), AdminUp: true}, nil
}

// SetLink changes the MTU, all that can be changed.
func (s *socket) SetLink(c LinkChange) error {
	if c.MAC != nil || c.TxQLen != nil || c.Up != nil {
		return &Error{
			Op: "change the link of", Name: s.path, Why: "a socket has an MTU only", Err: ErrNotSupported,
			Fix: "set the address at the station; to stop the port, set its state to discarding",
		}
	}
	if c.MTU != nil {
		s.mtu.Store(int64(*c.MTU))
	}
	return nil
}

func (s *socket) setUp(up bool, report func(Link)) {
	s.up.Store(up)
	link, _ := s.Link() // It cannot fail.
	report(link)
}

// sleep returns false at once if the port is closed meanwhile.
func (s *socket) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
		return false
	case <-timer.C:
		return s.ctx.Err() == nil
	}
}

// bindSocket makes a socket at path, with mode 0660, in place of one that a
// dead process has left. typ is that of socket(2).
func bindSocket(path string, typ int) (*os.File, error) {
	if err := clearStale(path, typ); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, failed(listenOn, path, "socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	// bind takes the mode from here, less the umask, so that at no time others
	// may send.
	if err := errors.Join(unix.Fchmod(fd, 0o660), unix.Bind(fd, &unix.SockaddrUnix{Name: path})); err != nil {
		_ = f.Close() // Nobody has used it.
		return nil, socketError(path, "bind", err)
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // The group must be able to connect.
		return nil, errors.Join(socketError(path, "chmod", err), os.Remove(path), f.Close())
	}
	return f, nil
}

// clearStale removes a socket at path that a dead process has left.
func clearStale(path string, typ int) error {
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
	network := "unix"
	if typ == unix.SOCK_DGRAM {
		network = "unixgram"
	}
	c, err := net.Dial(network, path)
	switch {
	case errors.Is(err, unix.ECONNREFUSED): // Nobody listens.
		if err := os.Remove(path); err != nil {
			return socketError(path, "remove what a dead process has left", err)
		}
		return nil
	case err == nil:
		_ = c.Close() // It was a question only.
		fallthrough
	// Its queue is full, it serves its own peer only, it is of another type.
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EPERM), errors.Is(err, unix.EPROTOTYPE):
		return &Error{Op: listenOn, Name: path, Why: "another program listens there", Fix: "stop that one, or choose another path", Err: ErrBusy}
	}
	return socketError(path, "find out whether it is in use", err)
}

func socketError(path, step string, err error) *Error {
	e := &Error{Op: listenOn, Name: path, Why: step + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, fs.ErrPermission):
		e.Err = ErrPermission
		e.Fix = "let the daemon's user write to the directory; once started, the daemon makes sockets below /run, /tmp and /var only and where it has made others at the start: choose such a path, or put the port into the startup file and restart"
	case errors.Is(err, fs.ErrNotExist):
		e.Fix = "make the directory first"
	}
	return e
}
