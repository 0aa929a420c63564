package main

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// dearFilters are so many that the kernel takes some 0.1 ms to go through them
	// for a frame, within the switch's write.
	dearFilters = 10_000
	// pacedRate is what is sent to that station: more than it has time for.
	pacedRate = 8000 // frames/s
	// pacedBurst is sent at once.
	pacedBurst = 10 // frames
)

// besideTopologies are vswitchd with the last host as it is, and dear to send to.
func (v *variant) besideTopologies() []*topology {
	return []*topology{
		{name: v.name + " cheap", scene: beside, build: v.build},
		{name: v.name + " dear", scene: beside, build: func(nw *network) error {
			if err := v.build(nw); err != nil {
				return err
			}
			last := nw.hosts[len(nw.hosts)-1]
			if err := last.ns.Do(addFilters); err != nil {
				return fmt.Errorf("add filters: %w", err)
			}
			return nil
		}},
	}
}

// addFilters has the kernel compare every frame that eth0 of the calling thread's
// namespace receives with many words, none of which it has.
func addFilters() error {
	link, err := awaitLink(eth0)
	if err != nil {
		return err
	}
	index := link.Attrs().Index
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS,
	}}
	if err := netlink.QdiscAdd(ingress); err != nil {
		return err
	}
	for i := range uint32(dearFilters) {
		filter := &netlink.U32{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
			ClassId:     netlink.MakeHandle(1, 1),
			Sel: &netlink.TcU32Sel{
				Flags: netlink.TC_U32_TERMINAL, Nkeys: 1,
				Keys: []netlink.TcU32Key{{Mask: 0xffffffff, Val: 0xdead0000 + i, Off: 4}},
			},
		}
		if err := netlink.FilterAdd(filter); err != nil {
			return err
		}
	}
	return nil
}

// paced sends frames at pacedRate. They count as sent nowhere.
func (l *load) paced(from, to *host) error {
	fd, err := l.packetSocket(from)
	if err != nil {
		return err
	}
	b := from.frames(to, pacedBurst)
	l.send(func() error {
		began := time.Now()
		for n := 0; l.sending.Load(); n += pacedBurst {
			if _, errno := b.transfer(unix.SYS_SENDMMSG, fd, 0); errno != 0 && !waits(errno) {
				return fmt.Errorf("send a batch: %w", errno)
			}
			time.Sleep(time.Until(began.Add(time.Duration(n+pacedBurst) * time.Second / pacedRate)))
		}
		return nil
	})
	return nil
}
