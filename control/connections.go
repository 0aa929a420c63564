package control

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// connections accepts MaxConnections at a time. One more takes the place of
// another on which no request is being carried out, the oldest of the process
// that has most of them open: a client that connects again and again, says
// nothing or does not read the answers, keeps nobody else out.
type connections struct {
	*net.UnixListener

	mu   sync.Mutex
	open []*connection // by age
}

// connection is one client's.
type connection struct {
	*net.UnixConn
	from *connections
	// uid and pid are the client's as it connected; -1 and 0 if unknown.
	uid, pid int
	busy     bool // a request is being carried out; guarded by from.mu
}

// Accept implements net.Listener.
func (cs *connections) Accept() (net.Conn, error) {
	for {
		u, err := cs.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			return nil, passing{err}
		}
		c := &connection{UnixConn: u, from: cs}
		c.uid, c.pid = peer(u)
		if cs.admit(c) {
			return c, nil
		}
		_ = u.Close() // Nothing was written to it.
	}
}

// passing is an error after which net/http tries again, with pauses of up to a
// second: that nobody can connect for want of memory must not end the switch.
type passing struct{ error }

func (passing) Timeout() bool   { return false }
func (passing) Temporary() bool { return true }

// admit makes room for c, unless every other connection is busy.
func (cs *connections) admit(c *connection) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.open) >= MaxConnections {
		i := cs.dispensable()
		if i < 0 {
			return false
		}
		_ = cs.open[i].UnixConn.Close() // Its owner is told by the next read.
		cs.open = slices.Delete(cs.open, i, i+1)
	}
	cs.open = append(cs.open, c)
	return true
}

// dispensable returns the index of the connection that has to make room, or -1.
// The caller holds mu.
func (cs *connections) dispensable() int {
	share := map[int]int{} // by pid
	for _, c := range cs.open {
		share[c.pid]++
	}
	found := -1
	for i, c := range cs.open {
		if !c.busy && (found < 0 || share[c.pid] > share[cs.open[found].pid]) {
			found = i
		}
	}
	return found
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.from.mu.Lock()
	c.from.open = slices.DeleteFunc(c.from.open, func(o *connection) bool { return o == c })
	c.from.mu.Unlock()
	return c.UnixConn.Close()
}

// begin says that a request is going to be carried out, or false if the
// connection has had to make room.
func (c *connection) begin() bool {
	c.from.mu.Lock()
	defer c.from.mu.Unlock()
	c.busy = slices.Contains(c.from.open, c)
	return c.busy
}

// end says that only the answer is left to be sent.
func (c *connection) end() {
	c.from.mu.Lock()
	defer c.from.mu.Unlock()
	c.busy = false
}

// peer asks the kernel who connected.
func peer(u *net.UnixConn) (uid, pid int) {
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, 0
	}
	var cred *unix.Ucred
	failed := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if failed != nil || err != nil {
		return -1, 0
	}
	return int(cred.Uid), int(cred.Pid)
}

type connectionKey struct{}

func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// connectionOf returns the connection of a request that came by a Listener.
func connectionOf(ctx context.Context) *connection {
	return ctx.Value(connectionKey{}).(*connection)
}
