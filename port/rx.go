package port

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// How long ReadBatch stays away from a TAP that answers reads with an error.
const (
	minBackoff = time.Millisecond
	maxBackoff = 100 * time.Millisecond
)

// ReadBatch is described at Receiver. A read that fails, or that brings less
// than a virtio_net_hdr, is counted in ReceiveErrors and tried again; if there
// was nothing else to return, after a pause of 1 to 100 ms.
func (t *TAP) ReadBatch(b *frame.Batch) error {
	b.N = 0
	t.batch = b
	for pause := minBackoff; ; pause = min(2*pause, maxBackoff) {
		t.rxErr = 0
		err := t.conn.Read(t.fill)
		if err != nil && t.closed.Load() {
			return os.ErrClosed
		}
		if err != nil {
			// The runtime no longer waits for a descriptor that has reported an
			// error (EPOLLERR). The kernel says which.
			err = t.conn.Control(func(fd uintptr) { t.readAll(fd) })
		}
		if err != nil {
			return os.ErrClosed
		}
		if b.N > 0 {
			return nil
		}
		if t.rxErr == unix.EBADFD {
			return ErrGone
		}
		if !t.sleep(pause) {
			return os.ErrClosed
		}
	}
}

// readAll is called by the runtime while it holds the descriptor open. It reads
// with a raw system call, for the descriptor never blocks: telling the
// scheduler about each read costs a third of the frame rate. False asks the
// runtime to wait until there is something to read.
func (t *TAP) readAll(fd uintptr) bool {
	b := t.batch
	for b.N < frame.BatchSize {
		slot := b.Slot(b.N)
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&slot[0])), uintptr(len(slot)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return b.N > 0
		case errno != 0 || n < frame.VnetHdrLen:
			t.rxErr = errno
			if errno != unix.EBADFD {
				t.receiveErrors.Add(1)
			}
			return true
		}
		f := &b.Frames[b.N]
		f.Bytes = slot[frame.VnetHdrLen:n:n]
		f.Offload = frame.DecodeOffload(slot)
		b.N++
	}
	return true
}

// sleep returns false at once if the TAP is closed meanwhile.
func (t *TAP) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.done:
		return false
	case <-timer.C:
		return true
	}
}

// ReceiveErrors returns how many reads have failed since the TAP was opened.
// What they would have brought is not known, so they count as no frame.
func (t *TAP) ReceiveErrors() uint64 { return t.receiveErrors.Load() }
