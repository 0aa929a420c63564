package port

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errUnseen says that a TAP is in use although no process is seen to have it.
var errUnseen = errors.New("its user was not found")

// holders names the processes that may have the TAP called ifname in the
// namespace ns open, such as "qemu-system-x86 (pid 4711)". It is a hint for
// people: /proc tells the name of a TAP but not its namespace, and hides some
// processes. Among several the only one that runs in ns itself is taken to be
// it. It reads one file for each descriptor of each process.
func holders(ifname string, ns nsIdentity) []string {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	own := strconv.Itoa(os.Getpid())
	var all, inside []string
	for _, process := range processes {
		fds := descriptorsOf(process, ifname)
		if len(fds) == 0 {
			continue
		}
		comm, _ := os.ReadFile(process + "/comm") // The pid says enough.
		pid := filepath.Base(process)
		who := fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
		if pid == own {
			// The switch has an eth0 in each container, but can tell them apart.
			if slices.ContainsFunc(fds, func(fd int) bool { return livesIn(fd, ns) }) {
				return []string{who}
			}
			continue
		}
		all = append(all, who)
		if there, err := netnsOf(process); err == nil && there == ns {
			inside = append(inside, who)
		}
	}
	if len(inside) == 1 {
		return inside
	}
	return all
}

// descriptorsOf returns the descriptors of a process for TAPs called ifname.
func descriptorsOf(process, ifname string) []int {
	want := []byte("iff:\t" + ifname + "\n") // tun_chr_show_fdinfo (drivers/net/tun.c)
	// On an error the process has just ended, or is not ours to look at.
	entries, _ := os.ReadDir(process + "/fdinfo")
	var fds []int
	for _, entry := range entries {
		info, err := os.ReadFile(process + "/fdinfo/" + entry.Name())
		if err != nil || !bytes.Contains(info, want) {
			continue
		}
		if fd, err := strconv.Atoi(entry.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// livesIn tells whether fd is a TAP whose link is in ns. The descriptor may be
// somebody else's file by now: the question does that no harm.
func livesIn(fd int, ns nsIdentity) bool {
	there, err := unix.IoctlRetInt(fd, unix.TUNGETDEVNETNS)
	if err != nil {
		return false
	}
	defer unix.Close(there)
	id, err := identify(there)
	return err == nil && id == ns
}

// occupied explains that the link d has the wanted name, in the namespace
// target or the own one (-1).
func occupied(name string, d *netdev, target int) error {
	e := &Error{Op: "open TAP", Name: name, Err: ErrExists, Fix: "choose another ifname, or delete that link first"}
	switch {
	case d.Ifname != name:
		e.Why = fmt.Sprintf("%s is another name of link %s", name, d.Ifname)
		e.Fix = fmt.Sprintf("choose another ifname, or take it from that link with: ip link property del dev %s altname %s", d.Ifname, name)
	case d.kind != "tun":
		e.Why = fmt.Sprintf("a link named %s exists already", name)
	case !d.tap:
		e.Why = name + " is a TUN (layer 3) device: it carries IP packets without Ethernet headers"
		e.Fix = "a switch port needs a TAP: choose another ifname"
	case d.persistent && !d.inUse():
		e.Why = fmt.Sprintf("a persistent TAP named %s exists already; nobody was found to use it", name)
		e.Fix = "adopt it (port add --adopt, adopt: true) to have it left as it is afterwards, make the port persistent to own it, or delete it with: ip link delete " + name
	default:
		e.busy(target)
	}
	return e
}

func (e *Error) busy(target int) {
	identity := ownNS
	if target >= 0 {
		identity = func() (nsIdentity, error) { return identify(target) }
	}
	ns, _ := identity() // If unknown, it is nobody's.
	by := holders(e.Name, ns)
	e.Err = errors.Join(ErrExists, ErrBusy)
	e.Fix = "a TAP has one user on its character-device side: choose another ifname"
	switch len(by) {
	case 0:
		e.Err = errors.Join(e.Err, errUnseen)
		e.Why = "the TAP is in use by another process"
		e.Fix += ", or see as root which it is: grep -l 'iff:." + e.Name + "$' /proc/[0-9]*/fdinfo/*"
	case 1:
		e.Why = "the TAP is in use by " + by[0]
		e.Fix += ", or end that process"
	default:
		e.Why = "the TAP is in use by one of " + strings.Join(by, ", ")
	}
}
