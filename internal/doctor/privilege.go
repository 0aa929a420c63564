package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/internal/netns"
)

// capability makes a check of an effective capability. Missing it is the
// consequence, and has the status: one that is OK is only shown.
func capability(bit uint, missing Status, consequence string) func(*facts) (status Status, found, fix string) {
	return func(f *facts) (status Status, found, fix string) {
		who, effective := f.privileged()
		if effective>>bit&1 != 0 {
			return OK, "effective in " + who, ""
		}
		found = "not effective in " + who + ": " + consequence
		switch {
		case missing == OK:
			return OK, found, ""
		case missing == Fail && who == thisProcess:
			missing = f.lacking()
		}
		return missing, found, "run vswitchd, and this command, as root; or add it to AmbientCapabilities= of the unit, or to --cap-add of the container"
	}
}

const thisProcess = "this process"

// privileged returns the effective capabilities of vswitchd, or of this process
// if there is none that can be seen, and the words for whose they are.
func (f *facts) privileged() (who string, effective uint64) {
	if f.daemonErr == nil {
		status := f.read(fmt.Sprintf("/proc/%d/status", f.status.PID))
		// The pid may be that of another pid namespace.
		if hasLine(status, "Name:\tvswitchd\n") {
			return "vswitchd, pid " + strconv.Itoa(f.status.PID), effectiveOf(status)
		}
	}
	return thisProcess, effectiveOf(f.read("/proc/self/status"))
}

// effectiveOf returns CapEff of a file proc_pid_status(5).
func effectiveOf(status string) uint64 {
	_, after, _ := strings.Cut(status, "\nCapEff:")
	line, _, _ := strings.Cut(after, "\n")
	n, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// checkNamespaces never fails: only the demo and the tests need a user
// namespace, and only those of an ordinary user.
func checkNamespaces(f *facts) (status Status, found, fix string) {
	if err := f.Namespaces(); err != nil {
		return Warn, "cannot be made: " + err.Error() + "; the demo and the tests need root", netns.Forbidding(f.path("/proc/sys"))
	}
	return OK, fmt.Sprintf("uid %d may make them", os.Geteuid()), ""
}
