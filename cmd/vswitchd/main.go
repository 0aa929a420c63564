// Vswitchd is a virtual Ethernet switch in user space. Its ports are TAPs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/version"
)

// defaultConfig is read if it is there and no other file is named.
const defaultConfig = "/etc/vswitchd/vswitchd.yaml"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(start(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// flags are the command line.
type flags struct {
	config    string
	vlanAware *bool
	socket    string
	metrics   string
	logLevel  slog.Level
	logFormat string
	check     bool
	restore   bool
	version   bool
}

// start returns the exit code: 0 for done, 1 for failed, 2 for a wrong command
// line.
func start(ctx context.Context, args []string, out, errOut io.Writer) int {
	f, err := parseFlags(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errOut, "error: %v\n  see: vswitchd --help\n", err)
		return 2
	case f.version:
		fmt.Fprintln(out, "vswitchd", version.String())
		return 0
	}
	st := control.Startup{Config: &config.Config{}}
	if f.config != "" || !f.restore { // Else it is the default socket.
		st, err = f.load()
	}
	if err != nil {
		// Problems of a file have several lines, which show where they are.
		fmt.Fprintf(errOut, "error: %v\n", err)
		return 1
	}
	if f.check {
		if err := checkOutside(f.override(st.Config)); err != nil {
			fmt.Fprintf(errOut, "error: %s: %v\n", f.config, err)
			return 1
		}
		fmt.Fprintf(out, "%s: valid, %d ports\n", f.config, len(st.Config.Ports))
		return 0
	}
	log := f.logger(errOut)
	if f.restore {
		if err := restore(f.override(st.Config), log); err != nil {
			fmt.Fprintf(errOut, "error: %v\n", err)
			return 1
		}
		return 0
	}
	if err := run(ctx, st, f.override, log); err != nil {
		log.Error("failed", "err", err)
		return 1
	}
	return 0
}

func parseFlags(args []string, errOut io.Writer) (*flags, error) {
	f := &flags{logFormat: "logfmt"}
	s := flag.NewFlagSet("vswitchd", flag.ContinueOnError)
	s.Func("config", "configuration `FILE`; default: "+defaultConfig+" if it exists", given(&f.config))
	s.Func("vlan-aware", "`true|false`: an 802.1Q bridge, or one that passes tags untouched; needed if there is no file", func(text string) error {
		b, err := strconv.ParseBool(text)
		if f.vlanAware = &b; err != nil {
			return errors.New("want true or false")
		}
		return nil
	})
	s.Func("socket", "`PATH` of the control socket; default: that of the file, else one for the user", given(&f.socket))
	s.Func("metrics-listen", "`HOST:PORT` of the metrics, or none; default: that of the file, else "+config.DefaultListen, given(&f.metrics))
	s.Func("log-level", "`LEVEL`: debug, info, warn or error (default info)", func(text string) error {
		if f.logLevel.UnmarshalText([]byte(text)) != nil {
			return errors.New("want debug, info, warn or error")
		}
		return nil
	})
	s.Func("log-format", "`FORMAT`: logfmt or json (default logfmt)", func(text string) error {
		if text != "logfmt" && text != "json" {
			return errors.New("want logfmt or json")
		}
		f.logFormat = text
		return nil
	})
	s.BoolVar(&f.check, "check", false, "check the configuration and exit")
	s.BoolVar(&f.restore, "restore", false, "put the links that a killed vswitchd had attached or adopted back as they were found, and exit")
	s.BoolVar(&f.version, "version", false, "print the version and exit")

	s.SetOutput(io.Discard)
	err := s.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		s.SetOutput(errOut)
		s.Usage()
	}
	if err != nil {
		return nil, err
	}
	if s.NArg() > 0 {
		return nil, fmt.Errorf("there is no argument %q; everything is a flag or in the configuration file", s.Arg(0))
	}
	return f, f.complete()
}

// given stores the text of a flag, which has a default only if it is left out.
func given(to *string) func(string) error {
	return func(text string) error {
		if *to = text; text == "" {
			return errors.New("it is empty; leave the flag out for the default")
		}
		return nil
	}
}

// complete settles whether there is a configuration file.
func (f *flags) complete() error {
	if f.config == "" && !f.version {
		if _, err := os.Stat(defaultConfig); err == nil {
			f.config = defaultConfig
		}
	}
	switch {
	case f.version:
	case f.config != "" && f.vlanAware != nil:
		return fmt.Errorf("--vlan-aware is for a start without configuration file; write vlan_aware into %s instead", f.config)
	case f.config != "":
	case f.check:
		return fmt.Errorf("there is no configuration to check: name it with --config, or write %s", defaultConfig)
	case f.restore:
	case f.vlanAware == nil:
		return errors.New("there is no configuration file, so say whether the switch is to be VLAN aware: --vlan-aware=true for an 802.1Q bridge, --vlan-aware=false for one that passes tags untouched; or name a file with --config")
	}
	return nil
}

// load returns the configuration to start with.
func (f *flags) load() (control.Startup, error) {
	if f.socket != "" {
		path, err := filepath.Abs(f.socket)
		if err != nil {
			return control.Startup{}, err
		}
		f.socket = path
	}
	st := control.Startup{Config: &config.Config{VLANAware: f.vlanAware}}
	if f.config == "" {
		st.Sum = config.Sum(nil)
		return st, f.override(st.Config).Validate()
	}
	path, err := filepath.Abs(f.config)
	if err != nil {
		return st, err
	}
	data, err := config.Read(f.config)
	if err != nil {
		return st, err
	}
	st.File, st.Sum = path, config.Sum(data)
	if st.Config, err = config.Parse(f.config, data); err != nil {
		return st, err
	}
	return st, f.override(st.Config).Validate()
}

// override returns c with what the command line says instead.
func (f *flags) override(c *config.Config) *config.Config {
	o := *c
	o.Control.Socket = cmp.Or(f.socket, c.Control.Socket)
	o.Metrics.Listen = cmp.Or(f.metrics, c.Metrics.Listen)
	return &o
}

// checkOutside checks what the configuration names and only a start would read.
func checkOutside(c *config.Config) error {
	if err := control.CheckGroup(c.Control.Group); err != nil {
		return fmt.Errorf("control.group: %w", err)
	}
	return checkWeb(c.Metrics)
}

func (f *flags) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.logLevel}
	if f.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
