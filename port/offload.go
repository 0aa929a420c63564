package port

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// offloadSteps are what is asked of the kernel, the most first: an older one
// refuses the whole of a request with a bit that it does not know.
var offloadSteps = []struct {
	bits  int
	takes frame.Offloads
}{
	{unix.TUN_F_USO4 | unix.TUN_F_USO6 | tsoBits, frame.OffloadUSO | tso}, // Linux 6.2
	{tsoBits, tso},
	{unix.TUN_F_CSUM, frame.OffloadCsum},
}

const (
	tsoBits = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
	tso     = frame.OffloadCsum | frame.OffloadTSO4 | frame.OffloadTSO6 | frame.OffloadECN
)

// negotiate tells the kernel which work it may leave to the switch in the frames
// that it hands over, as much as it knows of, and returns that. It takes the same
// over from the frames it is given: the two came into Linux together.
func negotiate(fd int) (frame.Offloads, error) {
	for _, step := range offloadSteps {
		if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, step.bits) == nil {
			return step.takes, nil
		}
	}
	// Then the kernel hands over complete frames, and gets such.
	return 0, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, 0)
}

// Offloads is described at Transmitter.
func (t *TAP) Offloads() frame.Offloads { return frame.Offloads(t.offloads.Load()) }

// SetCoalesce turns the joining of datagrams on or off, which a new TAP has off.
func (t *TAP) SetCoalesce(on bool) { t.coalesce.Store(on) }

// Coalesced returns how many datagrams have gone as part of a super-frame that
// the switch made.
func (t *TAP) Coalesced() uint64 { return t.joined.Load() }

// SetOffload turns all offload work on or off: off, the kernel hands over
// complete frames of the link's MTU and gets such. Frames under way keep what
// they owe. The error is ErrGone, os.ErrClosed or an
// *Error.
func (t *TAP) SetOffload(on bool) error {
	var takes frame.Offloads
	var err error
	closed := t.conn.Control(func(fd uintptr) {
		if on {
			takes, err = negotiate(int(fd))
			return
		}
		err = unix.IoctlSetInt(int(fd), unix.TUNSETOFFLOAD, 0)
	})
	switch {
	case closed != nil:
		return os.ErrClosed
	case err == unix.EBADFD:
		return ErrGone
	case err != nil:
		return failed("set offloads", tunDevice, "TUNSETOFFLOAD", err)
	}
	t.offloads.Store(uint32(takes))
	return nil
}
