package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
)

// A hung daemon must not hang its scripts. The daemon itself gives up writing
// an answer after 30 s.
const timeout = 35 * time.Second

// options are the flags of every command.
type options struct {
	socket string
	output string
}

func newRoot() *cobra.Command {
	o := &options{}
	root := noun("vswitchctl", "Show and change a running vswitchd")
	root.Long = "Vswitchctl shows and changes a running vswitchd.\nDirections are the switch's: receive (rx) is from the station.\n\n" + exitCodes
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{err.Error(), "see: " + c.CommandPath() + " --help"}
	})
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return o.check() }

	socket := os.Getenv("VSWITCHD_SOCKET")
	if socket == "" {
		socket = control.DefaultSocket()
	}
	root.PersistentFlags().StringVar(&o.socket, "socket", socket, "`PATH` of the daemon's control socket; also $VSWITCHD_SOCKET")
	root.PersistentFlags().StringVarP(&o.output, "output", "o", "table", "`FORMAT` of the output: table or json")
	offer(root, "output", "table", "json")

	root.AddCommand(newStatus(o), newPort(o), newFDB(o), newStats(o), newWhy(o), newTrace(o), newEvents(o), newConfig(o), newDoctor(o), newLab(o), newDemo(), newVersion(o), newMan())
	return root
}

func (o *options) check() error {
	if o.output != "table" && o.output != "json" {
		return usagef("--output %q: want table or json", o.output)
	}
	if o.socket == "" {
		return usagef("--socket: the path is empty; leave the flag out for the default")
	}
	return nil
}

func (o *options) client() *control.Client { return control.NewClient(o.socket) }

// noun is a command that only groups others.
func noun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2}
	c.RunE = func(c *cobra.Command, args []string) error {
		fix := "see: " + c.CommandPath() + " --help"
		if len(args) == 0 {
			return &usageError{c.CommandPath() + ": a command is missing", fix}
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			fix = "did you mean " + near[0] + "?"
		}
		return &usageError{fmt.Sprintf("%s: there is no command %q", c.CommandPath(), args[0]), fix}
	}
	c.AddCommand(verbs...)
	return c
}

// takes makes c refuse any number of arguments but those that its usage names.
func takes(c *cobra.Command, least, most int) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) >= least && len(args) <= most {
			return nil
		}
		what := c.CommandPath() + ": too many arguments"
		if len(args) < least {
			what = c.CommandPath() + ": an argument is missing"
		}
		return &usageError{what, "usage: " + c.UseLine()}
	}
	return c
}

// within limits the time that a command may take.
func within(c *cobra.Command) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Context(), timeout)
}

// print writes v as JSON, or has table write it in columns.
func (o *options) print(c *cobra.Command, v any, table func(io.Writer)) error {
	if o.output == "json" {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// offer has the shell complete a flag with words.
func offer(c *cobra.Command, flag string, words ...string) {
	complete(c, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
}

func complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // There is no such flag: every run of any command shows it.
	}
}

// portNames has the shell complete port names, which the daemon knows. Without
// its answer there are none: who is typing is not to be told of errors, nor
// offered files.
func (o *options) portNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	ports, err := o.client().Ports(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := make([]string, len(ports))
	for i, p := range ports {
		names[i] = p.Name
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
