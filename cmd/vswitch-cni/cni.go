package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/vswitchd/vswitchd/control"
)

// within has do work on the network that the runtime names, for a limited time.
func within(args *skel.CmdArgs, do func(context.Context, *network) error) error {
	n, err := parse(args)
	if err != nil {
		return err
	}
	return n.within(do)
}

// withPort is within for what needs a port: what the network says of it must be
// right. DEL and GC do without, for a runtime calls DEL where ADD was refused.
func withPort(args *skel.CmdArgs, do func(context.Context, *network) error) error {
	n, err := parse(args)
	if err == nil {
		err = n.describe(args)
	}
	if err != nil {
		return err
	}
	return n.within(do)
}

func (n *network) within(do func(context.Context, *network) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return n.explained(do(ctx, n))
}

const (
	// errNotAvailable is STATUS's code for a plugin that cannot ADD (CNI
	// specification 1.1.0, section 3).
	errNotAvailable = 50
	// errRefused is what the daemon has refused: codes from 100 are a plugin's own.
	errRefused = 100
)

const startIt = "is vswitchd running? start it, or write its control socket as \"socket\" into the network configuration"

// explained makes of an error what the runtime is to show, and in Code whether
// another try may help.
func (n *network) explained(err error) error {
	if err == nil {
		return nil
	}
	code, fix, text := types.ErrInternal, "", err.Error()
	if e, ok := errors.AsType[*types.Error](err); ok {
		code, fix = e.Code, e.Details
		text = strings.TrimSuffix(text, "; "+fix) // Printed by itself.
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		code, fix = errRefused, e.Fix
	}
	if errors.Is(err, control.ErrUnreachable) {
		code, fix = types.ErrTryAgainLater, startIt
	}
	for is, as := range map[error]uint{
		errNoContainer: types.ErrUnknownContainer, errNoNetns: types.ErrInvalidEnvironmentVariables, errOwnNetns: types.ErrInvalidNetNS,
	} {
		if errors.Is(err, is) {
			code, fix = as, "CNI_NETNS is to name the network namespace of a container"
		}
	}
	return types.NewError(code, fmt.Sprintf("network %s: %s", n.Name, text), fix)
}

// add is ADD. An attachment that is there already stays, and is told again.
func add(args *skel.CmdArgs) error {
	return withPort(args, func(ctx context.Context, n *network) error {
		if n.RawPrevResult != nil {
			return types.NewError(types.ErrInvalidNetworkConfig, "there is a plugin in front of vswitch in the chain, but it makes the interface: put it first", "")
		}
		r, err := n.again(ctx, args)
		if r == nil && err == nil {
			r, err = n.attach(ctx, args)
		}
		if err != nil {
			return err
		}
		return types.PrintResult(r, n.CNIVersion)
	})
}

// again returns the result of an attachment that is there already, or nil. One
// into another namespace is that of a container before, and is removed.
func (n *network) again(ctx context.Context, args *skel.CmdArgs) (*types100.Result, error) {
	p, err := n.find(ctx, n.client)
	if p == nil || err != nil {
		return nil, err
	}
	if p.Config.Netns == pinned(args.Netns) {
		r := n.result(p, args)
		r.IPs, r.Routes, err = told(args.Netns, args.IfName)
		return r, err
	}
	return nil, errors.Join(n.remove(ctx, n.client), n.release(ctx))
}

// attach makes an attachment, all of it or nothing.
func (n *network) attach(ctx context.Context, args *skel.CmdArgs) (r *types100.Result, err error) {
	given := &types100.Result{DNS: n.DNS}
	if n.IPAM.Type != "" {
		if given, err = n.allocate(ctx); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, n.release(ctx))
			}
		}()
	}
	ips, err := prefixes(given)
	if err != nil {
		return nil, err
	}
	gateways, routes, err := split(args.Netns, given)
	if err != nil {
		return nil, err
	}
	p, err := n.client.AddPort(ctx, n.config(n.port, pinned(args.Netns), ips, gateways))
	if err != nil {
		return nil, err
	}
	if err := addRoutes(args.Netns, args.IfName, routes); err != nil {
		return nil, errors.Join(err, n.remove(ctx, n.client))
	}
	r = n.result(&p, args)
	r.IPs, r.Routes, r.DNS = given.IPs, given.Routes, given.DNS
	for _, ip := range r.IPs {
		ip.Interface = new(0)
	}
	return r, nil
}

// result tells of the interface alone. There is none on the host's side: that of
// a TAP is the switch's descriptor.
func (n *network) result(p *control.Port, args *skel.CmdArgs) *types100.Result {
	return &types100.Result{
		CNIVersion: types100.ImplementedSpecVersion,
		Interfaces: []*types100.Interface{{Name: args.IfName, Mac: p.MAC.String(), Mtu: p.MTU, Sandbox: args.Netns}},
		DNS:        n.DNS,
	}
}

// allocate has the IPAM plugin choose addresses and routes.
func (n *network) allocate(ctx context.Context) (*types100.Result, error) {
	r, err := invoke.DelegateAdd(ctx, n.IPAM.Type, n.stdin, nil)
	if err != nil {
		return nil, fmt.Errorf("ipam %s: %w", n.IPAM.Type, err)
	}
	return types100.NewResultFromResult(r)
}

// release gives them back, if there are any.
func (n *network) release(ctx context.Context) error {
	return n.ipam(ctx, invoke.DelegateDel)
}

// ipam has the IPAM plugin, if there is one, do what has no result.
func (n *network) ipam(ctx context.Context, do func(context.Context, string, []byte, invoke.Exec) error) error {
	if n.IPAM.Type == "" {
		return nil
	}
	if err := do(ctx, n.IPAM.Type, n.stdin, nil); err != nil {
		return fmt.Errorf("ipam %s: %w", n.IPAM.Type, err)
	}
	return nil
}

// del is DEL. Without a daemon there is no port, and none comes back: it is
// ephemeral.
func del(args *skel.CmdArgs) error {
	return within(args, func(ctx context.Context, n *network) error {
		err := n.remove(ctx, n.client)
		if errors.Is(err, control.ErrUnreachable) && !errors.Is(err, control.ErrTimeout) {
			fmt.Fprintf(os.Stderr, "network %s: %v: its ports are gone\n", n.Name, err)
			err = nil
		}
		// The address is free only once the port is gone.
		if err != nil {
			return err
		}
		return n.release(ctx)
	})
}

// check is CHECK.
func check(args *skel.CmdArgs) error {
	return withPort(args, func(ctx context.Context, n *network) error {
		before, err := n.previous()
		if err != nil {
			return err
		}
		p, err := n.find(ctx, n.client)
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("port %s, of the container's %s, is gone", n.attachment.port(), n.ifname)
		case p.Config.Netns != pinned(args.Netns):
			return fmt.Errorf("port %s: its link is in network namespace %s, not in %s", p.Name, p.Config.Netns, args.Netns)
		case !p.Up:
			return fmt.Errorf("port %s: its link %s is down", p.Name, p.Ifname)
		}
		if err := compare(args.Netns, n.ifname, p.MAC.String(), before); err != nil {
			return err
		}
		return n.ipam(ctx, invoke.DelegateCheck)
	})
}

// collect is GC: it removes the network's ports of other attachments than the
// valid ones; of all, if no list is given, which is how cnitool calls it.
func collect(args *skel.CmdArgs) error {
	return within(args, func(ctx context.Context, n *network) error {
		ports, err := n.client.Ports(ctx)
		if err != nil {
			return err
		}
		for i := range ports {
			a, ok := attachmentOf(ports[i].Config.Description)
			valid := slices.Contains(n.ValidAttachments, types.GCAttachment{ContainerID: a.container, IfName: a.ifname})
			if ok && !valid && a.by == n.by && a.network == n.Name {
				err = errors.Join(err, a.remove(ctx, n.client))
			}
		}
		return errors.Join(err, n.ipam(ctx, invoke.DelegateGC))
	})
}

// status is STATUS.
func status(args *skel.CmdArgs) error {
	return withPort(args, func(ctx context.Context, n *network) error {
		if _, err := n.client.Status(ctx); err != nil {
			return types.NewError(errNotAvailable, err.Error(), startIt)
		}
		err := n.ipam(ctx, invoke.DelegateStatus)
		if _, told := errors.AsType[*types.Error](err); err != nil && !told {
			return types.NewError(errNotAvailable, err.Error(), "")
		}
		return err
	})
}
