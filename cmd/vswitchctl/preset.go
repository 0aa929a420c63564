package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// preset is a word for what is set together.
type preset struct {
	name, mac string
	station   frame.MAC
}

// presetFlags gives c the flags of a preset.
func presetFlags(c *cobra.Command) *preset {
	p := &preset{}
	c.Flags().StringVar(&p.name, "preset", "", "`PRESET`: vm for --locked on --flood off and a static FDB entry for --vm-mac in each VLAN of the port")
	c.Flags().StringVar(&p.mac, "vm-mac", "", "`MAC` address that the VM sends with, for --preset vm")
	offer(c, "preset", "vm")
	return p
}

// keys adds the settings of the preset to those that are given, which win.
func (p *preset) keys(given map[string]any) (err error) {
	if p.name == "" && p.mac == "" {
		return nil
	}
	if p.name != "vm" {
		return usagef("--preset %q: want vm, with --vm-mac", p.name)
	}
	if p.mac == "" {
		return &usageError{"--preset vm: the VM's address is missing", "give it with --vm-mac, such as --vm-mac 52:54:00:00:00:01"}
	}
	if p.station, err = parseMAC(p.mac); err != nil {
		return err
	}
	if p.station.IsGroup() || p.station.IsZero() {
		return usagef("--vm-mac %v is not the address of a station", p.station)
	}
	for key, value := range map[string]any{"locked": true, "flood": false} {
		if _, ok := given[key]; !ok {
			given[key] = value
		}
	}
	return nil
}

// enter makes the VM a static entry in each VLAN of the port.
func (p *preset) enter(ctx context.Context, o *options, port *control.Port) error {
	if p.name == "" {
		return nil
	}
	vlans := slices.Collect(port.Config.VLANs().Member.All())
	if len(vlans) == 0 {
		vlans = []frame.VID{0} // The one of a switch that is not VLAN aware.
	}
	for _, v := range vlans {
		e := control.FDBEntry{MAC: p.station, VLAN: v, Port: port.Name, State: "static"}
		if _, err := o.client().AddFDB(ctx, e); err != nil {
			return fmt.Errorf("port %q is locked, but %v cannot be admitted: %w", port.Name, p.station, err)
		}
	}
	return nil
}
