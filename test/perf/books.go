package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// books are the counters of a network that tell where a frame has gone.
type books struct {
	arrived uint64 // frames, at the receiving host's link
	dropped uint64 // by links, queueing disciplines, sockets and the switch
}

// read adds up the counters. The hosts' rx_dropped is left out: it counts the
// opaque frames that arrived and that nobody wanted.
func (nw *network) read(receiver *host) (b books, err error) {
	for _, h := range nw.hosts {
		err := h.ns.Do(func() error {
			link, err := netlink.LinkByIndex(h.index)
			if err != nil {
				return err
			}
			stats := link.Attrs().Statistics
			b.dropped += stats.TxDropped + stats.TxErrors
			n, err := queueDrops(link)
			b.dropped += n
			return err
		})
		if err != nil {
			return b, fmt.Errorf("read the counters of %s: %w", h.addr, err)
		}
	}
	if b.arrived, err = receiver.arrived(); err != nil {
		return b, fmt.Errorf("read the counters of %s: %w", receiver.addr, err)
	}
	if err := nw.core.Do(func() error { return linkDrops(&b.dropped) }); err != nil {
		return b, fmt.Errorf("read the counters of the switch's links: %w", err)
	}
	err = receiver.ns.Do(func() error {
		n, err := socketDrops()
		b.dropped += n
		return err
	})
	if err != nil || nw.dropped == nil {
		return b, err
	}
	n, err := nw.dropped()
	b.dropped += n
	return b, err
}

// arrived is the frames that have reached the host's link, or QEMU from a
// guest's TAP: it waits until the guest has room for the next.
func (h *host) arrived() (n uint64, err error) {
	err = h.ns.Do(func() error {
		link, err := netlink.LinkByIndex(h.index)
		if err == nil {
			n = link.Attrs().Statistics.RxPackets
			if link.Type() == "tuntap" && link.Attrs().Name == guestTAP {
				n = link.Attrs().Statistics.TxPackets
			}
		}
		return err
	})
	return n, err
}

// linkDrops adds what the links of the calling thread's namespace dropped.
func linkDrops(sum *uint64) error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		if s := link.Attrs().Statistics; s != nil {
			*sum += s.RxDropped + s.RxErrors + s.TxDropped + s.TxErrors
		}
	}
	return nil
}

// queueDrops is what the link's queueing disciplines dropped.
func queueDrops(link netlink.Link) (sum uint64, err error) {
	queues, err := netlink.QdiscList(link)
	if err != nil {
		return 0, err
	}
	for _, q := range queues {
		if s := q.Attrs().Statistics; s != nil && s.Queue != nil && q.Attrs().Parent == netlink.HANDLE_ROOT {
			sum += uint64(s.Queue.Drops)
		}
	}
	return sum, nil
}

// socketDrops is the datagrams that reached the calling thread's namespace and
// no reader (InErrors includes RcvbufErrors, InCsumErrors and MemErrors).
func socketDrops() (uint64, error) { return snmp("Udp:", "InErrors", "NoPorts") }

// segments adds up the TCP segments that the hosts have sent first, and those that
// they had to send again.
func (nw *network) segments() (first, again uint64, err error) {
	for _, h := range nw.hosts {
		err = errors.Join(err, h.ns.Do(func() error {
			out, err := snmp("Tcp:", "OutSegs")
			if err != nil {
				return err
			}
			re, err := snmp("Tcp:", "RetransSegs")
			first, again = first+out, again+re
			return err
		}))
	}
	return first, again, err
}

// snmp adds up counters of a protocol in the calling thread's namespace.
func snmp(protocol string, counters ...string) (sum uint64, err error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != protocol {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if !slices.Contains(counters, name) {
				continue
			}
			n, err := strconv.ParseUint(f[i], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/net/snmp: %w", err)
			}
			sum += n
		}
	}
	return sum, nil
}

// balance says what is wrong with the books, or nothing: of all that was sent,
// from before the load's start on, what did neither arrive nor get counted as
// dropped must be next to nothing.
func balance(sent, delivered, dropped uint64) string {
	missing := int64(sent) - int64(delivered) - int64(dropped)
	if tolerance := int64(sent / 10_000); missing > tolerance+2 || -missing > tolerance+2 {
		return fmt.Sprintf("the books do not balance: %d sent, %d delivered, %d counted as dropped, %d missing", sent, delivered, dropped, missing)
	}
	return ""
}

// drained returns once nothing more arrives for the pause. units is what has arrived
// so far.
func drained(pause time.Duration, units func() (uint64, error)) error {
	last := ^uint64(0)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(pause) {
		n, err := units()
		if err != nil || n == last {
			return err
		}
		last = n
	}
	return nil
}
