package port

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Info describes a TAP for people.
type Info struct {
	Link       Link
	Ifname     string   // of the TAP; of a port by OpenNetdev the Link's is another
	Flags      []string // of the TAP, such as "tap", "no_pi", "vnet_hdr", "persist"
	Features   []string // that the kernel knows
	Owner      int      // user id, -1 if not set
	Group      int      // group id, -1 if not set
	VnetHdrLen int      // bytes
	Offloads   frame.Offloads
}

// Info asks the kernel about the TAP. The error is ErrGone, os.ErrClosed or an
// *Error.
func (t *TAP) Info() (info Info, err error) {
	closed := t.conn.Control(func(fd uintptr) { info, err = t.info(int(fd)) })
	if closed != nil {
		return Info{}, os.ErrClosed
	}
	return info, err
}

func (t *TAP) info(fd int) (Info, error) {
	d, err := t.find(fd)
	if err != nil {
		return Info{}, err
	}
	ifname, flags, err := getIff(fd)
	if err != nil {
		return Info{}, err
	}
	features, err := unix.IoctlGetUint32(fd, unix.TUNGETFEATURES)
	if err != nil {
		return Info{}, failed("describe TAP", d.Ifname, "TUNGETFEATURES", err)
	}
	hdrLen, err := unix.IoctlGetUint32(fd, unix.TUNGETVNETHDRSZ)
	if err != nil {
		return Info{}, failed("describe TAP", d.Ifname, "TUNGETVNETHDRSZ", err)
	}
	return Info{
		Link: d.Link, Ifname: ifname, Flags: words(flags), Features: words(uint16(features)),
		Owner: d.owner, Group: d.group, VnetHdrLen: int(hdrLen), Offloads: t.Offloads(),
	}, nil
}

// Features opens the TUN device at path, which makes no link, and returns what
// the kernel knows, as in Info. The error is that of open(2) or ioctl(2), bare.
func Features(path string) ([]string, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	features, err := unix.IoctlGetUint32(fd, unix.TUNGETFEATURES)
	if err != nil {
		return nil, err
	}
	return words(uint16(features)), nil
}

// flagWords are the flags of linux/if_tun.h under the names of iproute2.
var flagWords = []struct {
	flag uint16
	word string
}{
	{unix.IFF_TUN, "tun"},
	{unix.IFF_TAP, "tap"},
	{unix.IFF_NAPI, "napi"},
	{unix.IFF_NAPI_FRAGS, "napi_frags"},
	{unix.IFF_NO_CARRIER, "no_carrier"},
	{unix.IFF_MULTI_QUEUE, "multi_queue"},
	{unix.IFF_PERSIST, "persist"},
	{iffBackpressure, "backpressure"},
	{unix.IFF_NO_PI, "no_pi"},
	{unix.IFF_ONE_QUEUE, "one_queue"},
	{unix.IFF_VNET_HDR, "vnet_hdr"},
	{unix.IFF_TUN_EXCL, "tun_excl"},
}

func words(flags uint16) []string {
	var out []string
	for _, f := range flagWords {
		if flags&f.flag != 0 {
			out = append(out, f.word)
		}
	}
	return out
}
