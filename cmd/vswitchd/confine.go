package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

// Capabilities of a daemon that has started, where it had them before.
// docs/operations.md says what each is for.
var (
	needed = []cap.Value{cap.NET_ADMIN, cap.NET_BROADCAST, cap.SYS_ADMIN, cap.SYS_NICE}
	// ofRoot are for files and sockets of other users, which root is expected to
	// have a way with: a VMM's socket, a startup file in somebody's home.
	ofRoot = []cap.Value{cap.DAC_OVERRIDE, cap.CHOWN}
)

// confine takes from the process, with all its threads, what it does not need
// once it has started as c says. A daemon that works is worth more than one that
// is confined: what fails is logged.
func confine(c *config.Config, st control.Startup, socket string, log *slog.Logger) {
	kept, err := dropCapabilities()
	if err != nil {
		log.Error("capabilities not dropped", "err", err)
	}
	held, err := restrictFiles(filesOf(c, st, socket))
	if err != nil {
		log.Error("files not restricted", "err", err)
	}
	log.Info("confined", "capabilities", kept, "landlock", held)
}

// dropCapabilities keeps of the permitted capabilities those above, for good: no
// program that might be run could have more.
func dropCapabilities() (kept string, err error) {
	wanted := slices.Concat(needed, ofRoot)
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("set no_new_privs: %w", err)
	}
	has, keep := cap.GetProc(), cap.NewSet()
	var names []string
	for _, c := range wanted {
		if permitted, _ := has.GetFlag(cap.Permitted, c); permitted {
			names = append(names, c.String())
			_ = keep.SetFlag(cap.Permitted, true, c) // It fails for unknown ones only.
			_ = keep.SetFlag(cap.Effective, true, c)
		}
	}
	if err := cap.ResetAmbient(); err != nil {
		return "", fmt.Errorf("clear the ambient set: %w", err)
	}
	// Without CAP_SETPCAP the bounding set is whoever started the daemon's to
	// limit, and of no use here.
	if may, _ := has.GetFlag(cap.Effective, cap.SETPCAP); may {
		if err := cap.DropBound(except(wanted)...); err != nil {
			return "", fmt.Errorf("limit the bounding set: %w", err)
		}
	}
	if err := keep.SetProc(); err != nil {
		return "", fmt.Errorf("limit the permitted set: %w", err)
	}
	if names == nil {
		return "none", nil
	}
	return strings.Join(names, ","), nil
}

// except returns the capabilities of the kernel but for those given.
func except(given []cap.Value) (others []cap.Value) {
	for c := range cap.MaxBits() {
		if !slices.Contains(given, c) {
			others = append(others, c)
		}
	}
	return others
}

// Rights of landlock(7).
const (
	mayRead  = ll.AccessFSReadFile | ll.AccessFSReadDir
	mayWrite = mayRead | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSRemoveFile
	mayKeep  = mayWrite | ll.AccessFSMakeDir | ll.AccessFSRemoveDir | ll.AccessFSMakeSock
	mayBind  = mayRead | ll.AccessFSMakeSock | ll.AccessFSRemoveFile
	mayOpen  = ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSIoctlDev
)

// restrictFiles lets the process use these files only, and execute none. It says
// whether the kernel can do that.
func restrictFiles(f files) (held string, err error) {
	rule := func(rights landlock.AccessFSSet, paths ...string) landlock.Rule {
		return landlock.PathAccess(rights, paths...).IgnoreIfMissing()
	}
	// V5 is the last that restricts nothing else than files. Later ones forbid to
	// connect to sockets, which ports that dial have anywhere.
	err = landlock.V5.BestEffort().RestrictPaths(
		rule(mayRead, f.read...), rule(mayWrite, f.write...), rule(mayKeep, f.keep),
		rule(mayBind, f.bind...), rule(mayOpen, "/dev/net/tun"),
	)
	if err != nil {
		return "no", err
	}
	version, err := ll.LandlockGetABIVersion()
	if err != nil || version < 1 {
		return "not in this kernel", nil
	}
	return fmt.Sprintf("ABI %d", version), nil
}
