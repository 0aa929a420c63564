package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

func newPort(o *options) *cobra.Command {
	return noun("port", "Show, add, change and remove ports",
		newPortList(o), newPortShow(o), newPortAdd(o), newPortSet(o), newPortDel(o))
}

func newPortList(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "list",
		Short: "List the ports",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := within(c)
			defer cancel()
			ports, err := o.client().Ports(ctx)
			if err != nil {
				return err
			}
			return o.print(c, ports, func(w io.Writer) { writePorts(w, ports) })
		},
	}, 0, 0)
}

func newPortShow(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show one port with its link, VLANs, flags, device and counters",
		ValidArgsFunction: o.portNames,
	}
	vmm := c.Flags().String("attach", "", "show only what to give a `VMM` to attach its guest: "+strings.Join(vmms, ", "))
	offer(c, "attach", vmms...)
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := within(c)
		defer cancel()
		p, err := o.client().Port(ctx, args[0])
		if err != nil {
			return err
		}
		var mac frame.MAC
		if c.Flags().Changed("attach") || p.Socket != nil {
			entries, err := o.client().FDB(ctx, control.FDBFlush{Port: p.Name})
			if err != nil {
				return err
			}
			mac = stationMAC(&p, entries)
		}
		if c.Flags().Changed("attach") {
			text, err := attachment(&p, *vmm, mac)
			if err != nil {
				return err
			}
			return o.print(c, text, func(w io.Writer) { fmt.Fprintln(w, text) })
		}
		return o.print(c, []control.Port{p}, func(w io.Writer) { writePort(w, &p, mac) })
	}
	return takes(c, 1, 1)
}

func newPortAdd(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a port: make its TAP, socket or responder and attach it",
	}
	mayExist := c.Flags().Bool("may-exist", false, "succeed if there is a port of that name, and leave it as it is")
	vm := presetFlags(c)
	container := c.Flags().String("container", "", "`NAME|ID|PID` of a running container or a process to put the link into: --netns and --ephemeral")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := within(c)
		defer cancel()
		keys, err := given(c.Flags())
		if err == nil && c.Flags().Changed("container") {
			err = intoContainer(ctx, keys, *container)
		}
		if err == nil {
			err = vm.keys(keys)
		}
		if err != nil {
			return err
		}
		cfg, err := portFrom(args[0], keys)
		if err != nil {
			return err
		}
		p, err := o.client().AddPort(ctx, cfg)
		switch {
		case err == nil:
			err = vm.enter(ctx, o, &p)
		case *mayExist && isCode(err, control.CodeConflict):
			p, err = o.existing(ctx, args[0], err)
		}
		if err != nil {
			return err
		}
		return o.printChanged(c, p)
	}
	return takes(withSettings(c), 1, 1)
}

// portFrom makes a port of keys, which come from flags.
func portFrom(name string, keys map[string]any) (config.Port, error) {
	keys["name"] = name
	text, err := json.Marshal(keys)
	if err != nil {
		return config.Port{}, err
	}
	p, err := config.DecodePort(text)
	if ps, ok := errors.AsType[config.Problems](err); ok && len(ps) == 1 {
		fix := ps[0].Fix
		ps[0].Fix = ""
		return p, &usageError{fmt.Sprintf("port %q: %s", name, inFlags(ps[0].Error())), inFlags(fix)}
	}
	if err != nil {
		return p, usagef("port %q: %s", name, inFlags(err.Error()))
	}
	return p, nil
}

// existing returns the port, or the conflict if that was about something else.
func (o *options) existing(ctx context.Context, name string, conflict error) (control.Port, error) {
	p, err := o.client().Port(ctx, name)
	if isCode(err, control.CodeNotFound) {
		return p, conflict
	}
	return p, err
}

func newPortSet(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:               "set NAME",
		Short:             "Change a port; what is not given stays as it is",
		ValidArgsFunction: o.portNames,
	}
	vm := presetFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		keys, err := given(c.Flags())
		if err == nil {
			err = vm.keys(keys)
		}
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			return &usageError{c.CommandPath() + ": nothing to change is given", "see: " + c.CommandPath() + " --help"}
		}
		ctx, cancel := within(c)
		defer cancel()
		p, err := o.client().SetPort(ctx, args[0], keys)
		if err == nil {
			err = vm.enter(ctx, o, &p)
		}
		if err != nil {
			return err
		}
		return o.printChanged(c, p)
	}
	return takes(withSettings(c), 1, 1)
}

// printChanged shows a port that has been changed to scripts. People have just
// said what they want, and are told nothing if they get it.
func (o *options) printChanged(c *cobra.Command, p control.Port) error {
	return o.print(c, []control.Port{p}, func(io.Writer) {})
}

func newPortDel(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:               "del NAME",
		Short:             "Remove a port, and its socket or, unless persistent or adopted, its TAP",
		ValidArgsFunction: o.portNames,
	}
	ifExists := c.Flags().Bool("if-exists", false, "succeed if there is no such port")
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := within(c)
		defer cancel()
		done, err := o.client().RemovePort(ctx, args[0])
		if *ifExists && isCode(err, control.CodeNotFound) {
			return nil
		}
		if err != nil || done.Note == "" {
			return err
		}
		return o.print(c, done, func(w io.Writer) { fmt.Fprintln(w, done.Note) })
	}
	return takes(c, 1, 1)
}

func isCode(err error, code control.Code) bool {
	e, ok := errors.AsType[*control.Error](err)
	return ok && e.Code == code
}

func writePorts(w io.Writer, ports []control.Port) {
	fmt.Fprintln(w, "NAME\tINDEX\tIFNAME\tNETNS\tLINK\tSTATE\tMTU\tVLANS\tADDRESSES\tORIGIN")
	for _, p := range ports {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n",
			p.Name, p.Index, or(p.Ifname, "-"), or(p.Netns, "-"), upDown(p.Up), p.State, p.MTU, vlansText(p.Config), p.Learned, or(p.Origin, "-"))
	}
}

// writePort shows the port, whose guest, if it has a socket for one, is to have
// this address.
func writePort(w io.Writer, p *control.Port, guest frame.MAC) {
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, or(value, "-")) }
	row("name", p.Name)
	if p.Config.Description != "" {
		row("description", p.Config.Description)
	}
	row("index", strconv.Itoa(p.Index))
	row("kind", p.Kind)
	if p.Origin != "" {
		row("origin", p.Origin)
	}
	switch {
	case p.Socket != nil:
		writeSocket(row, p)
	case p.Kind == config.KindResponder:
		row("MAC address", p.MAC.String())
		row("answers for", ipsText(p.Config.IP))
	default:
		row("link", fmt.Sprintf("%s, index %d, %s <%s>", p.Ifname, p.Ifindex, upDown(p.Up), strings.Join(p.Flags, ",")))
		row("netns", netnsText(p))
		row("MAC address", p.MAC.String())
	}
	row("MTU", strconv.Itoa(p.MTU))
	if p.Kind == config.KindTAP {
		row("txqlen", strconv.Itoa(p.TxQLen))
	}
	row("role", string(p.Config.Role))
	row("state", string(p.State))
	row("VLANs", vlansText(p.Config))
	row("frame types", string(p.Config.FrameTypes))
	row("flags", flagsText(&p.Config))
	row("limit", limitText(p.Config.Limit))
	row("forward reserved", p.Config.ForwardReserved.String())
	row("addresses", strconv.Itoa(p.Learned))
	if c := p.Contained; c != nil {
		now := "no"
		if c.Now {
			now = "yes: frames are dear to send to it"
		}
		row("contained", fmt.Sprintf("%s; %d times, %d frames lost", now, c.Times, c.Lost))
	}
	if d := p.Device; d != nil {
		if p.Kind == config.KindNetdev {
			row("redirected to", d.Ifname)
			row("host stack", "silenced on "+p.Ifname+": it hears nothing there; of itself it may send group reports and probes for its own addresses")
		}
		row("TUN flags", strings.Join(d.Flags, " "))
		row("TUN features", strings.Join(d.Features, " "))
		row("vnet_hdr length", strconv.Itoa(d.VnetHdrLen))
		row("offloads", or(d.Offloads, "none"))
	}
	if p.Socket != nil {
		row("QEMU", shellLine(qemuArgs(p, guest)))
		row("libvirt", "vswitchctl port show "+p.Name+" --attach libvirt")
	}
	if p.Kind == config.KindNetdev {
		row("if it is a VMM's", "vswitchctl port show "+p.Name+" --attach "+strings.Join(vmms, "|"))
	}
	if p.Stats != nil {
		fmt.Fprintln(w)
		writeStats(w, []control.PortStats{*p.Stats})
	}
}

func writeSocket(row func(name, value string), p *control.Port) {
	s := p.Socket
	if p.Config.Listen != "" {
		row("listens at", p.Config.Listen)
	}
	if p.Config.Dial != "" {
		row("dials", p.Config.Dial)
	}
	row("link", upDown(p.Up))
	row("connections", fmt.Sprintf("%d, %d refused", s.Connections, s.Refused))
	var ended []string
	for _, why := range slices.Sorted(maps.Keys(s.Ended)) {
		ended = append(ended, fmt.Sprintf("%s %d", why, s.Ended[why]))
	}
	row("ended", strings.Join(ended, ", "))
	row("frames lost", strconv.FormatUint(s.Lost, 10))
	if p.Kind == config.KindDgram {
		row("too long", strconv.FormatUint(s.TooLong, 10))
	}
	row("failure", s.Failure)
}

// netnsText says where the link was put, and what has become of that if it can
// be told: two ids of namespaces other than the daemon's cannot be compared.
func netnsText(p *control.Port) string {
	switch {
	case p.Netns == "" && p.NSID != nil:
		return fmt.Sprintf("moved: now in the namespace with id %d", *p.NSID)
	case p.Netns != "" && p.NSID == nil:
		return p.Netns + "; moved: now in the daemon's own"
	}
	return p.Netns
}

func ipsText(ips []netip.Prefix) string {
	words := make([]string, len(ips))
	for i, ip := range ips {
		words[i] = ip.String()
	}
	return strings.Join(words, " ")
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

// vlansText gives the VLANs in the form in which they were set.
func vlansText(c config.Port) string {
	var words []string
	add := func(name, value string) {
		if value != "" && value != "0" {
			words = append(words, name+" "+value)
		}
	}
	add("access", vidText(c.Access))
	add("trunk", c.Trunk.String())
	add("native", vidText(c.Native))
	add("pvid", vidText(c.PVID))
	add("tagged", c.Tagged.String())
	add("untagged", c.Untagged.String())
	return or(strings.Join(words, " "), "-")
}

func flagsText(c *config.Port) string {
	var words []string
	for _, f := range []struct {
		name string
		on   *bool
	}{
		{"learning", c.Learning},
		{"flood", c.Flood},
		{"mcast_flood", c.McastFlood},
		{"bcast_flood", c.BcastFlood},
		{"ingress_filtering", c.IngressFiltering},
		{"locked", &c.Locked},
		{"persistent", &c.Persistent},
		{"ephemeral", &c.Ephemeral},
		{"adopt", &c.Adopt},
		{"coalesce", c.Coalesce},
	} {
		if f.on != nil && *f.on {
			words = append(words, f.name)
		}
	}
	if c.Isolated != 0 {
		words = append(words, "isolated "+strconv.Itoa(int(c.Isolated)))
	}
	return strings.Join(words, " ")
}
