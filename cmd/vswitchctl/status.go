package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
)

func newStatus(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "status",
		Short: "Show the daemon and the switch as a whole",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := within(c)
			defer cancel()
			s, err := o.client().Status(ctx)
			if err != nil {
				return err
			}
			return o.print(c, []control.Status{s}, func(w io.Writer) { writeStatus(w, &s) })
		},
	}, 0, 0)
}

func writeStatus(w io.Writer, s *control.Status) {
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("version", s.Version)
	row("pid", strconv.Itoa(s.PID))
	row("uptime", time.Duration(s.Uptime*float64(time.Second)).Round(time.Second).String())
	row("VLAN aware", yesNo(s.VLANAware))
	row("ports", fmt.Sprintf("%d, %d up", s.Ports, s.PortsUp))
	row("netlink resyncs", strconv.FormatUint(s.Resyncs, 10))
	row("metrics", or(s.Metrics, "none"))
	row("config", or(s.Config, "none"))
	f := s.FDB
	row("FDB entries", fmt.Sprintf("%d dynamic, %d static, %d blackhole", f.Dynamic, f.Static, f.Blackhole))
	row("FDB capacity", strconv.Itoa(f.Capacity))
	row("FDB limit", limitText(f.Limit))
	row("FDB ageing", ageingText(f.Ageing))
	row("FDB events", fmt.Sprintf("%d learned, %d moved, %d aged, %d evicted, %d refused, %d flushed",
		f.Learned, f.Moved, f.Aged, f.Evicted, f.Refused, f.Flushed))
}

func limitText(n *int) string {
	if n == nil {
		return "none"
	}
	return strconv.Itoa(*n)
}

func ageingText(seconds int) string {
	if seconds == 0 {
		return "never"
	}
	return strconv.Itoa(seconds) + " s"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func or(text, ifEmpty string) string {
	if text == "" {
		return ifEmpty
	}
	return text
}
