// Package guest boots virtual machines for tests and benchmarks: QEMU, a kernel
// of a distribution that is unpacked somewhere, and one program of ours as all of
// their user space, which obeys the process that has booted them.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/qemu"
)

// reply answers a command, which is a list of words. Both are JSON.
type reply struct{ Output, Error string }

// Command is obeyed by a guest: it gets the words behind its name.
type Command func(args []string) (string, error)

// commands are what every guest obeys, beside "end".
var commands = map[string]Command{
	"link": link,
	"vlan": vlan,
	"ping": ping,
	"read": read,
}

// Inside tells whether this program is a guest's first, and is to call Main.
func Inside() bool { return os.Args[0] == "/init" }

// Main is the whole user space of a virtual machine. It obeys commands, also the
// program's own, once start has returned, and does not return itself.
func Main(start func() error, own map[string]Command) {
	maps.Copy(commands, own)
	fmt.Fprintln(os.Stdout, "the guest ends:", serve(start))
	qemu.Off()
}

// serve obeys commands until "end".
func serve(start func() error) error {
	tty, err := setUp()
	if err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	in, out := json.NewDecoder(tty), json.NewEncoder(tty)
	for answer := (reply{}); ; {
		if err := out.Encode(answer); err != nil { // The first says that the guest is there.
			return err
		}
		var args []string
		if err := in.Decode(&args); err != nil {
			return err
		}
		if args[0] == "end" {
			return nil
		}
		answer = reply{}
		obey, ok := commands[args[0]]
		if !ok {
			answer.Error = fmt.Sprintf("there is no command %q", args[0])
			continue
		}
		if answer.Output, err = obey(args[1:]); err != nil {
			answer.Error = err.Error()
		}
	}
}

// setUp does what is an init system's, and returns the line to the host.
func setUp() (*os.File, error) {
	if err := qemu.SetUp(); err != nil {
		return nil, err
	}
	tty, err := os.OpenFile("/dev/ttyS1", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	raw := &unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200}
	raw.Cc[unix.VMIN] = 1
	return tty, unix.IoctlSetTermios(int(tty.Fd()), unix.TCSETS, raw)
}

// link sets a link up with this address, or with none: NAME MTU [ADDRESS/LEN].
func link(args []string) (string, error) {
	l, err := netlink.LinkByName(args[0])
	if err != nil {
		return "", err
	}
	mtu, err := strconv.Atoi(args[1])
	err = errors.Join(err, netlink.LinkSetMTU(l, mtu), netlink.LinkSetUp(l))
	old, listErr := netlink.AddrList(l, netlink.FAMILY_V4)
	err = errors.Join(err, listErr)
	for _, addr := range old {
		err = errors.Join(err, netlink.AddrDel(l, &addr))
	}
	if len(args) > 2 {
		addr, parseErr := netlink.ParseAddr(args[2])
		err = errors.Join(err, parseErr, netlink.AddrAdd(l, addr))
	}
	return "", err
}

// vlan adds a VLAN interface to a link: NAME VID. It is called NAME.VID.
func vlan(args []string) (string, error) {
	l, err := netlink.LinkByName(args[0])
	if err != nil {
		return "", err
	}
	vid, err := strconv.Atoi(args[1])
	return "", errors.Join(err, netlink.LinkAdd(&netlink.Vlan{
		LinkAttrs: netlink.LinkAttrs{Name: args[0] + "." + args[1], ParentIndex: l.Attrs().Index}, VlanId: vid,
	}))
}

// ping waits for one echo reply: ADDRESS MTU. The datagram has the size of the
// MTU and must not be fragmented.
func ping(args []string) (string, error) {
	mtu, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	request := make([]byte, mtu-20)
	request[0] = 8 // The kernel sees to identifier and checksum: ping_v4_sendmsg().
	to := unix.SockaddrInet4{Addr: netip.MustParseAddr(args[0]).As4()}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(Patience.Seconds()) / 2}),
		unix.Sendto(fd, request, 0, &to),
	)
	if err != nil {
		return "", err
	}
	n, _, err := unix.Recvfrom(fd, make([]byte, mtu), 0)
	if err == unix.EAGAIN {
		err = errors.New("no reply")
	}
	if err == nil && n != len(request) {
		err = fmt.Errorf("sent %d bytes, %d came back", len(request), n)
	}
	return "", err
}

// read returns a file: PATH.
func read(args []string) (string, error) {
	text, err := os.ReadFile(args[0])
	return string(text), err
}
