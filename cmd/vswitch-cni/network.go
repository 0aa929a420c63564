package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// network is the configuration of a network as CNI has it, and whom it is about.
type network struct {
	types.PluginConf
	Socket  string `json:"socket"`
	Runtime struct {
		MAC string `json:"mac"`
	} `json:"runtimeConfig"`

	attachment
	client *control.Client
	keys   map[string]json.RawMessage
	port   config.Port // of its ports
	stdin  []byte
}

// ofCNI are the keys of a network configuration that are not those of a port (CNI
// specification 1.1.0, section 1), and the plugin's own.
var ofCNI = []string{"cniVersion", "name", "type", "capabilities", "runtimeConfig", "args", "ipam", "dns", "prevResult", "socket"}

func parse(args *skel.CmdArgs) (*network, error) {
	n := &network{stdin: args.StdinData}
	err := json.Unmarshal(args.StdinData, n)
	if err == nil {
		err = json.Unmarshal(args.StdinData, &n.keys)
	}
	if err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "the network configuration cannot be read", err.Error())
	}
	n.attachment = attachment{"cni", n.Name, args.ContainerID, args.IfName}
	if n.Socket == "" {
		n.Socket = control.RootSocket
	}
	n.client = control.NewClient(n.Socket)
	return n, nil
}

// describe makes the port of the network's keys and of what the runtime says about
// this container.
func (n *network) describe(args *skel.CmdArgs) error {
	keys := maps.Clone(n.keys)
	maps.DeleteFunc(keys, func(key string, _ json.RawMessage) bool {
		return slices.Contains(ofCNI, key) || strings.HasPrefix(key, "cni.dev/")
	})
	var err error
	if n.port, err = portOf(keys); err == nil {
		err = n.choose(args)
	}
	if err != nil {
		return types.NewError(types.ErrInvalidNetworkConfig, fmt.Sprintf("network %s: %v", n.Name, err), "")
	}
	return nil
}

// choose takes over what the runtime says about this container.
func (n *network) choose(args *skel.CmdArgs) error {
	var given struct {
		types.CommonArgs
		MAC types.UnmarshallableString
	}
	if err := types.LoadArgs(args.Args, &given); err != nil {
		return fmt.Errorf("CNI_ARGS: %w", err)
	}
	for _, text := range []string{string(given.MAC), n.Runtime.MAC} {
		if text == "" {
			continue
		}
		mac, err := frame.ParseMAC(text)
		if err != nil {
			return err
		}
		n.port.MAC = &mac
	}
	return nil
}

// previous returns the result that CHECK is about.
func (n *network) previous() (*types100.Result, error) {
	if err := version.ParsePrevResult(&n.PluginConf); err != nil {
		return nil, err
	}
	if n.PrevResult == nil {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "prevResult is missing", "")
	}
	return types100.NewResultFromResult(n.PrevResult)
}

// prefixes returns the addresses of a result in the daemon's form.
func prefixes(r *types100.Result) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, ip := range r.IPs {
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		bits, _ := ip.Address.Mask.Size()
		if !ok {
			return nil, fmt.Errorf("ipam: %s is no address", ip.Address.String())
		}
		all = append(all, netip.PrefixFrom(addr.Unmap(), bits))
	}
	return all, nil
}
