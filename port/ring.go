package port

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ring is an io_uring (linux/io_uring.h), by which a burst of reads or writes
// costs one system call. Whoever takes it from the pool fills it, submits and has
// all results before he gives it back: nothing is ever under way in a ring of the
// pool, and a buffer is the kernel's only during submit.
type ring struct {
	fd               int
	head, tail, mask *uint32 // of the completion queue
	sqTail           *uint32
	cqes             []cqe
	sqes             []sqe
	n                int // filled, not submitted

	// For writes: what goes in front of the frames' bytes, and both parts of each.
	fronts [ringSize][frontRoom]byte
	iovs   [ringSize][2]unix.Iovec
	sizes  [ringSize]uintptr
	mapped [2][]byte
}

// ringSize is how many operations a ring takes at once.
const ringSize = 64

// Of linux/io_uring.h.
const (
	opWritev = 2
	opRead   = 22
	opWrite  = 23

	setupSubmitAll   = 1 << 7 // Linux 5.18
	setupCoopTaskrun = 1 << 8 // Linux 5.19
	enterGetEvents   = 1

	offSQRing = 0
	offSQEs   = 0x10000000
)

type sqe struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off, addr     uint64
	len, rwFlags  uint32
	userData      uint64
	_             [3]uint64
}

type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// newRing fails where the kernel is too old or a seccomp filter or
// kernel.io_uring_disabled forbids it.
func newRing() (*ring, error) {
	p := ringParams{flags: setupSubmitAll | setupCoopTaskrun}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, errno
	}
	r := &ring{fd: int(fd)}
	unix.CloseOnExec(r.fd)
	// Both queues are in one mapping since Linux 5.4.
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	queues, err := unix.Mmap(r.fd, offSQRing, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errors.Join(err, unix.Close(r.fd))
	}
	entries, err := unix.Mmap(r.fd, offSQEs, ringSize*int(unsafe.Sizeof(sqe{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errors.Join(err, unix.Munmap(queues), unix.Close(r.fd))
	}
	r.mapped = [2][]byte{queues, entries}
	word := func(at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&queues[at])) }
	r.head, r.tail, r.mask, r.sqTail = word(p.cq.head), word(p.cq.tail), word(p.cq.mask), word(p.sq.tail)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&queues[p.cq.cqes])), p.cqEntries)
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&entries[0])), ringSize)
	for i := range p.sqEntries {
		*word(p.sq.array + 4*i) = i
	}
	return r, nil
}

func (r *ring) close() error {
	return errors.Join(unix.Munmap(r.mapped[0]), unix.Munmap(r.mapped[1]), unix.Close(r.fd))
}

// add fills in the next operation, one that does not wait (RWF_NOWAIT). There is
// room for ringSize between two submits.
func (r *ring) add(op uint8, fd int, addr unsafe.Pointer, n int) {
	s := &r.sqes[(*r.sqTail+uint32(r.n))%ringSize]
	*s = sqe{opcode: op, fd: int32(fd), addr: uint64(uintptr(addr)), len: uint32(n), rwFlags: unix.RWF_NOWAIT, userData: uint64(r.n)}
	r.n++
}

// addWrite is add for a copy of a frame.
func (r *ring) addWrite(fd int, o *Out) {
	if b := o.inPlace(); b != nil {
		r.sizes[r.n] = uintptr(len(b))
		r.add(opWrite, fd, unsafe.Pointer(unsafe.SliceData(b)), len(b))
		return
	}
	front, iov := &r.fronts[r.n], &r.iovs[r.n]
	n, rest := o.parts(front)
	r.sizes[r.n] = uintptr(n + len(rest))
	iov[0].Base, iov[1].Base = &front[0], unsafe.SliceData(rest)
	iov[0].SetLen(n)
	iov[1].SetLen(len(rest))
	r.add(opWritev, fd, unsafe.Pointer(iov), len(iov))
}

// submit has the operations done and calls done with the result of each, a
// number of bytes or a negative errno, in the order of their completion, which is
// the order of add as none waits.
func (r *ring) submit(done func(i int, res int32)) {
	n := r.n
	r.n = 0
	atomic.StoreUint32(r.sqTail, *r.sqTail+uint32(n))
	toSubmit, refused, why := n, 0, unix.Errno(0)
	for left := n; left > 0; {
		got, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(toSubmit), uintptr(left), enterGetEvents, 0, 0)
		switch {
		case errno == 0:
			toSubmit -= int(got)
		case errno != unix.EINTR && toSubmit > 0:
			// What is left has not been taken, as for want of memory.
			atomic.StoreUint32(r.sqTail, *r.sqTail-uint32(toSubmit))
			left -= toSubmit
			toSubmit, refused, why = 0, toSubmit, errno
		}
		head := *r.head
		for tail := atomic.LoadUint32(r.tail); head != tail; head++ {
			c := &r.cqes[head&*r.mask]
			done(int(c.userData), c.res)
			left--
		}
		atomic.StoreUint32(r.head, head)
	}
	for i := n - refused; i < n; i++ {
		done(i, -int32(why))
	}
}

// rings is the pool of rings: one for each CPU, as GOMAXPROCS may be raised to all of
// them at any time (internal/priority). A worker that finds none left does without.
var rings struct {
	once  sync.Once
	slots []atomic.Pointer[ring]
}

func makeRings() {
	rings.once.Do(func() {
		rings.slots = make([]atomic.Pointer[ring], runtime.NumCPU())
		for i := range rings.slots {
			r, err := newRing()
			if err != nil {
				return // Reads and writes then go one by one.
			}
			rings.slots[i].Store(r)
		}
	})
}

func takeRing() *ring {
	for i := range rings.slots {
		if r := rings.slots[i].Swap(nil); r != nil {
			return r
		}
	}
	return nil
}

func giveRing(r *ring) {
	for i := 0; !rings.slots[i].CompareAndSwap(nil, r); i = (i + 1) % len(rings.slots) {
	}
}
