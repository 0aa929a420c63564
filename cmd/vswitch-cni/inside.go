package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var (
	errNoContainer = errors.New("there is no such network namespace")
	errNoNetns     = errors.New("not a network namespace")
	errOwnNetns    = errors.New("the host's: there is no container to attach")
)

// in has do look into a network namespace with a socket of it.
func in(path string, do func(*netlink.Handle) error) error {
	// Without O_NONBLOCK a path to a FIFO would wait for a writer.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == unix.ENOENT {
		return fmt.Errorf("%s: %w", path, errNoContainer)
	}
	if err != nil {
		return fmt.Errorf("open the network namespace %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }() // Opened to be read: nothing can be lost.
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return fmt.Errorf("%s is %w", path, errNoNetns)
	}
	own, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open the network namespace of the plugin: %w", err)
	}
	defer func() { _ = own.Close() }()
	if own.Equal(netns.NsHandle(fd)) {
		return fmt.Errorf("the network namespace %s is %w", path, errOwnNetns)
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", path, err)
	}
	defer h.Close()
	return do(h)
}

// inside has do look at a container's interface.
func inside(path, ifname string, do func(*netlink.Handle, netlink.Link) error) error {
	return in(path, func(h *netlink.Handle) error {
		link, err := h.LinkByName(ifname)
		if err == nil {
			err = do(h, link)
		}
		if err != nil {
			return fmt.Errorf("link %s in network namespace %s: %w", ifname, path, err)
		}
		return nil
	})
}

// defaults tells whether a namespace has a default route, by whether that is one
// of IPv6. The first interface of a container with one keeps it.
func defaults(path string) (has map[bool]bool, err error) {
	has = map[bool]bool{}
	err = in(path, func(h *netlink.Handle) error {
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			routes, err := h.RouteList(nil, family)
			if err != nil {
				return fmt.Errorf("list the routes in network namespace %s: %w", path, err)
			}
			has[family == netlink.FAMILY_V6] = slices.ContainsFunc(routes, func(r netlink.Route) bool { return everywhere(r.Dst) })
		}
		return nil
	})
	return has, err
}

func everywhere(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

// split divides the routes of a result into the gateways of plain default routes
// by a neighbour, which the daemon sets again when it makes the link anew, and
// others. One without next hop has the gateway of the address of its family.
func split(path string, r *types100.Result) (gateways []netip.Addr, others []*types.Route, err error) {
	has, err := defaults(path)
	if err != nil {
		return nil, nil, err
	}
	for _, route := range r.Routes {
		is := *route
		if is.GW == nil {
			is.GW = gateway(r.IPs, is.Dst.IP)
		}
		g, ok := netip.AddrFromSlice(is.GW)
		g = g.Unmap()
		near := slices.ContainsFunc(r.IPs, func(ip *types100.IPConfig) bool { return ip.Address.Contains(is.GW) })
		plain := is.MTU == 0 && is.AdvMSS == 0 && is.Priority == 0 && is.Table == nil && is.Scope == nil
		switch {
		case !ok || !near || !plain || !everywhere(&is.Dst):
			others = append(others, &is)
		case !has[g.Is6()]:
			gateways = append(gateways, g)
			has[g.Is6()] = true
		}
	}
	return gateways, others, nil
}

// addRoutes adds routes by an interface.
func addRoutes(path, ifname string, routes []*types.Route) error {
	if len(routes) == 0 {
		return nil
	}
	return inside(path, ifname, func(h *netlink.Handle, link netlink.Link) error {
		for _, route := range routes {
			n := netlink.Route{
				LinkIndex: link.Attrs().Index, Dst: &route.Dst, Gw: route.GW,
				MTU: route.MTU, AdvMSS: route.AdvMSS, Priority: route.Priority,
			}
			if route.Table != nil {
				n.Table = *route.Table
			}
			if route.Scope != nil {
				n.Scope = netlink.Scope(*route.Scope)
			}
			if err := h.RouteAdd(&n); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add the route to %s by %v: %w", route.Dst.String(), n.Gw, err)
			}
		}
		return nil
	})
}

func isIPv4(ip net.IP) bool { return ip.To4() != nil }

func gateway(ips []*types100.IPConfig, to net.IP) net.IP {
	for _, ip := range ips {
		if isIPv4(ip.Address.IP) == isIPv4(to) {
			return ip.Gateway
		}
	}
	return nil
}

// told returns what a container's interface has for addresses and routes.
func told(path, ifname string) (ips []*types100.IPConfig, routes []*types.Route, err error) {
	err = inside(path, ifname, func(h *netlink.Handle, link netlink.Link) error {
		addrs, err := h.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		has, err := h.RouteList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, r := range has {
			if r.Gw != nil && r.Dst != nil {
				routes = append(routes, &types.Route{Dst: *r.Dst, GW: r.Gw, Priority: r.Priority})
			}
		}
		for _, a := range addrs {
			if a.Scope != unix.RT_SCOPE_LINK {
				ip := &types100.IPConfig{Interface: new(0), Address: *a.IPNet}
				i := slices.IndexFunc(routes, func(r *types.Route) bool { return a.Contains(r.GW) })
				if i >= 0 {
					ip.Gateway = routes[i].GW
				}
				ips = append(ips, ip)
			}
		}
		return nil
	})
	return ips, routes, err
}

// compare tells in what a container's interface is not as it was before.
func compare(path, ifname, mac string, before *types100.Result) error {
	index := slices.IndexFunc(before.Interfaces, func(i *types100.Interface) bool { return i.Name == ifname && i.Sandbox == path })
	if index < 0 {
		return fmt.Errorf("prevResult has no interface %s in %s", ifname, path)
	}
	if was := before.Interfaces[index].Mac; was != mac {
		return fmt.Errorf("link %s has the MAC address %s, and had %s", ifname, mac, was)
	}
	ips, routes, err := told(path, ifname)
	if err != nil {
		return err
	}
	for _, was := range before.IPs {
		if was.Interface == nil || *was.Interface != index {
			continue
		}
		same := func(is *types100.IPConfig) bool { return is.Address.String() == was.Address.String() }
		if !slices.ContainsFunc(ips, same) {
			return fmt.Errorf("link %s lacks the address %s", ifname, was.Address.String())
		}
	}
	for _, was := range before.Routes {
		same := func(is *types.Route) bool {
			return is.Dst.String() == was.Dst.String() && (was.GW == nil || is.GW.Equal(was.GW))
		}
		if !slices.ContainsFunc(routes, same) {
			return fmt.Errorf("the route to %s by link %s is gone", was.Dst.String(), ifname)
		}
	}
	return nil
}
