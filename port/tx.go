package port

import (
	"encoding/binary"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// ringWrites is from how many copies on a ring is worth its setting up.
const ringWrites = 8

// minRun is from how many datagrams on a run is joined: fewer are hardly cheaper as
// one, and would break up the burst that they are part of.
const minRun = 4

// Transmit is described at Transmitter. It writes each frame, or each run of
// datagrams that can be joined, with one writev(2) in the caller's thread, where
// the kernel runs the station's network stack up to the socket that takes the
// frame.
func (t *TAP) Transmit(out []Out) {
	join := t.coalesce.Load() && t.Offloads()&frame.OffloadUSO != 0
	if len(out) >= ringWrites {
		if r := takeRing(); r != nil {
			t.transmitBurst(r, out, join)
			giveRing(r)
			return
		}
	}
	for len(out) > 0 {
		n := runOf(out, join)
		if n == 1 {
			out[0].Reason = t.write(&out[0])
		} else {
			t.writeRun(out[:n])
		}
		out = out[n:]
	}
}

// transmitBurst is Transmit by a ring.
func (t *TAP) transmitBurst(r *ring, out []Out, join bool) {
	done := 0 // of out, in the ring or written
	flush := func() {
		first := done - r.n
		r.submit(func(i int, res int32) {
			out[first+i].Reason = written(uintptr(max(res, 0)), syscall.Errno(-min(res, 0)), r.sizes[i])
		})
	}
	for done < len(out) {
		n := runOf(out[done:], join)
		if n > 1 || r.n == ringSize {
			flush()
		}
		if n > 1 {
			t.writeRun(out[done : done+n])
			done += n
			continue
		}
		r.addWrite(t.fd, &out[done])
		done++
	}
	flush()
}

// runOf returns how many of the first copies are written as one.
func runOf(out []Out, join bool) int {
	if join {
		if n := joinable(out); n >= minRun {
			return n
		}
	}
	return 1
}

// writeRun writes a run of datagrams as one.
func (t *TAP) writeRun(out []Out) {
	why := t.writeJoined(out)
	for i := range out {
		out[i].Reason = why
	}
}

// frontRoom is the room for all that goes in front of the untouched rest of a
// frame.
const frontRoom = frame.VnetHdrLen + frame.AddressesLen + frame.TagLen

// parts renders the front, of n bytes, and returns the rest.
func (o *Out) parts(front *[frontRoom]byte) (n int, rest []byte) {
	o.Frame.Offload.Shifted(o.Tag.Growth()).Encode(front[:])
	n, skip := o.front(front[frame.VnetHdrLen:])
	return frame.VnetHdrLen + n, o.Frame.Bytes[skip:]
}

// inPlace renders the frame as it is sent where it is, offload header in front, or
// returns nil if it cannot: it needs headroom, and to be sent as it came.
func (o *Out) inPlace() []byte {
	f := o.Frame
	if o.Tag != TagKeep || f.Headroom < frame.VnetHdrLen {
		return nil
	}
	begin := (*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(f.Bytes)), -frame.VnetHdrLen))
	b := unsafe.Slice(begin, frame.VnetHdrLen+len(f.Bytes))
	f.Offload.Encode(b)
	return b
}

func (t *TAP) write(o *Out) frame.DropReason {
	if b := o.inPlace(); b != nil {
		return t.writeBytes(b)
	}
	var front [frontRoom]byte
	var iov [2]unix.Iovec
	n, rest := o.parts(&front)
	iov[0].Base, iov[1].Base = &front[0], unsafe.SliceData(rest)
	iov[0].SetLen(n)
	iov[1].SetLen(len(rest))
	why := t.writev(iov[:])
	runtime.KeepAlive(&front) // The system call knows it as a number only.
	return why
}

// writev writes one frame. The caller keeps what iov points to alive.
func (t *TAP) writev(iov []unix.Iovec) frame.DropReason {
	taken, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		taken, _, errno = unix.RawSyscall(unix.SYS_WRITEV, uintptr(t.fd), uintptr(unsafe.Pointer(unsafe.SliceData(iov))), uintptr(len(iov)))
	}
	return written(taken, errno, sizeOf(iov))
}

// writeBytes writes one frame that is in one piece, offload header in front.
func (t *TAP) writeBytes(b []byte) frame.DropReason {
	taken, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		taken, _, errno = unix.RawSyscall(unix.SYS_WRITE, uintptr(t.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	}
	return written(taken, errno, uintptr(len(b)))
}

func sizeOf(iov []unix.Iovec) (n uintptr) {
	for i := range iov {
		n += uintptr(iov[i].Len)
	}
	return n
}

// front renders addresses and tag into to, unless the frame is sent as it is. It
// returns the length of that and how much of the frame's bytes it stands for.
func (o *Out) front(to []byte) (n, skip int) {
	if o.Tag == TagKeep {
		return 0, 0
	}
	n = copy(to, o.Frame.Bytes[:frame.AddressesLen])
	skip = frame.AddressesLen
	if o.Tag == TagPop || o.Tag == TagReplace {
		skip += frame.TagLen
	}
	if o.Tag == TagPush || o.Tag == TagReplace {
		binary.BigEndian.PutUint16(to[n:], frame.TypeCTag)
		binary.BigEndian.PutUint16(to[n+2:], uint16(o.TCI))
		n += frame.TagLen
	}
	return n, skip
}

// written turns what write(2) returns for so many bytes into a reason.
func written(taken uintptr, errno syscall.Errno, whole uintptr) frame.DropReason {
	if errno == 0 && taken != whole {
		return frame.DropTransmitError // Part of a frame is none.
	}
	return reasonOf(errno)
}

func reasonOf(errno syscall.Errno) frame.DropReason {
	switch errno {
	case 0:
		return frame.Keep
	case unix.EIO:
		return frame.DropLinkDown
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		return frame.DropQueueFull
	case unix.EBADFD, unix.EBADF:
		return frame.DropPortGone
	}
	return frame.DropTransmitError
}
