// Package frame holds what every other package says about an Ethernet frame:
// its bytes, the addresses and C-TAG found in them, the offload work it still
// owes, and the reasons for which it can be dropped.
//
// The borrow rule. A Frame's Bytes point into the Batch that the receiving
// worker owns. They are valid until that batch is filled again, they are never
// kept beyond it, and nobody but the owning worker may change them. A frame
// is never copied to be forwarded or flooded: the worker that received it
// writes the same bytes to each egress port and only then reads again.
//
// The package imports nothing of this module.
package frame
