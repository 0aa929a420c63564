package port

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

const (
	tunDevice = "/dev/net/tun"

	// What every TAP of the switch is: raw frames, each behind a virtio_net_hdr.
	tapFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

	// The name of a TAP on its way to another namespace, one that nobody would
	// give a port; the kernel puts the lowest free number in place of %d.
	tapPattern = "vsw-new%d"

	// How long OpenTAP waits for a TAP whose owner cannot be found: one that was
	// killed is still at closing its TAPs, some 20 ms for each.
	dyingTries = 100
	dyingPause = 20 * time.Millisecond
)

// TAP is a Port over a TAP device. See the package comment for what may be
// called concurrently.
type TAP struct {
	fd   int // of file; only Transmit uses it bare
	file *os.File
	conn syscall.RawConn
	home nsIdentity // the namespace that the descriptor was opened in
	made bool       // the link was not there before
	// adopted is nil unless the TAP, or lower, is to be left as it was found.
	adopted *adoption
	// beside is the index of the TAP's link and lower that of the port's, if that is
	// another; else they are 0.
	beside, lower int

	fill  func(fd uintptr) bool // readAll, bound once: a method value is an allocation
	batch *frame.Batch          // being filled
	rxErr syscall.Errno         // of the last fill
	burst bool                  // the last fill was full of small frames
	spinning

	offloads      atomic.Uint32 // frame.Offloads
	coalesce      atomic.Bool
	joined        atomic.Uint64
	receiveErrors atomic.Uint64
	closed        atomic.Bool
	done          chan struct{} // closed by Close
}

var _ Port = (*TAP)(nil)

// FromFD makes a Port of an open TAP descriptor, such as one received from
// another process: flags IFF_TAP, IFF_NO_PI and IFF_VNET_HDR, and nobody else
// reads from it. It owns fd from then on, and closes it if it returns an error.
func FromFD(fd int) (*TAP, error) {
	const op, needs = "use file descriptor", "open a TAP with IFF_TAP|IFF_NO_PI|IFF_VNET_HDR and pass that"
	name := strconv.Itoa(fd)
	refuse := func(why string) (*TAP, error) {
		_ = unix.Close(fd) // The error at hand says more.
		return nil, &Error{Op: op, Name: name, Why: why, Fix: needs, Err: ErrNotSupported}
	}
	_, flags, err := getIff(fd)
	switch {
	case err == ErrGone:
		return refuse("it has no link")
	case err != nil:
		return refuse("it is not a TAP: TUNGETIFF: " + err.Error())
	case flags&unix.IFF_TAP == 0:
		return refuse("it is a TUN (layer 3) device: it carries IP packets without Ethernet headers")
	case flags&tapFlags != tapFlags:
		return refuse("its flags are " + fmt.Sprint(words(flags)))
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return refuse(err.Error())
	}
	t, err := newTAP(fd)
	if err != nil {
		return nil, failed(op, name, "prepare", err)
	}
	return t, nil
}

// newTAP takes over fd, a non-blocking TAP, whoever may have used it before.
func newTAP(fd int) (*TAP, error) {
	takes, err := negotiate(fd)
	if err = errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, frame.VnetHdrLen)); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	makeRings()
	t, err := wrap(fd)
	if err == nil {
		t.offloads.Store(uint32(takes))
	}
	return t, err
}

func wrap(fd int) (*TAP, error) {
	t := &TAP{fd: fd, file: os.NewFile(uintptr(fd), tunDevice), done: make(chan struct{}), spinning: spinning{with: &awake}}
	t.fill = t.readAll
	var err error
	if t.conn, err = t.file.SyscallConn(); err == nil {
		t.home, err = ownNS()
	}
	if err == nil {
		// Fails if the runtime cannot wait for the descriptor.
		err = t.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	return t, nil
}

// Discard is Close for a TAP that nobody came to use: a link that OpenTAP has
// made goes even if it was to be persistent.
func (t *TAP) Discard() error {
	if t.made {
		// It fails only if the link is gone.
		_ = unix.IoctlSetInt(t.fd, unix.TUNSETPERSIST, 0)
	}
	return t.Close()
}

// Close ends a waiting ReadBatch and lets go of the TAP: the kernel deletes its
// link unless it is persistent. An adopted one is left as it was found, of which
// the error may tell. A second Close returns os.ErrClosed.
func (t *TAP) Close() error {
	if !t.closed.CompareAndSwap(false, true) {
		return os.ErrClosed
	}
	close(t.done)
	if t.adopted != nil {
		return t.release()
	}
	return t.file.Close()
}
