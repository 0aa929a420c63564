package port

import (
	"encoding/binary"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Transmit is described at Transmitter. It writes each frame with one writev(2)
// in the caller's thread, where the kernel runs the station's network stack up
// to the socket that takes the frame.
func (t *TAP) Transmit(out []Out) {
	for i := range out {
		out[i].Reason = t.write(&out[i])
	}
}

func (t *TAP) write(o *Out) frame.DropReason {
	// All that goes in front of the untouched rest of the frame.
	var front [frame.VnetHdrLen + frame.AddressesLen + frame.TagLen]byte
	o.Frame.Offload.Shifted(o.Tag.Growth()).Encode(front[:])
	n, skip := o.front(front[frame.VnetHdrLen:])
	n += frame.VnetHdrLen
	rest := o.Frame.Bytes[skip:]
	var iov [2]unix.Iovec
	iov[0].Base, iov[1].Base = &front[0], unsafe.SliceData(rest)
	iov[0].SetLen(n)
	iov[1].SetLen(len(rest))
	taken, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		taken, _, errno = unix.RawSyscall(unix.SYS_WRITEV, uintptr(t.fd), uintptr(unsafe.Pointer(&iov)), uintptr(len(iov)))
	}
	runtime.KeepAlive(&front) // The system call knows it as a number only.
	if errno == 0 && taken != uintptr(n+len(rest)) {
		return frame.DropTransmitError // Part of a frame is none.
	}
	return reasonOf(errno)
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
