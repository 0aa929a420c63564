package frame

import "encoding/binary"

// PortID is the dense index of a switch port: 0 to MaxPorts-1.
type PortID uint16

// MaxPorts is how many ports a switch can have, as many as a Linux bridge
// (BR_MAX_PORTS, net/bridge/br_private.h).
const MaxPorts = 1024

// Frame is one received frame: the bytes as they came and what Parse found in
// them. The zero value with Bytes set is a frame that owes no offload work and
// has not been parsed.
type Frame struct {
	// Bytes begin with the destination address and hold no FCS. Borrowed from
	// the batch: see the package comment.
	Bytes []byte
	// Headroom is how many bytes in front of Bytes, in the same memory, belong to
	// the frame too, for an offload header to be rendered into.
	Headroom uint8
	// Offload is what whoever delivers the frame last still has to do.
	Offload Offload

	Dst, Src MAC
	// EtherType is the Length/Type field behind the addresses or, in a tagged
	// frame, behind the C-TAG.
	EtherType uint16
	// TCI is the C-TAG's content; meaningful if Tagged.
	TCI TCI
	// Tagged says that a whole C-TAG follows the addresses in Bytes.
	Tagged bool
}

// Parse reads the MAC header of f.Bytes into f and checks the offload header
// against them. It looks at 18 bytes at the most; what lies behind is payload,
// whatever it claims to be.
func (f *Frame) Parse() DropReason {
	b := f.Bytes
	if len(b) < HeaderLen {
		return DropTooShort
	}
	f.Dst, f.Src = MAC(b[0:6]), MAC(b[6:12])
	f.EtherType = binary.BigEndian.Uint16(b[12:14])
	f.Tagged, f.TCI = false, 0
	if f.EtherType == TypeCTag && len(b) >= TaggedLen {
		f.Tagged = true
		f.TCI = TCI(binary.BigEndian.Uint16(b[14:16]))
		f.EtherType = binary.BigEndian.Uint16(b[16:18])
	}
	if f.Offload != (Offload{}) && !f.checkOffload() {
		return DropOffloadHeader
	}
	return Keep
}

// headerLen returns the length of the MAC header.
func (f *Frame) headerLen() int {
	if f.Tagged {
		return TaggedLen
	}
	return HeaderLen
}

// WireLen returns the length of the largest frame that f becomes on a wire, in
// bytes without FCS: its own length or, for a super-frame, that of its largest
// segment.
func (f *Frame) WireLen() int {
	if f.Offload.GSOType == GSONone {
		return len(f.Bytes)
	}
	return f.Offload.segmentLen(f.Bytes)
}

// BatchSize is how many frames a worker receives before it flushes what it
// has to send: of small ones; long ones fill a batch sooner. Half of it passes on a
// seventh less of them, twice as much not more.
const BatchSize = 64

// SlotLen is the room in a batch for one frame with a virtio_net_hdr of up to
// 24 bytes in front, rounded up to whole pages so that frames of ordinary size
// touch one page each.
const SlotLen = 17 * 4096

// Batch is the buffer of one worker: N frames, each in a slot of its own. It
// is filled by a port's ReadBatch and belongs to the worker for ever.
type Batch struct {
	Frames [BatchSize]Frame
	N      int
	slots  []byte
}

// NewBatch makes a batch over memory of at least BatchSize*SlotLen bytes,
// which the caller owns and must keep for as long as the batch is in use.
func NewBatch(memory []byte) *Batch {
	return &Batch{slots: memory[:BatchSize*SlotLen]}
}

// Slot returns the buffer of frame i, to be read into.
func (b *Batch) Slot(i int) []byte { return b.slots[i*SlotLen : (i+1)*SlotLen : (i+1)*SlotLen] }

// Take makes the n bytes that were read into the slot, a virtio_net_hdr and a
// frame, the next frame of the batch.
func (b *Batch) Take(slot, n int) {
	f, s := &b.Frames[b.N], b.Slot(slot)
	f.Bytes, f.Headroom, f.Offload = s[VnetHdrLen:n:n], VnetHdrLen, DecodeOffload(s)
	b.N++
}

// Live returns the frames received by the last fill.
func (b *Batch) Live() []Frame { return b.Frames[:b.N] }
