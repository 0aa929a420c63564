package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/explain"
)

func newWhy(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "why [PORT|REASON]",
		Short: "Tell what was dropped in the last minute, why, and what to do",
		Example: `  vswitchctl why
  vswitchctl why web --vlan 10
  vswitchctl why ingress_filter`,
		ValidArgsFunction: o.portNames,
	}
	mac := c.Flags().String("mac", "", "only what has samples from or to this `MAC` address")
	vlan := c.Flags().Uint16("vlan", 0, "only what has samples in this `VLAN`")
	c.RunE = func(c *cobra.Command, args []string) error {
		var q control.WhyQuery
		explained := ""
		if len(args) == 1 {
			q.Port = args[0]
			if text := reasonText(args[0]); text != unknownReason {
				q.Port, q.Reason, explained = "", args[0], text
			}
		}
		if c.Flags().Changed("mac") {
			m, err := parseMAC(*mac)
			if err != nil {
				return fmt.Errorf("--mac: %w", err)
			}
			q.MAC = &m
		}
		if c.Flags().Changed("vlan") {
			q.VLAN = new(frame.VID(*vlan))
		}
		ctx, cancel := within(c)
		defer cancel()
		told, err := o.client().Why(ctx, q)
		if err != nil {
			return err
		}
		return o.print(c, told, func(w io.Writer) { writeWhy(w, &told, q.Reason, explained) })
	}
	return takes(c, 0, 1)
}

// writeWhy begins with the reason that was asked about, if one was.
func writeWhy(w io.Writer, told *control.Why, reason, explained string) {
	if reason != "" {
		fmt.Fprintf(w, "%s: %s\n", reason, explained)
	}
	if len(told.Groups) == 0 {
		fmt.Fprintln(w, "Nothing of it was dropped in the last minute. Since the start: vswitchctl stats")
	}
	for i := range told.Groups {
		g := &told.Groups[i]
		fmt.Fprintf(w, "%s: %s (%s), %d in the last minute\n", g.Port, g.Reason, g.Direction, g.Frames)
		because := g.Because
		if because == "" {
			because = g.Text
		}
		fmt.Fprintf(w, "  why:    %s\n", because)
		if s := g.Sample; s != nil {
			fmt.Fprintf(w, "  sample: in by %s, %d bytes, dropped at %s: %s\n", s.In, s.Length, s.Stage, explain.Frame(bytes.Clone(s.Frame)))
		}
		if g.Fix != "" {
			fmt.Fprintf(w, "  do:     %s\n", g.Fix)
		}
	}
}
