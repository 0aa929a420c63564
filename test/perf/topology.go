package main

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// topology is one way to connect hosts.
type topology struct {
	name  string
	scene scene
	links string // that its netdev ports are at; empty if it has none
	build func(nw *network) error
}

// bridgeTopology is the kernel's bridge with a veth pair per host.
func bridgeTopology() *topology {
	return &topology{name: "bridge", build: func(nw *network) error { return buildBridge(nw) }}
}

// buildBridge has a veth pair per host as members, and other links that are there.
func buildBridge(nw *network, others ...string) error {
	err := nw.core.Do(func() error {
		snooping := false
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: &snooping}
		if err := netlink.LinkAdd(br); err != nil {
			return fmt.Errorf("make a bridge: %w", err)
		}
		var ports []netlink.Link
		for i := range nw.hosts {
			port, err := vethPair(i)
			if err != nil {
				return err
			}
			ports = append(ports, port)
		}
		for _, name := range others {
			port, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			ports = append(ports, port)
		}
		for _, port := range ports {
			if err := errors.Join(netlink.LinkSetMaster(port, br), netlink.LinkSetUp(port)); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(br)
	})
	if err != nil {
		return err
	}
	return nw.adoptAll()
}

// vethPair makes p0 for the switch and t0 for the host, or p1 and t1 and so on.
func vethPair(i int) (netlink.Link, error) {
	port := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("p%d", i)}, PeerName: fmt.Sprintf("t%d", i)}
	if err := netlink.LinkAdd(port); err != nil {
		return nil, fmt.Errorf("make a veth pair: %w", err)
	}
	return port, nil
}

// adoptAll gives the links t0, t1, ... to the hosts.
func (nw *network) adoptAll() error {
	for i := range nw.hosts {
		if err := nw.adopt(i, fmt.Sprintf("t%d", i)); err != nil {
			return fmt.Errorf("%w%s", err, nw.lastWords())
		}
	}
	return nil
}
