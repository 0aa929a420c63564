package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// SetUp does what is an init system's: for the first program of a guest.
func SetUp() error {
	for dir, fs := range map[string]string{"/dev": "devtmpfs", "/proc": "proc", "/sys": "sysfs"} {
		_ = os.Mkdir(dir, 0o700) // It may be there: mount tells.
		if err := unix.Mount(fs, dir, fs, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	modules, err := filepath.Glob("/*.ko") // in order
	// Group 0 may open sockets for ICMP echo.
	err = errors.Join(err, os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0))
	if err != nil {
		return err
	}
	for _, path := range modules {
		f, err := os.Open(path)
		if err == nil {
			err = unix.FinitModule(int(f.Fd()), "", 0)
		}
		if err != nil {
			return fmt.Errorf("load %s: %w", path, err)
		}
	}
	return nil
}

// Off ends the guest, and with it QEMU.
func Off() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // Without it, the kernel panics: QEMU ends all the same.
}
