// Package fdb is the forwarding database (802.1Q 8.8): it says behind which
// port a station of a VLAN is. Dynamic entries are learned from the source
// addresses of frames and go away when their station has been silent for the
// ageing time; static entries are put in and taken out by the operator.
//
// # What makes it more than a map
//
// First, every frame asks twice, once for its source and once for its
// destination, from several workers at once. Those questions must neither wait
// nor allocate. So the table is an array of buckets of two cache lines, seven
// keys with their values, each one atomic 64-bit word. A station that talks
// costs a store only when the coarse clock has advanced since its last frame,
// so that the cache lines of busy stations stay shared between the processors.
//
// Second, anyone who can send a frame can write to the table. The hash is
// keyed, so nobody can aim at a bucket. A port can be given a limit of its
// own. When the table is full the port with the largest share is refused, and
// any other port takes the place of the newest entry of the port with the
// largest share: whoever floods the switch with addresses displaces his own,
// last ones first, and a station that was there before him stays. A refused
// address is decided on counters, without the mutex, so that a flood does not
// make the workers queue for it.
//
// Third, losing a link must make a port's stations unknown at once, however
// many they are. Each dynamic entry carries the generation of its port and is
// absent when the port has moved on to the next: FlushPort has its effect with
// one store and gathers the leftovers afterwards, a few at a time. It gathers
// all before it returns and runs once at a time, so a generation is over before
// its eight bits come round to it again.
//
// Fourth, time is a 16-bit tick that the caller hands in. Ages are differences,
// so it may wrap. An entry is absent from the tick on at which it is expired,
// whether or not Age has come by; Age only makes room. What has expired or was
// flushed counts as present in Stats, limits and capacity until it is removed.
//
// Fifth, the same station is never in two slots and an entry never moves from
// one slot to another: there is no rehashing and no displacement. A key may be
// in either of two buckets, which with half of the slots in use at the most
// leaves about one address in a million without a place; that one is refused.
//
// Sixth, whoever wants to know what changes can Watch. Every insertion, move and
// removal passes the mutex anyway, and there it leaves a Change in a ring of fixed
// length, if anyone watches; a watcher who is late is told how many he has missed
// and lists the table. Refreshes and refusals leave none: they happen per frame.
// The latter are counted by port.
//
// # Thread-safety
//
// Every method may be called at any time from any goroutine. Insertions,
// removals and moves take one mutex, for one entry at a time or, in FlushPort,
// for at most 256. Lookup takes none, nor does Learn for a station that is
// where it was or one that a limit or the largest share keeps out. Watch.Read
// takes it for as many changes as it is given room for. Functions given to Flush
// are called with the mutex held.
//
// Why a reader never pairs one key with the value of another. An insertion
// takes a slot whose key and value are 0 and stores, in this order, the
// bucket's next sequence number, the value, the key. A removal stores 0 as the
// value, then 0 as the key. Every other store to a value is made with the key
// in place, under the mutex or by a compare-and-swap of the value that was
// read, which a removal makes fail. A reader loads the sequence number, the
// key, the value and the sequence number again. If the number is the same, no
// insertion into the bucket began in between; one that had begun before stores
// its key last, so a key found in its slot is its own. All that can have
// happened to the slot since the key was read is a removal, and then the value
// is 0. If the number differs the reader starts over, but it never waits for a
// writer: a bucket in the midst of a change is as readable as any. The number
// has 64 bits and does not come round.
//
// A compare-and-swap to refresh one key may by bad luck meet another key that
// took the slot with an equal value: same port, same tick. It then refreshes a
// station that was not heard, by no more than two workers' clocks differ.
//
// Why a miss is true. A key leaves its slot before it can be entered into
// another, and between the two it is absent. A reader that looked at the key's
// slots one after the other and did not see it in any has either looked while
// it was absent all along, or it was absent at an instant in between.
// Therefore Lookup, Learn, Add, Remove and FlushPort are linearizable for each
// key.
package fdb
