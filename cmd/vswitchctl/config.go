package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

func newConfig(o *options) *cobra.Command {
	return noun("config", "Show, check, compare, apply, save and import whole configurations",
		newConfigShow(o), newConfigValidate(o), newConfigDiff(o), newConfigApply(o), newConfigConfirm(o), newConfigSave(o), newConfigImport(o))
}

func newConfigShow(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the running configuration, as the file that would make it",
	}
	startup := c.Flags().Bool("startup", false, "show that of the startup file instead")
	c.RunE = func(c *cobra.Command, _ []string) error {
		ctx, cancel := within(c)
		defer cancel()
		ask := o.client().Running
		if *startup {
			ask = o.client().Startup
		}
		cfg, err := ask(ctx)
		if err != nil {
			return err
		}
		text, err := cfg.Marshal()
		if err != nil {
			return err
		}
		return o.print(c, cfg, func(w io.Writer) { _, _ = w.Write(text) })
	}
	return takes(c, 0, 0)
}

func newConfigValidate(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file, without a daemon",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(args[0])
			if err != nil {
				return err
			}
			return o.print(c, cfg, func(w io.Writer) { fmt.Fprintf(w, "%s: valid, %d ports\n", args[0], len(cfg.Ports)) })
		},
	}, 1, 1)
}

// load reads a configuration file. One that says something wrong is the user's
// error, one that cannot be read a failure.
func load(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if _, ok := errors.AsType[*fs.PathError](err); err == nil || ok {
		return cfg, err
	}
	return nil, &usageError{err.Error(), ""}
}

func newConfigDiff(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "diff [FILE]",
		Short: "Compare: what running changes of the startup file, or what FILE would change of running",
		RunE: func(c *cobra.Command, args []string) error {
			ctx, cancel := within(c)
			defer cancel()
			running, err := o.client().Running(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				next, err := load(args[0])
				if err != nil {
					return err
				}
				return o.printChanges(c, config.Diff(running, next))
			}
			startup, err := o.client().Startup(ctx)
			if err != nil {
				return err
			}
			return o.printChanges(c, config.Diff(startup, running))
		},
	}, 0, 1)
}

func (o *options) printChanges(c *cobra.Command, changes []string) error {
	return o.print(c, control.ConfigChange{Changes: changes}, func(w io.Writer) { writeChanges(w, changes) })
}

func writeChanges(w io.Writer, changes []string) {
	for _, line := range changes {
		fmt.Fprintln(w, line)
	}
}

func newConfigApply(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make FILE the running configuration: change what differs, all of it or nothing",
	}
	confirm := c.Flags().Duration("confirm", 0, "go back after a `TIME` such as 60s unless config confirm comes before")
	c.RunE = func(c *cobra.Command, args []string) error {
		if c.Flags().Changed("confirm") && (*confirm%time.Second != 0 || *confirm < time.Second || *confirm > control.MaxConfirm*time.Second) {
			return usagef("--confirm %v: want whole seconds, from 1s to %v", *confirm, control.MaxConfirm*time.Second)
		}
		next, err := load(args[0])
		if err != nil {
			return err
		}
		ctx, cancel := within(c)
		defer cancel()
		done, err := o.client().Apply(ctx, next, *confirm)
		if err != nil {
			return err
		}
		return o.print(c, done, func(w io.Writer) {
			writeChanges(w, done.Changes)
			if done.Confirm > 0 {
				fmt.Fprintf(w, "on trial: vswitchctl config confirm within %v, or what was before comes back\n", *confirm)
			}
		})
	}
	return takes(c, 1, 1)
}

func newConfigConfirm(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "confirm",
		Short: "Let a configuration stay that was applied with --confirm",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := within(c)
			defer cancel()
			return o.client().Confirm(ctx)
		},
	}, 0, 0)
}

func newConfigSave(o *options) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "save",
		Short: "Write the running configuration to the startup file, and keep that as it was in FILE.bak",
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := within(c)
			defer cancel()
			return o.client().Save(ctx)
		},
	}, 0, 0)
}
