// Package doctor finds out whether vswitchd can run on this machine, and what
// to do where it cannot. It only looks: the one thing that it may set off is
// the kernel's own loading of the tun module when /dev/net/tun is opened.
package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/version"
	"github.com/vswitchd/vswitchd/port"
)

// Status is what a check comes to.
type Status string

// The values of Status. Fail means that vswitchd cannot run, or cannot be
// asked; with Warn it lacks something or works by luck.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Result is the outcome of one check. Fix says what to do; it is empty if and
// only if the status is OK.
type Result struct {
	Check  string `json:"check"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Fix    string `json:"fix,omitempty"`
}

// Daemon is what is asked of a vswitchd, which need not run. A *control.Client
// is one.
type Daemon interface {
	Status(ctx context.Context) (control.Status, error)
	Ports(ctx context.Context) ([]control.Port, error)
}

// System is the machine that is looked at. New makes the one that the process
// is on.
type System struct {
	Root    string // in front of each path that is read
	Release string // of the kernel, as in uname -r
	Version string // of vswitchctl
	Daemon  Daemon
	// DaemonFix says what to do about an error of Daemon.
	DaemonFix func(error) string
	// Features opens the TUN device at path for a moment. It returns the words
	// of TUNGETFEATURES, or the bare error of open(2) or ioctl(2).
	Features func(path string) ([]string, error)
	// Stat is stat(2).
	Stat func(path string, st *unix.Stat_t) error
	// Namespaces makes a user namespace and a network namespace for a moment
	// and returns the bare error of clone(2).
	Namespaces func() error
}

// New returns the machine that the process is on, with the daemon to ask.
func New(d Daemon, fix func(error) string) *System {
	var u unix.Utsname
	_ = unix.Uname(&u) // It fails on a bad address only.
	return &System{
		Root: "/", Release: unix.ByteSliceToString(u.Release[:]), Version: version.String(),
		Daemon: d, DaemonFix: fix,
		Features: port.Features, Stat: unix.Stat, Namespaces: netns.TryUser,
	}
}

// checks are made in this order. One that returns no status does not apply.
var checks = []struct {
	name string
	make func(*facts) (status Status, found, fix string)
}{
	{"TUN in the kernel", checkKernel},
	{tunDevice, checkDevice},
	{"TUN features", checkFeatures},
	{"tc redirect", checkRedirect},
	{"CAP_NET_ADMIN", capability(unix.CAP_NET_ADMIN, Fail, "no TAP can be made")},
	{"CAP_NET_BROADCAST", capability(unix.CAP_NET_BROADCAST, Fail, "links cannot be watched")},
	{"CAP_SYS_ADMIN", capability(unix.CAP_SYS_ADMIN, Warn, "no port can have a netns, and a link that moved cannot be changed")},
	{"CAP_NET_RAW", capability(unix.CAP_NET_RAW, OK, "no kind of port needs it")},
	{"user namespaces", checkNamespaces},
	{"NetworkManager", checkNetworkManager},
	{"systemd-networkd", checkNetworkd},
	{"control socket", checkSocket},
	{"versions", checkVersions},
}

// facts are what several checks need.
type facts struct {
	*System

	kernel   tunState
	features []string
	tunErr   error

	status    control.Status
	daemonErr error
	ports     []control.Port
}

// Run makes all checks. ctx limits the time that the daemon has to answer.
func (s *System) Run(ctx context.Context) []Result {
	f := &facts{System: s, kernel: s.tunState()} // Opening the device may load the module.
	f.features, f.tunErr = s.Features(s.path(tunDevice))
	if f.status, f.daemonErr = s.Daemon.Status(ctx); f.daemonErr == nil {
		f.ports, f.daemonErr = s.Daemon.Ports(ctx)
	}
	var results []Result
	for _, c := range checks {
		if status, found, fix := c.make(f); status != "" {
			results = append(results, Result{c.name, status, found, fix})
		}
	}
	return results
}

// lacking is the status of something that this process may not do, but
// vswitchd must: one that answers can.
func (f *facts) lacking() Status {
	if f.daemonErr == nil {
		return Warn
	}
	return Fail
}

func (s *System) path(path string) string { return filepath.Join(s.Root, path) }

// read returns the content of a file, or nothing if it cannot be read.
func (s *System) read(path string) string {
	b, err := os.ReadFile(s.path(path))
	if err != nil {
		return ""
	}
	return string(b)
}

func (s *System) exists(path string) bool {
	_, err := os.Stat(s.path(path))
	return err == nil
}

// hasLine tells whether a line of text has the prefix.
func hasLine(text, prefix string) bool {
	return strings.HasPrefix(text, prefix) || strings.Contains(text, "\n"+prefix)
}
