package port

import (
	"errors"

	"github.com/vswitchd/vswitchd/frame"
)

// ErrGone is returned by ReadBatch once the device behind the port has gone
// away for good: its link or its network namespace was deleted.
var ErrGone = errors.New("the device behind the port is gone")

// A Receiver takes frames in from the port's station.
type Receiver interface {
	// ReadBatch waits until a frame is there, then takes what can be had
	// without waiting again, frame.BatchSize at the most. It overwrites the
	// previous content of b: for each frame it sets Bytes and Offload, and
	// nothing else. Errors of single reads are counted and not returned; the
	// error is os.ErrClosed after Close, or ErrGone. One goroutine at a time.
	ReadBatch(b *frame.Batch) error
}

// A Transmitter gives frames out to the port's station.
type Transmitter interface {
	// Transmit offers each frame, in order, to the kernel or a queue of the port's
	// own before it returns, and never waits for room. It sets the Reason of every Out: Keep for a
	// frame taken, else why not. Safe for concurrent use, also with ReadBatch;
	// not after Close.
	Transmit(out []Out)
	// Offloads is the work that the port takes over. A frame that needs more
	// must not be given to Transmit.
	Offloads() frame.Offloads
}

// Port is the outside of a switch port: where its frames come from and go to.
type Port interface {
	Receiver
	Transmitter
	// Close ends a waiting ReadBatch and gives the device back. The caller
	// makes sure that no Transmit is under way or follows.
	Close() error
}

// Out is one copy of a frame on its way out and how to render it.
type Out struct {
	Frame *frame.Frame
	// TCI is the tag to send if Tag is TagPush or TagReplace.
	TCI frame.TCI
	Tag TagAction
	// Reason is set by Transmit.
	Reason frame.DropReason
}

// Len returns the length of the frame as it is sent, in bytes without FCS.
func (o *Out) Len() int { return len(o.Frame.Bytes) + o.Tag.Growth() }

// MTU returns the smallest MTU with which a link can carry the frame as it is
// sent. Beside the MAC header one tag, C-TAG or S-TAG, is not charged to the
// MTU (802.3 3.2.7: 1518 bytes become 1522 with a tag, FCS counted).
func (o *Out) MTU() int {
	f := o.Frame
	n := f.WireLen() + o.Tag.Growth() - frame.HeaderLen
	tagged := o.Tag == TagPush || o.Tag == TagReplace
	if o.Tag == TagKeep {
		tagged = f.Tagged
	}
	if tagged || f.EtherType == frame.TypeSTag || f.EtherType == frame.TypeCTag {
		n -= frame.TagLen
	}
	return n
}

// TagAction says what becomes of the C-TAG on the way out. Whatever it is, the
// bytes of the frame are not changed: the tag is rendered from metadata.
type TagAction uint8

// The four things that can happen to a tag.
const (
	TagKeep    TagAction = iota // send the bytes as they are
	TagPush                     // insert a C-TAG behind the addresses
	TagPop                      // leave the C-TAG out
	TagReplace                  // send another C-TAG in place of the frame's
)

// Growth returns by how many bytes the header grows (4), shrinks (-4) or not (0).
func (a TagAction) Growth() int {
	switch a {
	case TagPush:
		return frame.TagLen
	case TagPop:
		return -frame.TagLen
	}
	return 0
}
