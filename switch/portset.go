package vswitch

import (
	"iter"
	"math/bits"

	"github.com/vswitchd/vswitchd/frame"
)

const portSetWords = frame.MaxPorts / 64

// PortSet is a set of switch ports, one bit each. It is a value: assigning it
// copies it.
type PortSet [portSetWords]uint64

// Has reports whether p is in the set.
func (s *PortSet) Has(p frame.PortID) bool { return s[p/64]&(1<<(p%64)) != 0 }

// Add puts p into the set.
func (s *PortSet) Add(p frame.PortID) { s[p/64] |= 1 << (p % 64) }

// Remove takes p out of the set.
func (s *PortSet) Remove(p frame.PortID) { s[p/64] &^= 1 << (p % 64) }

// RemoveAll takes the ports of o out of the set.
func (s *PortSet) RemoveAll(o *PortSet) {
	for i, w := range o {
		s[i] &^= w
	}
}

// Empty reports whether no port is in the set.
func (s *PortSet) Empty() bool { return *s == PortSet{} }

// Len returns how many ports are in the set.
func (s *PortSet) Len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// All yields the ports of the set in ascending order.
func (s *PortSet) All() iter.Seq[frame.PortID] {
	return func(yield func(frame.PortID) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(frame.PortID(64*i + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}
