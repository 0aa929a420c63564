package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// departed stands where the name of a port does; no port can be called so.
const departed = "(departed)"

func newStats(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:               "stats [PORT]",
		Short:             "Show what the ports have received, sent and dropped, and why",
		ValidArgsFunction: o.portNames,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := within(c)
			defer cancel()
			if len(args) == 1 {
				p, err := o.client().Port(ctx, args[0])
				if err != nil {
					return err
				}
				one := []control.PortStats{*p.Stats}
				return o.print(c, one, func(w io.Writer) { writeStats(w, one) })
			}
			s, err := o.client().Stats(ctx)
			if err != nil {
				return err
			}
			// The sum of the ports that are gone is the one without name.
			return o.print(c, s, func(w io.Writer) { writeStats(w, append(s.Ports, s.Departed)) })
		},
	}
	return takes(c, 0, 1)
}

func writeStats(w io.Writer, stats []control.PortStats) {
	writeTraffic(w, stats)
	writeDrops(w, stats)
}

func writeTraffic(w io.Writer, stats []control.PortStats) {
	fmt.Fprintln(w, "PORT\tRX FRAMES\tRX BYTES\tRX DROPPED\tTX FRAMES\tTX BYTES\tTX DROPPED")
	for _, s := range stats {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", or(s.Name, departed),
			s.Receive.Frames, s.Receive.Bytes, s.Receive.Dropped,
			s.Transmit.Frames, s.Transmit.Bytes, s.Transmit.Dropped)
	}
}

func writeDrops(w io.Writer, stats []control.PortStats) {
	title := "\nPORT\tDIRECTION\tREASON\tFRAMES\tMEANING\n"
	for _, s := range stats {
		for _, d := range []struct {
			direction frame.Direction
			dropped   map[string]uint64
		}{{frame.Ingress, s.DroppedIngress}, {frame.Egress, s.DroppedEgress}} {
			for _, reason := range slices.Sorted(maps.Keys(d.dropped)) {
				fmt.Fprintf(w, "%s%s\t%s\t%s\t%d\t%s\n", title, or(s.Name, departed), d.direction, reason, d.dropped[reason], reasonText(reason))
				title = ""
			}
		}
	}
}

const unknownReason = "Unknown to this vswitchctl: the daemon is newer."

// reasonText explains a reason.
func reasonText(name string) string {
	for r := range frame.NumDropReasons {
		if r.String() == name {
			return r.Text()
		}
	}
	return unknownReason
}
