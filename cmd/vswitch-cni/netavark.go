package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	build "github.com/vswitchd/vswitchd/internal/version"
)

// The part that is used of what netavark's plugin API 1.0.0 has in its requests
// and answers.
type (
	podmanNetwork struct {
		Name     string            `json:"name"`
		Internal bool              `json:"internal"`
		Options  map[string]string `json:"options"`
		Subnets  []podmanSubnet    `json:"subnets"`
	}
	podmanSubnet struct {
		Subnet  netip.Prefix `json:"subnet"`
		Gateway *netip.Addr  `json:"gateway"`
	}
	podmanContainer struct {
		ID      string        `json:"container_id"`
		Network podmanNetwork `json:"network"`
		Options struct {
			Ifname string       `json:"interface_name"`
			IPs    []netip.Addr `json:"static_ips"`
			MAC    *frame.MAC   `json:"static_mac"`
		} `json:"network_options"`
	}
	podmanStatus struct {
		Interfaces map[string]podmanInterface `json:"interfaces"`
	}
	podmanInterface struct {
		MAC     string          `json:"mac_address"`
		Subnets []podmanAddress `json:"subnets"`
	}
	podmanAddress struct {
		Gateway *netip.Addr  `json:"gateway,omitempty"`
		IPNet   netip.Prefix `json:"ipnet"`
	}
)

// netavark carries out a subcommand of the plugin API and returns the exit code.
func netavark(args []string, in io.Reader, out io.Writer) int {
	answer, err := subcommand(args, in)
	if err != nil {
		answer = map[string]string{"error": "vswitch: " + withFix(err)}
	}
	if answer != nil {
		if failed := json.NewEncoder(out).Encode(answer); failed != nil {
			return 1
		}
	}
	if err != nil {
		return 1
	}
	return 0
}

func withFix(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok && e.Fix != "" {
		return err.Error() + "; " + e.Fix
	}
	return err.Error()
}

func subcommand(args []string, in io.Reader) (answer any, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	switch verb := strings.Join(args[:1], ""); {
	case verb == "info" && len(args) == 1:
		return map[string]string{"version": build.String(), "api_version": "1.0.0"}, nil
	case verb == "create" && len(args) == 1:
		return create(in)
	case (verb == "setup" || verb == "teardown") && len(args) == 2:
		var c podmanContainer
		if err := json.NewDecoder(in).Decode(&c); err != nil {
			return nil, fmt.Errorf("read the container's network options: %w", err)
		}
		if verb == "setup" {
			return c.setup(ctx, args[1])
		}
		_, client, err := c.Network.port()
		if err != nil {
			return nil, err
		}
		return nil, c.attachment().remove(ctx, client)
	}
	return nil, fmt.Errorf("there is no subcommand %q; this is called by netavark with create, setup NETNS, teardown NETNS or info", strings.Join(args, " "))
}

// create checks a network that podman is about to make, and leaves it as it is.
func create(in io.Reader) (any, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	var n podmanNetwork
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("read the network: %w", err)
	}
	if _, _, err := n.port(); err != nil {
		return nil, err
	}
	return json.RawMessage(text), nil
}

// port makes the port that the network's options describe: keys of a port, a
// list with commas, and socket.
func (n *podmanNetwork) port() (config.Port, *control.Client, error) {
	socket, keys := control.RootSocket, map[string]json.RawMessage{}
	for key, text := range n.Options {
		var value any = text
		switch elements := strings.Split(text, ","); {
		case key == "socket":
			socket = text
			continue
		case len(elements) > 1:
			value = elements
		case json.Valid([]byte(text)):
			value = json.RawMessage(text)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return config.Port{}, nil, err
		}
		keys[key] = raw
	}
	p, err := portOf(keys)
	if err != nil {
		err = fmt.Errorf("network %s: option %w", n.Name, err)
	}
	return p, control.NewClient(socket), err
}

func (c *podmanContainer) attachment() attachment {
	return attachment{"netavark", c.Network.Name, c.ID, c.Options.Ifname}
}

// addresses are those that podman has chosen, with the gateways of their subnets.
func (c *podmanContainer) addresses() (all []podmanAddress, err error) {
next:
	for _, ip := range c.Options.IPs {
		for _, s := range c.Network.Subnets {
			if s.Subnet.Contains(ip) {
				all = append(all, podmanAddress{s.Gateway, netip.PrefixFrom(ip, s.Subnet.Bits())})
				continue next
			}
		}
		return nil, fmt.Errorf("network %s: address %s is in none of its subnets", c.Network.Name, ip)
	}
	return all, nil
}

// setup attaches a container.
func (c *podmanContainer) setup(ctx context.Context, netns string) (any, error) {
	port, client, err := c.Network.port()
	if err != nil {
		return nil, err
	}
	addresses, err := c.addresses()
	if err != nil {
		return nil, err
	}
	has, err := defaults(netns)
	if err != nil {
		return nil, err
	}
	var ips []netip.Prefix
	var gateways []netip.Addr
	for _, addr := range addresses {
		ips = append(ips, addr.IPNet)
		if g := addr.Gateway; g != nil && !c.Network.Internal && !has[g.Is6()] {
			gateways = append(gateways, *g)
			has[g.Is6()] = true
		}
	}
	port.MAC = c.Options.MAC
	p, err := client.AddPort(ctx, c.attachment().config(port, pinned(netns), ips, gateways))
	if err != nil {
		return nil, fmt.Errorf("network %s: %w", c.Network.Name, err)
	}
	return &podmanStatus{map[string]podmanInterface{p.Ifname: {p.MAC.String(), addresses}}}, nil
}
