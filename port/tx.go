package port

import (
	"encoding/binary"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Transmit is described at Transmitter. It writes each frame, or each run of
// datagrams that can be joined, with one writev(2) in the caller's thread, where
// the kernel runs the station's network stack up to the socket that takes the
// frame.
func (t *TAP) Transmit(out []Out) {
	join := t.coalesce.Load() && t.Offloads()&frame.OffloadUSO != 0
	for len(out) > 0 {
		n := 1
		if join {
			n = joinable(out)
		}
		if n == 1 {
			out[0].Reason = t.write(&out[0])
		} else {
			why := t.writeJoined(out[:n])
			for i := range n {
				out[i].Reason = why
			}
		}
		out = out[n:]
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
	if errno == 0 && taken != sizeOf(iov) {
		return frame.DropTransmitError // Part of a frame is none.
	}
	return reasonOf(errno)
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
