package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

func newFDB(o *options) *cobra.Command {
	return noun("fdb", "Show and change the forwarding database",
		newFDBList(o), newFDBAdd(o), newFDBDel(o), newFDBFlush(o), newFDBSet(o))
}

// entryFlags choose entries.
type entryFlags struct {
	port string
	vlan uint16
	mac  string
}

func (e *entryFlags) addPort(c *cobra.Command, o *options) {
	c.Flags().StringVar(&e.port, "port", "", "`NAME` of the port")
	complete(c, "port", func(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return o.portNames(c, nil, word)
	})
}

func (e *entryFlags) addVLAN(c *cobra.Command) {
	c.Flags().Uint16Var(&e.vlan, "vlan", 0, "`VLAN` of the entry")
}

func (e *entryFlags) addAll(c *cobra.Command, o *options) {
	e.addPort(c, o)
	e.addVLAN(c)
	c.Flags().StringVar(&e.mac, "mac", "", "`MAC` address of the entry")
}

// filter returns the entries that the flags, as far as given, choose.
func (e *entryFlags) filter(c *cobra.Command) (f control.FDBFlush, err error) {
	f.Port = e.port
	if c.Flags().Changed("port") && e.port == "" {
		return f, usagef(`--port "": the name is empty`)
	}
	if c.Flags().Changed("vlan") {
		f.VLAN = new(frame.VID(e.vlan))
	}
	if c.Flags().Changed("mac") {
		mac, err := parseMAC(e.mac)
		f.MAC = &mac
		return f, err
	}
	return f, nil
}

func parseMAC(s string) (frame.MAC, error) {
	mac, err := frame.ParseMAC(s)
	if err != nil {
		return mac, usagef("%v", err)
	}
	return mac, nil
}

func newFDBList(o *options) *cobra.Command {
	var flags entryFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the entries",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := flags.filter(c)
			if err != nil {
				return err
			}
			ctx, cancel := within(c)
			defer cancel()
			entries, err := o.client().FDB(ctx, f)
			if err != nil {
				return err
			}
			return o.print(c, entries, func(w io.Writer) { writeEntries(w, entries) })
		},
	}
	flags.addAll(c, o)
	return takes(c, 0, 0)
}

func writeEntries(w io.Writer, entries []control.FDBEntry) {
	fmt.Fprintln(w, "MAC\tVLAN\tPORT\tIFNAME\tSTATE\tAGE")
	for _, e := range entries {
		age := "-"
		if e.Age != nil {
			age = strconv.Itoa(*e.Age) + " s"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.MAC, or(vidText(e.VLAN), "-"), or(e.Port, "-"), or(e.Ifname, "-"), e.State, age)
	}
}

func vidText(v frame.VID) string {
	if v == 0 {
		return ""
	}
	return strconv.Itoa(int(v))
}

func newFDBAdd(o *options) *cobra.Command {
	var flags entryFlags
	c := &cobra.Command{
		Use:   "add MAC",
		Short: "Add a static entry, or with --blackhole one that drops frames to the address",
	}
	flags.addPort(c, o)
	flags.addVLAN(c)
	blackhole := c.Flags().Bool("blackhole", false, "drop frames to the address")
	c.RunE = func(c *cobra.Command, args []string) error {
		mac, err := parseMAC(args[0])
		if err != nil {
			return err
		}
		if *blackhole == (flags.port != "") {
			return usagef("%s: name either --port or --blackhole", c.CommandPath())
		}
		e := control.FDBEntry{MAC: mac, VLAN: frame.VID(flags.vlan), Port: flags.port, State: "static"}
		if *blackhole {
			e.State = "blackhole"
		}
		ctx, cancel := within(c)
		defer cancel()
		added, err := o.client().AddFDB(ctx, e)
		if err != nil {
			return err
		}
		return o.print(c, []control.FDBEntry{added}, func(io.Writer) {})
	}
	return takes(c, 1, 1)
}

func newFDBDel(o *options) *cobra.Command {
	var flags entryFlags
	c := &cobra.Command{
		Use:   "del MAC",
		Short: "Remove an entry of any kind",
	}
	flags.addVLAN(c)
	ifExists := c.Flags().Bool("if-exists", false, "succeed if there is no such entry")
	c.RunE = func(c *cobra.Command, args []string) error {
		mac, err := parseMAC(args[0])
		if err != nil {
			return err
		}
		ctx, cancel := within(c)
		defer cancel()
		err = o.client().RemoveFDB(ctx, mac, frame.VID(flags.vlan))
		if *ifExists && isCode(err, control.CodeNotFound) {
			return nil
		}
		return err
	}
	return takes(c, 1, 1)
}

func newFDBFlush(o *options) *cobra.Command {
	var flags entryFlags
	c := &cobra.Command{
		Use:   "flush",
		Short: "Remove the learned entries, all or those chosen",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := flags.filter(c)
			if err != nil {
				return err
			}
			ctx, cancel := within(c)
			defer cancel()
			n, err := o.client().FlushFDB(ctx, f)
			if err != nil {
				return err
			}
			return o.print(c, []control.FDBFlushed{{Removed: n}}, func(w io.Writer) { fmt.Fprintln(w, "removed", n) })
		},
	}
	flags.addAll(c, o)
	return takes(c, 0, 0)
}

func newFDBSet(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "set",
		Short: "Change ageing time and limit",
	}
	ageing := c.Flags().Int("ageing", 0, "`SECONDS` until a silent station is forgotten, 10 to 1000000, or 0 for never")
	limit := c.Flags().String("limit", "", "most `ADDRESSES` that are learned, or none")
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s control.FDBSettings
		if c.Flags().Changed("ageing") {
			s.Ageing = ageing
		}
		if c.Flags().Changed("limit") {
			n, err := parseLimit(*limit)
			if err != nil {
				return err
			}
			s.Limit = &n
		}
		if s == (control.FDBSettings{}) {
			return usagef("%s: name --ageing or --limit", c.CommandPath())
		}
		ctx, cancel := within(c)
		defer cancel()
		all, err := o.client().SetFDB(ctx, s)
		if err != nil {
			return err
		}
		return o.print(c, []control.FDBSettings{all}, func(io.Writer) {})
	}
	return takes(c, 0, 0)
}

func parseLimit(s string) (control.Limit, error) {
	if s == "none" {
		return control.NoLimit, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, usagef("--limit %q: want a number of addresses or none", s)
	}
	return control.Limit(n), nil
}
