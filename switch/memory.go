package vswitch

import (
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// memory is what a worker has of its own for frames: a mapping whose untouched
// pages cost nothing, and at which the garbage collector never looks.
type memory []byte

func mapMemory() (memory, error) {
	return unix.Mmap(-1, 0, frame.BatchSize*frame.SlotLen+segmentRoom, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
}

func (m memory) unmap() { _ = unix.Munmap(m) }

// batch returns a batch over its part of the memory.
func (m memory) batch() *frame.Batch { return frame.NewBatch(m) }

// room returns the part for segments.
func (m memory) room() []byte { return m[frame.BatchSize*frame.SlotLen:] }
