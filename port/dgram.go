package port

import (
	"encoding/binary"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// DgramConfig says where a Dgram meets its station.
type DgramConfig struct {
	Listen string // path of a socket to make, to which the station sends
	Dial   string // path of the station's socket
	MTU    int    // bytes; only what Link says, nobody can be told of it
}

// Dgram is a Port over a unix datagram socket, a frame in each datagram, as
// QEMU's `-netdev dgram` has it. Its link is up while the station's socket is
// there. It is connected to that one, so that the kernel lets nobody else send
// to it. Frames owe no offload work, in either direction.
//
// Transmit copies frames into a queue of fixed size, which a goroutine sends
// from: a datagram socket takes no more than net.unix.max_dgram_qlen datagrams.
// A frame counts as transmitted once it is in there; those that find the
// station gone are SocketInfo.Lost.
type Dgram struct {
	socket
	listen string
	file   *os.File
	conn   syscall.RawConn
	look   chan struct{} // holds a token if the station may have come or gone
	every  time.Duration // looked for without a reason

	batch *frame.Batch          // ReadBatch's
	rxErr syscall.Errno         // of the last read that failed
	fill  func(fd uintptr) bool // readAll, made once
	rest  []byte                // the writer's: what is yet to be sent
	send  func(fd uintptr) bool // sendAll, made once

	receiveErrors, tooLong atomic.Uint64
}

var _ Port = (*Dgram)(nil)

// OpenDgram makes a Dgram and its socket, with mode 0660. A socket at that path
// that nobody has open is replaced. The link is down before Start.
func OpenDgram(cfg DgramConfig) (*Dgram, error) {
	f, err := bindSocket(cfg.Listen, unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	d := &Dgram{listen: cfg.Listen, file: f, look: make(chan struct{}, 1), every: lookAgain}
	d.fill, d.send = d.readAll, d.sendAll
	if d.conn, err = f.SyscallConn(); err != nil {
		return nil, err
	}
	d.init(cfg.Dial, cfg.MTU)
	return d, nil
}

// Start looks for the station. Whenever the link goes up or down it calls
// report, one call at a time. Called at most once, and not after Close.
func (d *Dgram) Start(report func(Link)) {
	d.running.Go(d.write)
	d.running.Go(func() { d.run(report) })
}

// Close ends a waiting ReadBatch and removes the socket. It waits for a report
// under way. A second Close returns os.ErrClosed.
func (d *Dgram) Close() error {
	if d.ctx.Err() != nil {
		return os.ErrClosed
	}
	d.cancel()
	err := os.Remove(d.listen)
	_ = d.file.Close() // What is in it is lost either way.
	d.running.Wait()
	return err
}

// Info returns what became of the meetings with the station.
func (d *Dgram) Info() SocketInfo {
	i := d.info()
	i.TooLong = d.tooLong.Load()
	return i
}

// ReceiveErrors returns how many reads have failed or brought no frame.
func (d *Dgram) ReceiveErrors() uint64 { return d.receiveErrors.Load() + d.tooLong.Load() }

// ReadBatch is described at Receiver. The device of a Dgram never goes away. A
// datagram that is no frame is one to the books too, unless it is too long.
func (d *Dgram) ReadBatch(b *frame.Batch) error {
	b.N = 0
	d.batch = b
	for pause := minBackoff; ; pause = min(2*pause, maxBackoff) {
		d.rxErr = 0
		if d.conn.Read(d.fill) != nil && d.ctx.Err() == nil {
			// The runtime does not wait for a descriptor that has reported an
			// error, as when the station connects elsewhere. Reading clears it.
			_ = d.conn.Control(func(fd uintptr) { d.readAll(fd) })
		}
		switch {
		case b.N > 0:
			if !d.up.Load() {
				d.lookUp() // Who sends is there.
			}
			return nil
		case d.ctx.Err() != nil || d.rxErr != 0 && !d.sleep(pause):
			return os.ErrClosed
		}
	}
}

// readAll is called by the runtime while it holds the descriptor open. False
// asks it to wait until there is something to read. A station that sends what is
// too long without end does not keep it here.
func (d *Dgram) readAll(fd uintptr) bool {
	b := d.batch
	for range frame.BatchSize {
		// One byte more than a frame can have shows that there were more.
		slot := b.Slot(b.N)[:frame.MaxTaggedLen+1]
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&slot[0])), uintptr(len(slot)))
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return b.N > 0
		case errno != 0:
			d.rxErr = errno
			d.receiveErrors.Add(1)
			return true
		case n > frame.MaxTaggedLen:
			d.tooLong.Add(1)
		default:
			f := &b.Frames[b.N]
			f.Bytes, f.Headroom, f.Offload = slot[:n:n], 0, frame.Offload{}
			b.N++
		}
	}
	return true
}

// write sends what is in the queue until Close.
func (d *Dgram) write() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.out.wake:
		}
		d.rest = d.out.take()
		_ = d.conn.Write(d.send) // It fails after Close only.
	}
}

// sendAll is called by the runtime as readAll is. False asks it to wait until
// the station has taken something.
func (d *Dgram) sendAll(fd uintptr) bool {
	for len(d.rest) > 0 {
		end := lengthLen + int(binary.BigEndian.Uint32(d.rest))
		f := d.rest[lengthLen:end]
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&f[0])), uintptr(len(f)))
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		case 0:
		default:
			d.lost.Add(1)
			d.lookUp()
		}
		d.rest = d.rest[end:]
	}
	return true
}
