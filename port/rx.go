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

	// burstBytes is the most that a full batch of small frames holds.
	burstBytes = frame.BatchSize * 512

	// batchBytes is from where on a batch is full, however few frames: what is not
	// passed on soon leaves the cache, and the other ports wait for it.
	batchBytes = 512 << 10
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
	if t.burst && t.readBurst(fd) {
		return true
	}
	for read := uintptr(0); b.N < frame.BatchSize && read < batchBytes; {
		slot := b.Slot(b.N)
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&slot[0])), uintptr(len(slot)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN && b.N > 0:
			t.took(fd, b)
			return true
		case errno == unix.EAGAIN && t.spin(fd):
			continue
		case errno == unix.EAGAIN:
			return false
		case errno != 0 || n < frame.VnetHdrLen:
			t.rxErr = errno
			if errno != unix.EBADFD {
				t.receiveErrors.Add(1)
			}
			return true
		}
		b.Take(b.N, int(n))
		read += n
	}
	t.burst = isBurst(b)
	t.took(fd, b)
	return true
}

// isBurst reports whether b is full of small frames, so that most likely there are
// more of them: then the system calls are the better part of the work.
func isBurst(b *frame.Batch) bool {
	if b.N < frame.BatchSize {
		return false
	}
	n := 0
	for i := range b.Frames {
		n += len(b.Frames[i].Bytes)
	}
	return n < burstBytes
}

// readBurst is readAll by a ring. False says that there was none to be had, or
// nothing to read. Should super-frames come after the small frames of the last batch,
// this one may exceed batchBytes, but it is no burst, so that the next does not.
func (t *TAP) readBurst(fd uintptr) bool {
	r := takeRing()
	if r == nil {
		return false
	}
	b := t.batch
	for i := range frame.BatchSize {
		slot := b.Slot(i)
		r.add(opRead, int(fd), unsafe.Pointer(&slot[0]), len(slot))
	}
	r.submit(func(i int, res int32) {
		switch {
		case res >= frame.VnetHdrLen:
			b.Take(i, int(res))
		case res != -int32(unix.EAGAIN) && res != -int32(unix.EBADFD):
			t.receiveErrors.Add(1)
		}
	})
	giveRing(r)
	t.burst = isBurst(b)
	return b.N > 0
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
