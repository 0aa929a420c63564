// Vswitch-cni puts containers into a vswitchd: a CNI plugin for those who call it
// with CNI_COMMAND in its environment (containerd, CRI-O, podman before 5), a
// netavark plugin for those who call it with a subcommand (podman). It is
// installed as vswitch, the type and the driver of its networks.
package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	build "github.com/vswitchd/vswitchd/internal/version"
)

// A hung daemon must not hang the runtime.
const timeout = 35 * time.Second

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout)) }

func run(args []string, in io.Reader, out io.Writer) int {
	if len(args) > 0 {
		return netavark(args, in, out)
	}
	funcs := skel.CNIFuncs{Add: add, Del: del, Check: check, GC: collect, Status: status}
	about := "vswitch " + build.String() + ": a CNI and netavark plugin for vswitchd"
	if err := skel.PluginMainFuncsWithError(funcs, versions, about); err != nil {
		if err := err.Print(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		return 1
	}
	return 0
}

var versions = version.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
