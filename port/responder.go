package port

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// ResponderConfig says who a Responder is.
type ResponderConfig struct {
	Name string         // for errors
	IP   []netip.Prefix // its addresses, one or more, each with its network's length
	MAC  *frame.MAC     // nil: made of the first address
	MTU  int            // bytes
}

// Responder is a Port with a station of its own, which answers ARP, neighbour
// solicitations and echo requests for its addresses, in each VLAN that the port
// carries and with the tag that the question had. It never speaks first. Its link
// is always up; frames owe no offload work, in either direction.
//
// Transmit copies questions into a queue of fixed size, and ReadBatch answers
// them: one answer for each, so that nobody gets more out than he puts in. All
// else is taken and forgotten, as by a station with nobody listening.
type Responder struct {
	station
	name   string
	ctx    context.Context //nolint:containedctx // It ends with Close.
	cancel context.CancelFunc
	mtu    atomic.Int64

	questions outQueue
	rest      []byte // ReadBatch's: what is yet to be answered
}

var _ Port = (*Responder)(nil)

// NewResponder makes a Responder.
func NewResponder(cfg ResponderConfig) *Responder {
	r := &Responder{name: cfg.Name, questions: newOutQueue()}
	r.ips = cfg.IP
	mac := addressFor(cfg.IP[0].Addr())
	if cfg.MAC != nil {
		mac = *cfg.MAC
	}
	r.mac.Store(mac.Uint64())
	r.mtu.Store(int64(cfg.MTU))
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.questions.begin()
	return r
}

// addressFor makes a locally administered MAC address of an IP address: the same
// after a restart, and in one network as unique as that.
func addressFor(ip netip.Addr) frame.MAC {
	h := fnv.New64a()
	_, _ = h.Write(ip.AsSlice()) // A hash takes everything.
	m := frame.MACFromUint64(h.Sum64())
	m[0] = 0x02
	return m
}

// Link returns the state of the link, which is no kernel interface.
func (r *Responder) Link() (Link, error) {
	return Link{NSID: OwnNSID, MAC: r.address(), MTU: int(r.mtu.Load()), Up: true, AdminUp: true}, nil
}

// SetLink changes the MAC address and the MTU, all that can be changed.
func (r *Responder) SetLink(c LinkChange) error {
	if c.TxQLen != nil || c.Up != nil {
		return &Error{
			Op: "change the link of", Name: r.name, Why: "a responder has a MAC address and an MTU only", Err: ErrNotSupported,
			Fix: "to stop the port, set its state to discarding",
		}
	}
	if c.MAC != nil {
		r.mac.Store(c.MAC.Uint64())
	}
	if c.MTU != nil {
		r.mtu.Store(int64(*c.MTU))
	}
	return nil
}

// ReceiveErrors returns 0: there is no device that can fail.
func (r *Responder) ReceiveErrors() uint64 { return 0 }

// Offloads is described at Transmitter: the station reads whole frames.
func (r *Responder) Offloads() frame.Offloads { return 0 }

// Transmit is described at Transmitter.
func (r *Responder) Transmit(out []Out) {
	q, asked := &r.questions, false
	for i := range out {
		out[i].Reason = frame.Keep
		if !mayAsk(out[i].Frame) {
			continue
		}
		asked = true
		q.mu.Lock()
		out[i].Reason = q.add(&out[i])
		q.mu.Unlock()
	}
	if asked {
		q.wakeUp()
	}
}

// mayAsk reports whether there can be an answer to the frame: those of other
// protocols are not to take up room in the queue.
func mayAsk(f *frame.Frame) bool {
	b := f.Bytes[frame.HeaderLen:]
	if f.Tagged {
		b = f.Bytes[frame.TaggedLen:]
	}
	switch f.EtherType {
	case unix.ETH_P_ARP:
		return true
	case unix.ETH_P_IP:
		return len(b) >= ipv4Len && b[ipv4Proto] == unix.IPPROTO_ICMP
	case unix.ETH_P_IPV6:
		return len(b) >= ipv6Len && b[ipv6Next] == unix.IPPROTO_ICMPV6
	}
	return false
}

// ReadBatch is described at Receiver. A responder never goes away by itself.
func (r *Responder) ReadBatch(b *frame.Batch) error {
	for b.N = 0; b.N == 0; {
		if len(r.rest) == 0 {
			select {
			case <-r.ctx.Done():
				return os.ErrClosed
			case <-r.questions.wake:
			}
			r.rest = r.questions.take()
		}
		for b.N < frame.BatchSize && len(r.rest) > 0 {
			end := lengthLen + int(binary.BigEndian.Uint32(r.rest))
			slot := b.Slot(b.N)
			n := r.answer(slot, r.rest[lengthLen:end])
			r.rest = r.rest[end:]
			if n == 0 {
				continue
			}
			f := &b.Frames[b.N]
			f.Bytes, f.Headroom, f.Offload = slot[:n:n], 0, frame.Offload{}
			b.N++
		}
	}
	return nil
}

// Close ends a waiting ReadBatch. A second Close returns os.ErrClosed.
func (r *Responder) Close() error {
	if r.ctx.Err() != nil {
		return os.ErrClosed
	}
	r.cancel()
	return nil
}
