package doctor

import (
	"errors"
	"fmt"

	"github.com/vswitchd/vswitchd/control"
)

func checkSocket(f *facts) (status Status, found, fix string) {
	err := f.daemonErr
	switch {
	case err == nil:
		return OK, fmt.Sprintf("vswitchd answers, pid %d", f.status.PID), ""
	case errors.Is(err, control.ErrUnreachable) && !errors.Is(err, control.ErrTimeout):
		status = Warn // Nothing says that it should run already.
	default:
		status = Fail
	}
	return status, err.Error(), f.DaemonFix(err)
}

func checkVersions(f *facts) (status Status, found, fix string) {
	switch {
	case f.daemonErr != nil:
		return "", "", ""
	case f.status.Version != f.Version:
		return Warn, "vswitchctl is " + f.Version + ", vswitchd " + f.status.Version,
			"restart vswitchd if it was updated since, else install both from one release"
	}
	return OK, f.Version + ", both", ""
}
