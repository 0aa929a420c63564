// Package bridge reads a Linux bridge and says what it is in a configuration
// of the switch, and what of it has no equivalent there.
package bridge

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ErrNotBridge says that there is no bridge of the name.
var ErrNotBridge = errors.New("no such bridge")

// Read reads the bridge called name in the network namespace of the calling
// thread. It needs no privileges. The error is ErrNotBridge or that of the
// kernel.
func Read(name string) (*Import, error) {
	d, err := dump()
	if err != nil {
		return nil, fmt.Errorf("import bridge %q: %w", name, err)
	}
	b, err := d.decode(name)
	if err != nil {
		return nil, fmt.Errorf("import bridge %q: %w", name, err)
	}
	return b.convert()
}

// dumps are the messages of the kernel that a bridge is read from, without
// their headers.
type dumps struct {
	Links      [][]byte // RTM_NEWLINK of every link
	VLANs      [][]byte // RTM_NEWLINK of every bridge and bridge port
	Neighbours [][]byte // RTM_NEWNEIGH: the entries of every FDB
	Addresses  [][]byte // RTM_NEWADDR
}

// A dump during which something changed is begun again, this often.
const maxTries = 10

func dump() (d dumps, err error) {
	for range maxTries {
		if d, err = dumpOnce(); !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	return d, err
}

func dumpOnce() (d dumps, err error) {
	ask := func(what string, request int, body ...nl.NetlinkRequestData) (msgs [][]byte) {
		if err != nil {
			return nil
		}
		req := nl.NewNetlinkRequest(request, unix.NLM_F_DUMP)
		for _, part := range body {
			req.AddData(part)
		}
		if msgs, err = req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
			err = fmt.Errorf("list %s: %w", what, err)
		}
		return msgs
	}
	// Compressed, that is as ranges: 4,094 VLANs of a port fit no message.
	ranges := nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_BRVLAN_COMPRESSED))
	d.Links = ask("links", unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC))
	d.VLANs = ask("VLANs", unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_BRIDGE), ranges)
	d.Neighbours = ask("FDB entries", unix.RTM_GETNEIGH, &netlink.Ndmsg{Family: unix.AF_BRIDGE})
	d.Addresses = ask("addresses", unix.RTM_GETADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	return d, err
}
