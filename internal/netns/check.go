package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Check tells whether this process can make TAPs in network namespaces of its
// own, now or after Isolate. The error says what is missing and how to get it.
func Check() error {
	_, err := isolation()
	return errors.Join(checkTUN("/dev/net/tun"), err)
}

// checkTUN opens the device and closes it again, which makes no interface.
func checkTUN(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w: %s", path, err, TUNRemedy(err, path))
	}
	return unix.Close(fd)
}

// TUNRemedy says what to do about a bare error of open(2) of the TUN device.
func TUNRemedy(err error, path string) string {
	switch err {
	case unix.ENOENT, unix.ENODEV, unix.ENXIO:
		return "load the module with `sudo modprobe tun` (a kernel built without CONFIG_TUN has none); " +
			"give it to a container with `--device " + path + "`"
	case unix.EACCES:
		return mode(path) + "run as root, or let every user make TAPs in namespaces of their own with `sudo chmod 0666 " + path +
			"`, for good by the udev rule KERNEL==\"tun\", MODE=\"0666\""
	case unix.EPERM:
		// The file's mode allows it, so the cgroup's device list does not.
		return "the container's device list forbids it; start it with `--device " + path + "`"
	}
	return "run as root to see whether that helps"
}

func mode(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("its mode is %04o; ", fi.Mode().Perm())
}

// Forbidding names the sysctl that keeps this user from making namespaces, and
// the command that lifts it. sys is /proc/sys.
func Forbidding(sys string) string {
	for _, s := range []struct{ name, forbids, allow string }{
		{"user.max_user_namespaces", "0", "15000"},
		{"user.max_net_namespaces", "0", "15000"},
		{"kernel.unprivileged_userns_clone", "0", "1"},             // Debian's kernels only.
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "0"}, // Ubuntu's kernels only.
	} {
		b, err := os.ReadFile(filepath.Join(sys, strings.ReplaceAll(s.name, ".", "/")))
		if err == nil && strings.TrimSpace(string(b)) == s.forbids {
			return fmt.Sprintf("%s=%s forbids it; allow it with `sudo sysctl -w %s=%s`, or run as root", s.name, s.forbids, s.name, s.allow)
		}
	}
	return "no sysctl forbids it, so a container or a seccomp filter does; run as root, and a container with `--cap-add SYS_ADMIN --cap-add NET_ADMIN`"
}
