package port

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// How often a Dgram looks whether its station's socket is there: the kernel
	// tells nobody when one goes.
	lookAgain = 500 * time.Millisecond
	// The least between two looks, whatever gives reason for them.
	lookPause = 10 * time.Millisecond
)

// lookUp asks run to look for the station now.
func (d *Dgram) lookUp() {
	select {
	case d.look <- struct{}{}:
	default:
	}
}

// run keeps the socket connected to what is at the station's path, until Close.
func (d *Dgram) run(report func(Link)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.ctx.Done():
			if d.up.Load() {
				d.lose(report)
			}
			return
		case <-timer.C:
		case <-d.look:
		}
		d.meet(d.connect(), report)
		if d.sleep(lookPause) {
			timer.Reset(d.every)
		}
	}
}

// connect connects to what is at the path now, which may be what was there
// before. Datagrams of the one before are thrown away by the kernel.
func (d *Dgram) connect() (err error) {
	closed := d.conn.Control(func(fd uintptr) { err = unix.Connect(int(fd), &unix.SockaddrUnix{Name: d.path}) })
	if closed != nil {
		return closed
	}
	return os.NewSyscallError("connect to "+d.path, err)
}

// meet takes the outcome of a look to the link.
func (d *Dgram) meet(err error, report func(Link)) {
	switch {
	case d.ctx.Err() != nil:
	case err == nil && !d.up.Load():
		d.failure.Store(nil)
		d.connections.Add(1)
		d.out.begin()
		d.setUp(true, report)
	case err != nil:
		d.failure.Store(&err)
		if !d.up.Load() {
			return
		}
		why := EndError
		if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
			why = EndClosed
		}
		d.ended[why].Add(1)
		d.lose(report)
	}
}

func (d *Dgram) lose(report func(Link)) {
	d.lost.Add(d.out.finish())
	d.setUp(false, report)
}
