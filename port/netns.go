package port

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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

// PinProcess returns PID@START, which as Netns of a TAPConfig names the network
// namespace of the process that has the pid now and of none that gets it later.
// START is in clock ticks after boot.
func PinProcess(pid int) (netns string, err error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", err
	}
	// The name in parentheses may have any characters; starttime is the twentieth
	// value after it (proc_pid_stat(5)).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return "", unix.EBADMSG
	}
	return strconv.Itoa(pid) + "@" + fields[19], nil
}

const opOpenNetns = "open the network namespace"

// openNetns opens the network namespace that spec names: what PinProcess makes, a
// name under /run/netns, an absolute path or, if there is no such name, the
// decimal pid of a process in it.
func openNetns(spec string) (int, error) {
	text, _, pinned := strings.Cut(spec, "@")
	pid, err := strconv.ParseUint(text, 10, 31)
	if err != nil || !pinned {
		return openNamedNetns(spec)
	}
	fd, err := openNamedNetns("/proc/" + text + "/ns/net")
	// Asked behind the open: who has the pid now had it then.
	if now, _ := PinProcess(int(pid)); now != spec {
		if err == nil {
			_ = unix.Close(fd) // Opened to be read: nothing can be lost.
		}
		err = &Error{Op: opOpenNetns, Name: spec, Why: "that process has ended", Err: os.ErrNotExist}
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

func openNamedNetns(spec string) (int, error) {
	const op = opOpenNetns
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
	if pid := pidIn(path); err == unix.EACCES && pid > 0 {
		if fd, err = netnsOfPid(pid); err == unix.ESRCH {
			missing, err = "there is no process "+strconv.Itoa(pid), unix.ENOENT
		}
	}
	if err == unix.ENOENT {
		return -1, &Error{Op: op, Name: spec, Why: missing, Fix: fix, Err: os.ErrNotExist}
	}
	if err == unix.EACCES {
		return -1, &Error{
			Op: op, Name: spec, Why: "open " + path + ": " + err.Error(), Err: ErrPermission,
			Fix: "once started, the daemon opens no namespaces but those in /run/netns, elsewhere below /run, and of processes",
		}
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

// pidIn returns the process whose network namespace path is, or 0.
func pidIn(path string) int {
	path, found := strings.CutPrefix(path, "/proc/")
	text, ns := strings.CutSuffix(path, "/ns/net")
	pid, err := strconv.ParseUint(text, 10, 31)
	if !found || !ns || err != nil {
		return 0
	}
	return int(pid)
}

// netnsOfPid opens the network namespace of a process that may not be looked
// into: without CAP_SYS_PTRACE that of another user, behind Landlock any. The
// kernel puts a link there all the same, and tells where the link is.
func netnsOfPid(pid int) (int, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fd) // It takes the link along.
	if err := setIff(fd, tapPattern, tapFlags|unix.IFF_TUN_EXCL); err != nil {
		return -1, err
	}
	name, _, err := getIff(fd)
	if err != nil {
		return -1, err
	}
	d, err := query(OwnNSID, name)
	if err != nil {
		return -1, err
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(d.Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_PID, nl.Uint32Attr(uint32(pid))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(tapPattern)))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return -1, err
	}
	return unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
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
