// Perf measures what vswitchd forwards beside the kernel's bridge and other
// user-space switches: the same loads, in turns, in one run. It makes its
// namespaces itself and needs Go alone; see docs/benchmarks.md for the method.
//
// To compare builds or settings of vswitchd, in the same repetitions:
//
//	go run ./test/perf -rows pps,udp -peers '' -n 5 -vswitchd bin/vswitchd \
//	    -variant 'before=/tmp/vswitchd.before' -variant 'two=GOMAXPROCS=2' -variant 'short=port.txqlen=128'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vswitchd/vswitchd/internal/guest"
	"github.com/vswitchd/vswitchd/internal/netns"
)

// threads is more than any load has: each gets a P, as it keeps it while it is
// blocked in a system call.
const threads = 160

// undisturbed is a setting of the runtime: no signals of its own interrupt
// system calls that block.
const undisturbed = "asyncpreemptoff=1"

func main() {
	if guest.Inside() {
		guestMain()
	}
	// Switches are started by this goroutine and must not outlive its thread.
	runtime.LockOSThread()
	os.Exit(start())
}

func start() int {
	if os.Getenv("GODEBUG") == "" {
		_ = os.Setenv("GODEBUG", undisturbed) // It fails for an impossible name only.
	}
	inside, exit, err := netns.Isolate()
	if err != nil {
		return failed(err)
	}
	if !inside {
		return exit
	}
	runtime.GOMAXPROCS(threads)
	debug.SetGCPercent(-1)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once, unless it is the first one come
	// again by way of the process group.
	context.AfterFunc(ctx, func() {
		time.Sleep(time.Second)
		stop()
	})
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return failed(err)
	}
	if err := o.perform(ctx, os.Stdout); err != nil {
		return failed(err)
	}
	return 0
}

func failed(err error) int {
	fmt.Fprintf(os.Stderr, "error: %v\n", err)
	return 1
}

// plainEnviron is the environment without what start has put there.
func plainEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(s string) bool { return s == "GODEBUG="+undisturbed })
}

// options are the command line.
type options struct {
	rows     []*row
	variants []*variant
	peers    []*topology
	method   method
	repeat   int
	idle     bool
	scale    bool
	kernel   string
	docs     string
	lock     string
	progress io.Writer
}

func parseOptions(args []string, errOut io.Writer) (*options, error) {
	o := &options{progress: errOut}
	f := flag.NewFlagSet("perf", flag.ContinueOnError)
	f.SetOutput(errOut)
	quick := f.Bool("quick", false, "one repetition of short windows: shows that it works, not how well")
	rows := f.String("rows", "", "measure only these `ROWS`, separated by commas: "+rowNames())
	program := f.String("vswitchd", "bin/vswitchd", "`PATH` of vswitchd")
	compare := f.String("compare", "", "measure these builds of vswitchd too: `PATHS`, separated by commas")
	var variants []string
	f.Func("variant", "measure vswitchd once more as `NAME=WORD WORD...`; a word is VAR=VALUE of the environment, config.KEY=VALUE or port.KEY=VALUE of the configuration, --an=argument, or the path of another build; repeatable",
		func(s string) error { variants = append(variants, s); return nil })
	peers := f.String("peers", "all", "measure these peers, where they are found: `NAMES` of "+peerNames()+", separated by commas")
	peersDir := f.String("peers-dir", "", "`DIR` with programs fetched by test/perf/peers.sh (default: where that puts them)")
	f.StringVar(&o.kernel, "vm-kernel", "", "`DIR` with the kernel of virtual machines, unpacked by test/vm/kernel.sh (default: where make vm puts it)")
	f.IntVar(&o.repeat, "n", 0, "`REPETITIONS` (default 7; quick: 1)")
	f.DurationVar(&o.method.window, "window", 0, "`TIME` that each is measured (default 2s; quick: 0.5s)")
	f.BoolVar(&o.idle, "idle", false, "measure memory and CPU of vswitchd without traffic too, with up to 1,000 ports")
	f.BoolVar(&o.scale, "scale", false, "measure vswitchd with up to 1,024 ports, 4,094 VLANs and 1,048,576 addresses too")
	f.StringVar(&o.docs, "docs", "", "write the page and its drawings to this `DIR`, and the figures into the README.md beside it")
	f.StringVar(&o.lock, "lock", "", "hold a flock on this `FILE` during each measurement, where others measure too")
	f.Float64Var(&o.method.steal, "steal", 0, "`SHARE` of the machine that the hypervisor may steal before a measurement counts as disturbed, such as 0.01")
	f.BoolVar(&o.method.noisy, "noisy", false, "count disturbed measurements too, for a first look on a machine that is not quiet")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("%q: this takes flags only", f.Args())
	}
	o.defaults(*quick)
	v, err := parseVariant("vswitchd=", *program)
	if err != nil {
		return nil, err
	}
	o.variants = append(o.variants, v)
	for i, path := range strings.FieldsFunc(*compare, func(c rune) bool { return c == ',' }) {
		variants = append(variants, fmt.Sprintf("build%d=%s", i+2, path))
	}
	for _, text := range variants {
		v, err := parseVariant(text, *program)
		if err != nil {
			return nil, err
		}
		o.variants = append(o.variants, v)
	}
	for _, v := range o.variants {
		if _, err := os.Stat(v.path); err != nil {
			return nil, fmt.Errorf("%w: make it with `make build`, or name another by -vswitchd", err)
		}
	}
	if o.rows, err = pickRows(*rows); err != nil {
		return nil, err
	}
	if o.kernel == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("%w: name the directory by -vm-kernel", err)
		}
		o.kernel = filepath.Join(cache, "vswitchd", "linux")
	}
	o.peers, err = findPeers(*peers, *peersDir, errOut)
	return o, err
}

func (o *options) defaults(quick bool) {
	n, m := 7, method{warm: time.Second, window: 2 * time.Second, quiet: 10 * time.Second, tries: 3}
	if quick {
		n, m = 1, method{warm: 200 * time.Millisecond, window: 500 * time.Millisecond, quiet: 500 * time.Millisecond, tries: 1}
	}
	if o.method.window > 0 {
		m.window = o.method.window
	}
	m.steal = o.method.steal
	if o.method.noisy { // Waiting for quiet would be in vain.
		m.noisy, m.quiet, m.tries = true, 0, 1
	}
	o.method = m
	if o.repeat == 0 {
		o.repeat = n
	}
}
