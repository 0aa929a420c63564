package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
)

func newEvents(o *options) *cobra.Command {
	var f control.EventFilter
	c := &cobra.Command{
		Use:   "events",
		Short: "Show what happens to ports, links, the FDB and the configuration, until interrupted",
	}
	c.Flags().StringSliceVar(&f.Types, "type", nil, "`TYPES` of events, with commas: "+strings.Join(control.EventTypes(), ", ")+"; default: all")
	offer(c, "type", control.EventTypes()...)
	c.Flags().StringVar(&f.Port, "port", "", "`NAME` of the port")
	complete(c, "port", func(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return o.portNames(c, nil, word)
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		for _, t := range f.Types {
			if !slices.Contains(control.EventTypes(), t) {
				return usagef("--type %q: want %s", t, strings.Join(control.EventTypes(), ", "))
			}
		}
		if c.Flags().Changed("port") && f.Port == "" {
			return usagef(`--port "": the name is empty`)
		}
		err := o.printEvents(c, f)
		if c.Context().Err() != nil {
			return nil // That is how it is meant to end.
		}
		return err
	}
	return takes(c, 0, 0)
}

func (o *options) printEvents(c *cobra.Command, f control.EventFilter) error {
	events, err := o.client().Events(c.Context(), f)
	if err != nil {
		return err
	}
	for e, err := range events {
		if err == nil {
			err = o.printEvent(c.OutOrStdout(), &e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printEvent writes one line.
func (o *options) printEvent(w io.Writer, e *control.Event) error {
	line := eventText(e)
	if o.output == "json" {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		line = string(text)
	}
	_, err := io.WriteString(w, printable(line)+"\n")
	return err
}

// eventText is made of the words of ip monitor and bridge monitor where they
// have one.
func eventText(e *control.Event) string {
	if e.Type == control.EventsLost {
		return fmt.Sprintf("lost %d events: too slow to read them", e.Count)
	}
	words := []string{e.Type, e.Event}
	if e.Time != nil {
		words = slices.Insert(words, 0, e.Time.Local().Format("15:04:05.000"))
	}
	if e.MAC != nil {
		words = append(words, e.MAC.String())
	}
	if e.VLAN != 0 {
		words = append(words, fmt.Sprintf("vlan %d", e.VLAN))
	}
	switch {
	case e.Type == "fdb" && e.From != "":
		words = append(words, e.From, "->", e.Port)
	case e.Port != "":
		words = append(words, e.Port)
	}
	if e.To != "" {
		words = append(words, e.From, "->", e.To)
	}
	if e.State != "" && e.State != "dynamic" {
		words = append(words, e.State)
	}
	switch {
	case e.Count == 0:
	case e.Type == "config":
		words = append(words, fmt.Sprintf("%d changes", e.Count))
	default:
		words = append(words, fmt.Sprintf("%d times", e.Count))
	}
	text := strings.Join(words, " ")
	if e.Cause != "" {
		text += ": " + e.Cause
	}
	return text
}

// printable writes control characters, which the name of a link may have, in the
// way of JSON.
func printable(line string) string {
	if !strings.ContainsFunc(line, unicode.IsControl) {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		if unicode.IsControl(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
