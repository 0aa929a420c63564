package vswitch

import (
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// mapBatch makes a worker's batch over memory of its own mapping: untouched
// pages cost nothing, and the garbage collector never looks at them.
func mapBatch() (b *frame.Batch, unmap func(), err error) {
	m, err := unix.Mmap(-1, 0, frame.BatchSize*frame.SlotLen, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, err
	}
	return frame.NewBatch(m), func() { _ = unix.Munmap(m) }, nil
}
