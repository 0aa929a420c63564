package doctor

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/netns"
)

const tunDevice = "/dev/net/tun"

// tunState is where the kernel has its TUN driver.
type tunState int

const (
	tunUnknown tunState = iota // no source tells
	tunBuiltIn
	tunLoaded
	tunUnloaded     // a module that can be loaded
	tunNotInstalled // a module that is missing from those of this kernel
	tunAbsent       // a kernel that was built without
)

// tunState trusts what runs over what was built.
func (s *System) tunState() tunState {
	config, modules := s.kernelConfig(), "/lib/modules/"+s.Release
	switch {
	case hasLine(s.read("/proc/modules"), "tun "):
		return tunLoaded
	case hasLine(config, "CONFIG_TUN=y") || strings.Contains(s.read(modules+"/modules.builtin"), "/tun.ko"):
		return tunBuiltIn
	case s.exists("/sys/module/tun"):
		return tunLoaded
	case strings.Contains(s.read(modules+"/modules.dep"), "/tun.ko"):
		return tunUnloaded
	case hasLine(config, "CONFIG_TUN=m") && s.exists("/lib/modules"):
		return tunNotInstalled
	case hasLine(config, "CONFIG_TUN=m"):
		return tunUnloaded // A container sees nothing of the modules.
	case config != "":
		return tunAbsent
	}
	return tunUnknown
}

// kernelConfig returns what the kernel was configured with, or nothing.
func (s *System) kernelConfig() string {
	b, err := os.ReadFile(s.path("/proc/config.gz"))
	if err != nil {
		return ""
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(z, 4<<20)) // They have some 200 KiB.
	if err != nil {
		return ""
	}
	return string(text)
}

const (
	modprobe = "sudo modprobe tun; at every boot: echo tun | sudo tee /etc/modules-load.d/tun.conf"
	mknod    = "sudo mkdir -p /dev/net && sudo mknod -m 0666 " + tunDevice + " c 10 200; give it to a container with --device " + tunDevice
)

func checkKernel(f *facts) (status Status, found, fix string) {
	opens := f.tunErr == nil
	switch {
	case f.kernel == tunBuiltIn:
		return OK, "built in", ""
	case f.kernel == tunLoaded:
		return OK, "a module, loaded", ""
	case f.kernel == tunUnloaded && opens:
		return OK, "a module, loaded by the kernel when the device is opened", ""
	case opens:
		return OK, "the device opens; the kernel does not tell whether it is a module", ""
	case f.kernel == tunUnloaded:
		return Warn, "a module, not loaded", modprobe
	case f.kernel == tunNotInstalled:
		return Fail, "a module, but not among those of kernel " + f.Release + " in /lib/modules",
			"install the modules of this kernel; after an update of the kernel, reboot"
	case f.kernel == tunAbsent:
		return Fail, "absent: the kernel was built without CONFIG_TUN", "boot a kernel with CONFIG_TUN=y or m"
	}
	return Warn, "unknown: there is no /proc/config.gz and no /lib/modules/" + f.Release, "look for CONFIG_TUN in /boot/config-" + f.Release + ", or try: " + modprobe
}

func checkDevice(f *facts) (status Status, found, fix string) {
	path := f.path(tunDevice)
	var st unix.Stat_t
	err := f.Stat(path, &st)
	isTUN := st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(10, 200) // linux/miscdevice.h: TUN_MINOR
	switch {
	case err == unix.ENOENT && f.kernel == tunAbsent:
		return Fail, "absent", "boot a kernel with CONFIG_TUN=y or m"
	case err == unix.ENOENT && f.kernel == tunUnloaded:
		return Fail, "absent", modprobe
	case err == unix.ENOENT:
		return Fail, "absent", mknod
	case err != nil:
		return Fail, err.Error(), netns.TUNRemedy(err, path)
	case !isTUN:
		return Fail, "not the character device 10:200", "remove what is there; " + mknod
	case f.tunErr != nil:
		return f.lacking(), "cannot be opened: " + f.tunErr.Error(), netns.TUNRemedy(f.tunErr, path)
	}
	return OK, fmt.Sprintf("opens, mode %04o", st.Mode&0o7777), ""
}

// checkFeatures names what the switch can do without, but does not ask for it.
func checkFeatures(f *facts) (status Status, found, fix string) {
	if f.tunErr != nil {
		return "", "", ""
	}
	for _, needed := range []string{"tap", "no_pi", "vnet_hdr"} {
		if !slices.Contains(f.features, needed) {
			return Fail, "without " + needed + ": " + strings.Join(f.features, " "), "boot a Linux kernel whose TAPs have " + needed
		}
	}
	return OK, strings.Join(f.features, " "), ""
}
