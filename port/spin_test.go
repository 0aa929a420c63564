package port

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// source is something that can be polled like a TAP, with a frame in it or not.
func source(t *testing.T) (fd uintptr, put, take func()) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(p[0])
		_ = unix.Close(p[1])
	})
	one := []byte{0}
	put = func() {
		if _, err := unix.Write(p[1], one); err != nil {
			t.Fatal(err)
		}
	}
	take = func() {
		if _, err := unix.Read(p[0], one); err != nil {
			t.Fatal(err)
		}
	}
	return uintptr(p[0]), put, take
}

func batchOf(n, size int) *frame.Batch {
	b := &frame.Batch{N: n}
	for i := range n {
		b.Frames[i].Bytes = make([]byte, size)
	}
	return b
}

func TestOnlyLoneFramesMakeAWorkerSpin(t *testing.T) {
	a := &awakeTAPs{}
	fd, put, _ := source(t)
	put()
	s := spinning{with: a}
	for i := range loneFrames {
		if s.spin(fd) {
			t.Fatalf("spins after %d lone frames", i)
		}
		s.took(fd, batchOf(1, 60))
	}
	if !s.spin(fd) {
		t.Fatal("the frame at the own TAP is not seen")
	}
	for _, b := range []*frame.Batch{batchOf(2, 60), batchOf(1, loneBytes+1)} {
		s.lone = loneFrames
		if s.took(fd, b); s.spin(fd) {
			t.Errorf("spins after %d frames of %d bytes", b.N, len(b.Frames[0].Bytes))
		}
	}
}

// A worker that spins must let that of another TAP run as soon as it has a frame.
func TestSpinningEndsWhenAnotherHasAFrame(t *testing.T) {
	a := &awakeTAPs{}
	own, _, _ := source(t)
	fd, put, take := source(t)
	a.enter(int32(own), 0)
	slot := a.enter(int32(fd), 0)
	put()
	if own, other := a.await(int32(own)); own || !other {
		t.Fatalf("own %v, other %v", own, other)
	}
	take()
	if a.fds[slot].Load() != 0 {
		t.Error("the other is looked at again before its worker has read")
	}
	if again := a.enter(int32(fd), slot); again != slot || a.fds[slot].Load() == 0 {
		t.Error("the other does not come in again")
	}
}

func TestWhoSpinsInVainRestsLongerEachTime(t *testing.T) {
	a := &awakeTAPs{}
	fd, put, _ := source(t)
	s := spinning{with: a, lone: loneFrames}
	for _, rest := range []int{1, 3, 7, 15, 31, 63, 63} {
		s.spin(fd)
		if s.rest != rest {
			t.Fatalf("rests for %d times, not %d", s.rest, rest)
		}
		for range rest {
			s.spin(fd)
		}
	}
	put()
	a.enter(int32(fd), 0)
	if s.spin(fd); s.misses != 0 {
		t.Error("a frame does not end the misses")
	}
}

// Others than those who have a frame must get to run as well.
func TestWhoAlwaysFindsAFrameParksNowAndThen(t *testing.T) {
	a := &awakeTAPs{}
	fd, put, _ := source(t)
	put()
	a.enter(int32(fd), 0)
	s := spinning{with: a, lone: loneFrames}
	for range 3 {
		for i := range maxHits {
			if !s.spin(fd) {
				t.Fatalf("does not spin after %d frames", i)
			}
		}
		if s.spin(fd) {
			t.Fatalf("spins after %d frames", maxHits)
		}
	}
}

// A TAP that is closed while it is awake must not stop the others from spinning, nor
// may the file that gets its number.
func TestClosedTAPDoesNotStayAwake(t *testing.T) {
	a := &awakeTAPs{}
	own, _, _ := source(t)
	a.enter(int32(own), 0)
	slot := a.enter(1<<20, 0) // No such descriptor.
	for range 2 {
		if own, other := a.await(int32(own)); own || other {
			t.Fatalf("own %v, other %v", own, other)
		}
	}
	if a.fds[slot].Load() != 0 {
		t.Error("it stays")
	}
}

// With more TAPs awake than can be looked at nobody spins, once.
func TestTooManyAreNotWaitedFor(t *testing.T) {
	a := &awakeTAPs{}
	own, put, _ := source(t)
	a.enter(int32(own), 0)
	for i := range len(a.fds) {
		a.enter(int32(1000+i), 0)
	}
	put()
	if got, _ := a.await(int32(own)); got {
		t.Error("waits though one that it does not look at may have a frame")
	}
	if got, _ := a.await(int32(own)); !got {
		t.Error("never waits again")
	}
}

func TestOneWorkerSpinsAtATime(t *testing.T) {
	a := &awakeTAPs{}
	a.spinner.Store(true)
	fd, put, _ := source(t)
	put()
	s := spinning{with: a, lone: loneFrames}
	a.enter(int32(fd), 0)
	if s.spin(fd) {
		t.Error("two spin")
	}
	a.spinner.Store(false)
	if !s.spin(fd) {
		t.Error("does not spin alone")
	}
}
