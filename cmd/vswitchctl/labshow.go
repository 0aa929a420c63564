package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/lab"
)

func newLabShow(o *options, name *string) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "show",
		Short: "Show the hosts of a lab and what goes wrong on their links",
		Long: "Show the hosts of a lab and what goes wrong on their links. Directions are the\n" +
			"switch's: receive (rx) is from the host.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := lab.Query(lab.Path(*name))
			if err != nil {
				return labError(*name, err)
			}
			return o.print(c, s, func(w io.Writer) { writeLab(w, s, time.Now()) })
		},
	}, 0, 0)
}

func writeLab(w io.Writer, s *lab.State, now time.Time) {
	fmt.Fprintf(w, "socket\t%s\n\nHOST\tPID\tLINK\tIP\tIMPAIR\n", s.Socket)
	impaired := false
	for _, h := range s.Hosts {
		what := "-"
		if h.Impair != nil {
			impaired, what = true, impairText(h.Impair, now)
		}
		ips := make([]string, len(h.IP))
		for i, ip := range h.IP {
			ips[i] = ip.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", h.Name, h.PID, h.Ifname, or(strings.Join(ips, ","), "-"), what)
	}
	if !impaired {
		return
	}
	fmt.Fprint(w, "\nLINK\tDIRECTION\tFRAMES\tLOST\tDUPLICATED\tCORRUPTED\tQUEUE FULL\tREFUSED\n")
	for _, h := range s.Hosts {
		if h.Impair == nil {
			continue
		}
		for _, d := range []struct {
			name string
			lab.WireStats
		}{{"rx", h.Impair.Receive}, {"tx", h.Impair.Transmit}} {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\n", h.Name, d.name, d.Frames, d.Lost, d.Duplicated, d.Corrupted, d.QueueFull, d.Refused)
		}
	}
}

// impairText is as a file has it, and how long it lasts.
func impairText(m *lab.ImpairState, now time.Time) string {
	var words []string
	for _, p := range []struct {
		name  string
		share config.Percent
	}{{"loss", m.Loss}, {"duplicate", m.Duplicate}, {"corrupt", m.Corrupt}} {
		if p.share > 0 {
			words = append(words, fmt.Sprintf("%s %v%%", p.name, float64(p.share)))
		}
	}
	for _, d := range []struct {
		name string
		config.Duration
	}{{"delay", m.Delay}, {"jitter", m.Jitter}} {
		if d.Duration > 0 {
			words = append(words, d.name+" "+d.String())
		}
	}
	words = append(words, fmt.Sprintf("seed %d", m.Seed))
	switch {
	case m.Ends == nil:
	case now.After(*m.Ends):
		words = append(words, "over")
	default:
		words = append(words, "for another "+m.Ends.Sub(now).Round(time.Second).String())
	}
	return strings.Join(words, ", ")
}
