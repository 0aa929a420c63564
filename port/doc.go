// Package port is the outside of a switch port: how frames come in from a
// station and go out to it. Its kinds are the TAP; for a VMM without privileges,
// Stream and Dgram over unix sockets; and the Responder, whose station is part of
// it. What is said below is of TAPs.
//
// Direction. The switch stands on the character-device side of a TAP, the
// station on the side of the link (the kernel interface). What the switch
// receives is what the link has transmitted, and the other way round: the TX
// column of `ip -s link` is the switch's receive. All names and counters here
// take the switch's view; Link.KernelDrops is the link's tx_dropped.
//
// Borrowing. ReadBatch fills the caller's batch and keeps no reference to it.
// Transmit reads the bytes of the frames it is given, changes none of them and
// keeps none after it has returned.
//
// Concurrency. One goroutine may be in ReadBatch, any number in Transmit and in
// all other methods. Close may be called at any time with respect to ReadBatch,
// Link, Info and SetLink, which then return os.ErrClosed. It must not overlap
// with Transmit, which uses the bare descriptor: after Close the kernel gives
// that number to somebody else's file.
//
// Closing a TAP takes the kernel some 20 ms (RCU grace periods): who closes
// many of them does it in parallel.
//
// Where a link lives. A TAP is always opened in the daemon's own network
// namespace, for the descriptor keeps the namespace alive in which it was
// opened. The link may then be moved elsewhere, by OpenTAP or by anybody, and
// renamed; Link, Info and SetLink find it. These methods, OpenTAP and
// NewMonitor must be called on a thread that is in the daemon's own namespace.
//
// Capabilities. Everything needs CAP_NET_ADMIN, over the owner of the link's
// network namespace too. Moving a link or changing it in another namespace
// enters that one for a moment, which needs CAP_SYS_ADMIN; reading it there
// does not. A Monitor needs CAP_NET_BROADCAST.
package port
