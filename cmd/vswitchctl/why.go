package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"time"

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
	follow := c.Flags().BoolP("follow", "f", false, "go on, every second with what was dropped meanwhile, until interrupted")
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
		if *follow {
			return o.followWhy(c, q)
		}
		told, err := o.why(c, q)
		if err != nil {
			return err
		}
		return o.print(c, told, func(w io.Writer) { writeWhy(w, &told, q.Reason, explained) })
	}
	return takes(c, 0, 1)
}

func (o *options) why(c *cobra.Command, q control.WhyQuery) (control.Why, error) {
	ctx, cancel := within(c)
	defer cancel()
	return o.client().Why(ctx, q)
}

// followWhy prints, once a second, the groups in which more was dropped than before.
func (o *options) followWhy(c *cobra.Command, q control.WhyQuery) error {
	seen := map[[2]string]time.Time{}
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		told, err := o.why(c, q)
		if c.Context().Err() != nil {
			return nil // That is how it is meant to end.
		}
		if err != nil {
			return err
		}
		told.Groups = slices.DeleteFunc(told.Groups, func(g control.WhyGroup) bool {
			key := [2]string{g.Port, g.Reason}
			old := !g.Last.After(seen[key])
			seen[key] = g.Last
			return old
		})
		if len(told.Groups) > 0 {
			if err := o.print(c, told, func(w io.Writer) { writeGroups(w, &told) }); err != nil {
				return err
			}
		}
		select {
		case <-c.Context().Done():
			return nil
		case <-beat.C:
		}
	}
}

// writeWhy begins with the reason that was asked about, if one was.
func writeWhy(w io.Writer, told *control.Why, reason, explained string) {
	if reason != "" {
		fmt.Fprintf(w, "%s: %s\n", reason, explained)
	}
	if len(told.Groups) == 0 {
		fmt.Fprintln(w, "No such drops in the last minute. Those since the start: vswitchctl stats")
	}
	writeGroups(w, told)
}

func writeGroups(w io.Writer, told *control.Why) {
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
		if g.Origin != "" {
			fmt.Fprintf(w, "  set by: %s\n", g.Origin)
		}
		if g.Fix != "" {
			fmt.Fprintf(w, "  do:     %s\n", g.Fix)
		}
	}
}
