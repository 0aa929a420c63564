package port

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// OwnNSID stands for the daemon's own network namespace where others have an
// nsid (rtnetlink(7), RTM_NEWNSID).
const OwnNSID = -1

// nsIdentity tells one network namespace from another for as long as it exists.
type nsIdentity struct{ dev, ino uint64 }

func identify(fd int) (nsIdentity, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return nsIdentity{uint64(st.Dev), st.Ino}, err //nolint:unconvert // Dev has 32 bits on some architectures
}

// ownNS identifies the network namespace of the calling thread.
func ownNS() (nsIdentity, error) {
	return netnsOf("/proc/thread-self") // Not /proc/self, which is the main thread.
}

// netnsOf identifies the network namespace of a process or thread in /proc.
func netnsOf(process string) (nsIdentity, error) {
	var st unix.Stat_t
	err := unix.Stat(process+"/ns/net", &st)
	return nsIdentity{uint64(st.Dev), st.Ino}, err //nolint:unconvert // Dev has 32 bits on some architectures
}

// openNetns opens the network namespace that spec names: a name under
// /run/netns, an absolute path or, if there is no such name, the decimal pid of
// a process in it.
func openNetns(spec string) (int, error) {
	const op = "open the network namespace"
	path, missing, fix := "/run/netns/"+spec, "there is no /run/netns/"+spec, "create it with: ip netns add "+spec
	if strings.HasPrefix(spec, "/") {
		path, missing, fix = spec, "there is no such file", ""
	} else if strings.Contains(spec, "/") || spec == "." || spec == ".." {
		return -1, invalid(op, spec, "it is neither a name, an absolute path nor a pid", "")
	}
	// Without O_NONBLOCK a path to a FIFO would wait for a writer.
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	fd, err := unix.Open(path, flags, 0)
	if _, notPid := strconv.ParseUint(spec, 10, 31); err == unix.ENOENT && notPid == nil {
		path, missing, fix = "/proc/"+spec+"/ns/net", missing+" and no process "+spec, ""
		fd, err = unix.Open(path, flags, 0)
	}
	if err == unix.ENOENT {
		return -1, &Error{Op: op, Name: spec, Why: missing, Fix: fix, Err: os.ErrNotExist}
	}
	if err != nil {
		return -1, failed(op, spec, "open "+path, err)
	}
	if kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		_ = unix.Close(fd) // Opened to be read: nothing can be lost.
		return -1, invalid(op, spec, path+" is not a network namespace", fix)
	}
	return fd, nil
}

// nsidOf returns the id that the namespace fd has in the daemon's own and gives
// it one if it has none: without it the kernel neither answers queries about
// the namespace nor tells of events in it. The id is good as long as fd is open.
func nsidOf(fd int) (int, error) {
	id, err := netlink.GetNetNsIdByFd(fd)
	if err != nil || id != unix.NETNSA_NSID_NOT_ASSIGNED {
		return id, err
	}
	// EEXIST: somebody else was faster.
	err = netlink.SetNetNsIdByFd(fd, unix.NETNSA_NSID_NOT_ASSIGNED)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return OwnNSID, err
	}
	return netlink.GetNetNsIdByFd(fd)
}
