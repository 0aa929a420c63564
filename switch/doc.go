// Package vswitch is the switch: ports, the forwarding process between them,
// and the control plane that changes both. (The folder is called switch, which
// is a keyword.)
//
// # The forwarding process
//
// One goroutine per receive queue, its worker, takes a frame from its port all
// the way to the egress ports. In order, with the function of each step:
//
//  1. receive a batch             port.Receiver.ReadBatch, called by worker.run
//  2. one snapshot, one tick      worker.relayBatch
//  3. parse the MAC header        frame.Frame.Parse
//  4. decide                      decide
//     a. admit and classify       ingress: port state, addresses, frame type, VID, ingress filtering, source
//     b. find the egress ports    lookup: known unicast, or flood
//     c. filter them              egress, flood: state, member set, isolation, uplinks
//  5. learn the source            worker.relay, after ingress filtering, so that spoofed VIDs teach nothing
//  6. queue a copy per port       worker.send: tag action, MTU
//  7. flush                       outbox.flush, then port.Transmitter.Transmit
//
// decide is pure: it reads a snapshot, the FDB and the frame and writes a
// Verdict. Everything that explains a frame calls the same decide.
//
// Step 5 comes after step 4 although a bridge learns before it forwards; the
// one frame for which the order shows, from a station to itself, is dealt with
// in lookup.
//
// # Changing the configuration
//
// The control plane never touches what a worker reads. It builds a new
// snapshot, publishes it in one atomic store, and, where something is to be
// taken away, waits until every worker has been seen between two batches
// (Switch.quiesce). Only then are a port's fd closed, its addresses forgotten
// and its PortID given out again.
package vswitch
