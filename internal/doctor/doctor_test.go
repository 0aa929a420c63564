package doctor

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/control"
)

// fakeDaemon answers with what it is, or with err.
type fakeDaemon struct {
	status control.Status
	ports  []control.Port
	err    error
}

func (d *fakeDaemon) Status(context.Context) (control.Status, error) { return d.status, d.err }
func (d *fakeDaemon) Ports(context.Context) ([]control.Port, error)  { return d.ports, d.err }

var errNoDaemon = fmt.Errorf("socket s: %w", control.ErrUnreachable)

// fixture is a machine: its files by path, and what the kernel answers.
type fixture struct {
	files         map[string]string
	daemon        fakeDaemon
	statErr       error
	stat          unix.Stat_t
	tunErr        error
	features      []string
	namespacesErr error
}

const allCaps = "Name:\tvswitchctl\nCapEff:\t000001ffffffffff\nCapBnd:\t0000000000000000\n"

const redirects = "CONFIG_NET_SCH_INGRESS=y\nCONFIG_NET_CLS_U32=m\n# CONFIG_NET_CLS_MATCHALL is not set\nCONFIG_NET_ACT_MIRRED=y\n"

// healthy is root on a machine where all is well and no daemon runs.
func healthy() *fixture {
	return &fixture{
		files: map[string]string{
			"proc/config.gz": "# CONFIG_TUNER is not set\nCONFIG_TUN=y\n" + redirects, "proc/self/status": allCaps, "proc/1/comm": "init\n",
		},
		daemon:   fakeDaemon{err: errNoDaemon},
		stat:     unix.Stat_t{Mode: unix.S_IFCHR | 0o666, Rdev: unix.Mkdev(10, 200)},
		features: []string{"tap", "no_pi", "vnet_hdr", "multi_queue", "napi"},
	}
}

// run makes the machine and all checks of it.
func (f *fixture) run(t *testing.T) map[string]Result {
	t.Helper()
	root := t.TempDir()
	for name, text := range f.files {
		if name == "proc/config.gz" {
			text = zipped(t, text)
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := System{
		Root: root, Release: "6.1", Version: "v1", Daemon: &f.daemon,
		DaemonFix:  func(error) string { return "fix of the daemon" },
		Features:   func(string) ([]string, error) { return f.features, f.tunErr },
		Stat:       func(_ string, st *unix.Stat_t) error { *st = f.stat; return f.statErr },
		Namespaces: func() error { return f.namespacesErr },
	}
	results := map[string]Result{}
	for _, r := range s.Run(t.Context()) {
		results[r.Check] = r
		if (r.Status == OK) != (r.Fix == "") {
			t.Errorf("%+v: a fix is for what is not ok, and always", r)
		}
	}
	return results
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// check compares one result; found and fix need only contain what is wanted.
func (f *fixture) check(t *testing.T, name string, status Status, found, fix string) {
	t.Helper()
	r := f.run(t)[name]
	if r.Status != status || !strings.Contains(r.Found, found) || !strings.Contains(r.Fix, fix) {
		t.Errorf("%s is\n%s: %s\n%s\nwant\n%s: %s\n%s", name, r.Status, r.Found, r.Fix, status, found, fix)
	}
}

func TestHealthyMachineOnlyLacksTheDaemon(t *testing.T) {
	results := healthy().run(t)
	if len(results) != len(checks)-1 { // There are no versions to compare.
		t.Errorf("%d results: %v", len(results), results)
	}
	for name, r := range results {
		want := OK
		if name == "control socket" {
			want = Warn
		}
		if r.Status != want {
			t.Errorf("%+v, want %s", r, want)
		}
	}
}

func TestKernelTellsWhereItsTUNIs(t *testing.T) {
	const dep, builtin = "lib/modules/6.1/modules.dep", "lib/modules/6.1/modules.builtin"
	tap, tun := "kernel/drivers/net/tap.ko:\n", "kernel/drivers/net/tun.ko.zst: kernel/x.ko\n"
	for name, tt := range map[string]struct {
		files      map[string]string
		opens      bool
		status     Status
		found, fix string
	}{
		"y":                      {map[string]string{"proc/config.gz": "CONFIG_TUN=y"}, false, OK, "built in", ""},
		"builtin list":           {map[string]string{builtin: tap + "kernel/drivers/net/tun.ko\n"}, false, OK, "built in", ""},
		"m, loaded":              {map[string]string{"proc/config.gz": "CONFIG_TUN=m", "proc/modules": "tunnel4 1\ntun 61440 2 vhost_net, Live 0x0\n"}, false, OK, "loaded", ""},
		"in sysfs":               {map[string]string{"sys/module/tun/refcnt": "0"}, false, OK, "loaded", ""},
		"m, not loaded":          {map[string]string{"proc/config.gz": "CONFIG_TUN=m", dep: tap + tun}, false, Warn, "not loaded", "modprobe tun"},
		"no config.gz, a module": {map[string]string{dep: tun}, false, Warn, "not loaded", "modprobe tun"},
		"m, opening loads it":    {map[string]string{dep: tun}, true, OK, "when the device is opened", ""},
		"m, not installed":       {map[string]string{"proc/config.gz": "CONFIG_TUN=m", "lib/modules/6.2/modules.dep": tun}, false, Fail, "not among those of kernel 6.1", "reboot"},
		"m, in a container":      {map[string]string{"proc/config.gz": "CONFIG_TUN=m"}, false, Warn, "not loaded", "modprobe"},
		"n":                      {map[string]string{"proc/config.gz": "CONFIG_TUNER=m\n# CONFIG_TUN is not set\n"}, false, Fail, "without CONFIG_TUN", "boot a kernel"},
		"nothing":                {nil, false, Warn, "unknown", "/boot/config-6.1"},
		"nothing, but it opens":  {nil, true, OK, "the device opens", ""},
		"config.gz is not gzip":  {map[string]string{"proc/config": "x"}, true, OK, "the device opens", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			delete(f.files, "proc/config.gz")
			maps.Copy(f.files, tt.files)
			if !tt.opens {
				f.tunErr = unix.ENOENT
			}
			f.check(t, "TUN in the kernel", tt.status, tt.found, tt.fix)
		})
	}
}

func TestAbsentDeviceIsFixedByWhatTheKernelHas(t *testing.T) {
	for config, fix := range map[string]string{
		"CONFIG_TUN=y": "mknod -m 0666 /dev/net/tun c 10 200", "CONFIG_TUN=m": "modprobe tun", "# CONFIG_TUN is not set": "boot a kernel",
	} {
		f := healthy()
		f.files["proc/config.gz"] = config
		f.statErr, f.tunErr, f.stat = unix.ENOENT, unix.ENOENT, unix.Stat_t{}
		f.check(t, tunDevice, Fail, "absent", fix)
		if r, ok := f.run(t)["TUN features"]; ok {
			t.Errorf("features of a device that is absent: %+v", r)
		}
	}
}

func TestDeviceMustBeTheTUNDevice(t *testing.T) {
	f := healthy()
	f.stat.Rdev = unix.Mkdev(1, 3)
	f.check(t, tunDevice, Fail, "not the character device 10:200", "mknod")
	f.stat = unix.Stat_t{Mode: unix.S_IFDIR | 0o755} // Docker makes one of a bind mount whose source is absent.
	f.check(t, tunDevice, Fail, "not the character device 10:200", "mknod")
}

func TestDeviceOfRootAloneIsClosedToAUser(t *testing.T) {
	f := healthy()
	f.stat.Mode, f.tunErr = unix.S_IFCHR|0o600, unix.EACCES
	f.files["dev/net/tun"] = ""
	f.check(t, tunDevice, Fail, "cannot be opened: permission denied", "its mode is 0600; run as root")
	// A vswitchd that runs can open it, or has other troubles.
	f.daemon.err = nil
	f.check(t, tunDevice, Warn, "cannot be opened", "mode is 0600")
}

func TestDeviceThatTheContainerForbids(t *testing.T) {
	f := healthy()
	f.tunErr = unix.EPERM
	f.check(t, tunDevice, Fail, "not permitted", "--device")
}

func TestFeaturesMustHaveTheOffloadHeader(t *testing.T) {
	f := healthy()
	f.features = []string{"tap", "no_pi", "one_queue"}
	f.check(t, "TUN features", Fail, "without vnet_hdr", "kernel")
}

func TestCapabilitiesAreThoseThatAreEffective(t *testing.T) {
	f := healthy()
	// CAP_NET_RAW (13) and CAP_NET_ADMIN (12) of all that the process may have.
	f.files["proc/self/status"] = "Name:\tvswitchctl\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000003000\n"
	f.check(t, "CAP_NET_ADMIN", OK, "effective in this process", "")
	f.check(t, "CAP_NET_RAW", OK, "effective in this process", "")
	f.check(t, "CAP_NET_BROADCAST", Fail, "links cannot be watched", "as root")
	f.check(t, "CAP_SYS_ADMIN", Warn, "netns", "--cap-add")
	f.files["proc/self/status"] = "CapEff:\t0000000000000000\n"
	f.check(t, "CAP_NET_ADMIN", Fail, "no TAP can be made", "as root")
	f.check(t, "CAP_NET_RAW", OK, "not effective", "")
}

func TestCapabilitiesOfARunningDaemonCount(t *testing.T) {
	f := healthy()
	f.daemon = fakeDaemon{status: control.Status{PID: 4711}}
	f.files["proc/self/status"] = "CapEff:\t0000000000000000\n"
	f.files["proc/4711/status"] = "Name:\tvswitchd\nCapEff:\t0000000000001000\n"
	f.check(t, "CAP_NET_ADMIN", OK, "vswitchd, pid 4711", "")
	f.check(t, "CAP_NET_BROADCAST", Fail, "vswitchd, pid 4711", "as root")
	f.files["proc/4711/status"] = "Name:\tbash\nCapEff:\t0000000000001000\n" // Its pid is another here.
	f.check(t, "CAP_NET_ADMIN", Warn, "this process", "as root")
}

func TestForbiddenUserNamespacesAreAWarning(t *testing.T) {
	for file, sysctl := range map[string]string{
		"kernel/apparmor_restrict_unprivileged_userns": "kernel.apparmor_restrict_unprivileged_userns=0",
		"none": "no sysctl forbids it",
	} {
		f := healthy()
		f.namespacesErr = unix.EPERM
		f.files["proc/sys/"+file] = "1\n"
		f.check(t, "user namespaces", Warn, "operation not permitted", sysctl)
	}
}

func TestSocketThatDoesNotAnswer(t *testing.T) {
	for err, status := range map[error]Status{
		errNoDaemon: Warn, control.ErrTimeout: Fail, control.ErrPermission: Fail, errors.New("another"): Fail,
	} {
		f := healthy()
		f.daemon.err = err
		f.check(t, "control socket", status, err.Error(), "fix of the daemon")
		if r, ok := f.run(t)["versions"]; ok {
			t.Errorf("versions without a daemon: %+v", r)
		}
	}
}

func TestDaemonOfAnotherVersionIsAWarning(t *testing.T) {
	f := healthy()
	f.daemon = fakeDaemon{status: control.Status{Version: "v0", PID: 7}}
	f.check(t, "control socket", OK, "pid 7", "")
	f.check(t, "versions", Warn, "vswitchctl is v1, vswitchd v0", "restart vswitchd")
	f.daemon.status.Version = "v1"
	f.check(t, "versions", OK, "v1, both", "")
}
