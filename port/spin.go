package port

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// A station that answers at once is sooner with it than a sleeping CPU and thread
// are awake again. So the worker of a TAP that has brought single small frames polls
// for a while before it parks: not its own TAP only, for the answer comes at another,
// whose worker may have to run where this one spins (internal/priority).

const (
	// loneFrames is how many times in a row a TAP brings a single frame, of loneBytes
	// at most, before its worker spins.
	loneFrames = 4
	loneBytes  = 512
	// spinPolls is how many times a worker polls, for some 50 µs, before it parks.
	spinPolls = 128
	// maxHits is how many times in a row a worker spins until the next frame comes. Then
	// it parks once, or else nobody who is not awake by a frame would ever run. Nor does
	// a TAP hold the worker that polls as readable and has nothing to read.
	maxHits = 16
	// A worker that has spun in vain n times in a row parks 2^n-1 times at once, with
	// maxMisses for n at most.
	maxMisses = 6
)

// awakeTAPs are those that have brought frames lately. One worker at a time spins,
// for all of them.
type awakeTAPs struct {
	fds     [4]atomic.Int32 // descriptor + 1; 0 is none
	crowded atomic.Bool     // there was no room for another
	spinner atomic.Bool     // there is one
}

var awake awakeTAPs

// spinning is what a worker knows of its own.
type spinning struct {
	with   *awakeTAPs
	slot   int // of awakeTAPs, where its TAP was put
	lone   int // times in a row that a single small frame came
	hits   int // times in a row that spinning was not in vain
	misses int // times in a row that it was
	rest   int // times still to park at once
}

// took notes what the TAP has brought.
func (s *spinning) took(fd uintptr, b *frame.Batch) {
	if b.N == 1 && len(b.Frames[0].Bytes) <= loneBytes {
		s.lone++
	} else {
		s.lone = 0
	}
	s.slot = s.with.enter(int32(fd), s.slot)
}

// spin waits a moment for a frame, if one is likely to come. True says that there
// is one at the TAP.
func (s *spinning) spin(fd uintptr) bool {
	if s.lone < loneFrames {
		return false
	}
	if s.hits == maxHits {
		s.hits = 0
		return false
	}
	if s.rest > 0 {
		s.rest--
		return false
	}
	if !s.with.spinner.CompareAndSwap(false, true) {
		return false
	}
	own, other := s.with.await(int32(fd))
	s.with.spinner.Store(false)
	if own || other {
		s.misses = 0
		s.hits++
	} else {
		s.hits = 0
		s.misses = min(s.misses+1, maxMisses)
		s.rest = 1<<s.misses - 1
	}
	return own
}

// enter puts a TAP in, unless it is in the slot that it had. It returns the slot.
func (a *awakeTAPs) enter(fd int32, slot int) int {
	if a.fds[slot].Load() == fd+1 {
		return slot
	}
	for i := range a.fds {
		if a.fds[i].CompareAndSwap(0, fd+1) {
			return i
		}
	}
	a.crowded.Store(true)
	return slot
}

// await polls until one has a frame: the TAP fd, or another. Those without are put
// out if none has; else another that has one, as it comes in again when its worker
// reads. So a descriptor that was closed does not stay. Where there are too many to
// look at all of them it does not wait.
func (a *awakeTAPs) await(fd int32) (own, other bool) {
	var fds [len(a.fds)]unix.PollFd
	for i := range fds {
		fds[i] = unix.PollFd{Fd: a.fds[i].Load() - 1, Events: unix.POLLIN}
	}
	for n := 0; n < spinPolls && !a.crowded.Load(); n++ {
		var now unix.Timespec
		ready, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)), uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		if errno != 0 || ready > 0 {
			break
		}
	}
	for i := range fds {
		ready := fds[i].Revents&unix.POLLIN != 0
		own = own || ready && fds[i].Fd == fd
		other = other || ready && fds[i].Fd != fd
	}
	for i := range fds {
		if fds[i].Fd != fd && (fds[i].Revents != 0 || !own && !other) {
			a.fds[i].CompareAndSwap(fds[i].Fd+1, 0)
		}
	}
	if !own && !other {
		a.crowded.Store(false)
	}
	return own, other
}
