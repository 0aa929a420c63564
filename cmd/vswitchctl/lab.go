package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/version"
)

const labFile = `A lab is one switch with hosts to try it with. FILE is YAML: below switch: what a
configuration of vswitchd has beside ports, below hosts: each host with the keys of
its port. This is the lab of vswitchctl demo:

`

const labImpair = `
A host may have an imperfect link, in both directions and, with a seed, repeatably:

    impair: {loss: 1%, delay: 20ms, jitter: 5ms, duplicate: 0.1%, corrupt: 0.1%, seed: 7, for: 10m}

`

func newLab(o *options) *cobra.Command {
	var name string
	c := noun("lab", "Run a switch with hosts in namespaces",
		newLabUp(&name), newLabDown(&name), newLabExec(&name), newLabShow(o, &name))
	c.Long = "Run a switch with hosts in namespaces. It needs no daemon, and anybody may run it\n" +
		"who can open /dev/net/tun and make namespaces."
	c.PersistentFlags().StringVar(&name, "name", defaultLab, "`NAME` of the lab, of which the user can have several")
	// In place of the root's.
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if !labName.MatchString(name) {
			return usagef("--name %q: want up to 32 letters, digits, dots, hyphens and underscores, the first a letter or digit", name)
		}
		return o.check()
	}
	return c
}

// defaultLab is the name of a lab that is given none.
const defaultLab = "default"

var labName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

func newLabUp(name *string) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "up FILE",
		Short: "Make the switch and the hosts that a file describes, until lab down or ^C",
		Long: "Make the switch and the hosts that a file describes, until lab down or ^C.\n\n" +
			labFile + indented(demoFile) + labImpair + "All of it ends with this process, however that ends.",
		RunE: func(c *cobra.Command, args []string) error {
			// Before anything is isolated, so that the file is where it was named.
			l, err := readLab(args[0])
			if err != nil {
				return err
			}
			return isolated(func() error { return labUp(c.Context(), c.OutOrStdout(), *name, l) })
		},
	}, 1, 1)
}

func readLab(path string) (*config.Lab, error) {
	data, err := config.Read(path)
	if err != nil {
		return nil, err
	}
	return config.ParseLab(path, data)
}

// isolated runs f in a network namespace that ends with the process, in a second
// process.
func isolated(f func() error) error {
	if err := netns.Check(); err != nil {
		return fmt.Errorf("no namespaces with TAPs can be had here: %w", err)
	}
	inside, exit, err := netns.Isolate()
	switch {
	case err != nil:
		return err
	case inside:
		return f()
	case exit != 0:
		return exited(exit)
	}
	return nil
}

func labUp(ctx context.Context, out io.Writer, name string, c *config.Lab) (err error) {
	defer func() {
		if err != nil {
			err = labError(name, err)
		}
	}()
	d, err := lab.Acquire(lab.Path(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Remove()) }()
	l, err := lab.Up(ctx, c, d.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	told, err := d.Serve(func() *lab.State { return l.State(d.Socket()) })
	if err != nil {
		return err
	}
	defer told.Close()
	up := fmt.Sprintf("lab %s is up, with %d hosts; its switch is at --socket %s\n", name, len(l.Hosts), d.Socket())
	return serveLab(ctx, l, d.Socket(), func() { fmt.Fprint(out, up) })
}

// serveLab has the lab's switch controlled at the socket until ctx ends.
func serveLab(ctx context.Context, l *lab.Lab, socket string, ready func()) error {
	listener, err := control.Listen(socket, "")
	if err != nil {
		return err
	}
	defer listener.Unlock() //nolint:errcheck // The directory goes, and the lock with it.
	// Nobody has asked for a log.
	server := control.NewServer(l.Switch, control.Daemon{Version: version.String(), Started: l.Started}, slog.New(slog.DiscardHandler))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	ready()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	at, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	return server.Shutdown(at)
}

// farewell is how long requests to a lab may take once it is to end.
const farewell = 500 * time.Millisecond

// labError names the lab and says what can be done about it.
func labError(name string, err error) error {
	flag := ""
	if name != defaultLab {
		flag = " --name " + name
	}
	what := fmt.Sprintf("lab %s: %v", name, err)
	switch {
	case errors.Is(err, lab.ErrUp):
		return &control.Error{Code: control.CodeConflict, Message: what, Fix: "take it down with: vswitchctl lab" + flag + " down; or give this one another --name"}
	case errors.Is(err, lab.ErrDown):
		return &control.Error{Code: control.CodeNotFound, Message: what, Fix: "make it with: vswitchctl lab" + flag + " up FILE; that of another user is only his"}
	}
	return fmt.Errorf("lab %s: %w", name, err)
}

func newLabDown(name *string) *cobra.Command {
	return takes(&cobra.Command{
		Use:   "down",
		Short: "End a lab, or clear away what one that was killed has left",
		RunE: func(*cobra.Command, []string) error {
			if err := lab.Down(lab.Path(*name)); err != nil {
				return labError(*name, err)
			}
			return nil
		},
	}, 0, 0)
}

func newLabExec(name *string) *cobra.Command {
	c := takes(&cobra.Command{
		Use:   "exec HOST [--] COMMAND...",
		Short: "Run a command on a host, as root of its network",
		Long: "Run a command on a host, as root of its network. Of the machine it has all else:\n" +
			"files, users and processes. vswitchctl in it talks to the lab's switch.",
		Example: "  vswitchctl lab exec web ping -c 3 10.0.0.2\n  vswitchctl lab exec web bash",
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := lab.Query(lab.Path(*name))
			if err != nil {
				return labError(*name, err)
			}
			h := s.Host(args[0])
			if h == nil {
				return &control.Error{
					Code: control.CodeNotFound, Message: fmt.Sprintf("lab %s: there is no host %q", *name, args[0]),
					Fix: "name one of " + strings.Join(s.Names(), ", "),
				}
			}
			command := args[1:]
			if command[0] == "--" {
				command = command[1:]
			}
			if len(command) == 0 {
				return usagef("lab exec: the command is missing")
			}
			return netns.Enter(h.PID, command, append(os.Environ(), "VSWITCHD_SOCKET="+s.Socket))
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			s, err := lab.Query(lab.Path(*name))
			if len(args) > 0 || err != nil {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return s.Names(), cobra.ShellCompDirectiveNoFileComp
		},
	}, 2, 1<<10)
	c.Flags().SetInterspersed(false) // What follows the host is not ours.
	return c
}

func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ") + "\n"
}
