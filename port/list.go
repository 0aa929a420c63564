package port

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// KindTUN is the Kind of TAPs.
const KindTUN = "tun"

// HostLink is an Ethernet link in the daemon's own namespace, whoever made it.
type HostLink struct {
	Index  int
	Ifname string
	Alias  string
	Kind   string // as `ip -d link` shows it, empty for hardware
	Group  uint32 // of links, as in `ip link set group`
	Master int    // index of the bridge or the like that it belongs to, or 0
	// Persistent and InUse say of a TAP that it stays without a user, and that it
	// has one.
	Persistent, InUse bool
	// AdminUp is IFF_UP. Of a link without it the kernel does not tell when alias,
	// group or user change (netdev_state_change, net/core/dev.c).
	AdminUp bool
}

// extSkipStats is RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h).
const extSkipStats = 1 << 3

// dumpTries is how often a dump is begun again because links came or went
// meanwhile.
const dumpTries = 20

// Links lists the links of the daemon's own namespace that are of a kind, or all if
// that is empty, as they all were at one time.
func (m *Monitor) Links(kind string) (links []HostLink, err error) {
	again, err := whole(func() (err error) {
		links, err = dumpLinks(kind)
		return err
	})
	m.resyncs.Add(uint64(again))
	if err != nil {
		return nil, failed("list links", "rtnetlink", "RTM_GETLINK", err)
	}
	return links, nil
}

// whole repeats a dump that changes of what it lists have interrupted
// (NLM_F_DUMP_INTR), and returns how often.
func whole(dump func() error) (again int, err error) {
	for err = dump(); errors.Is(err, nl.ErrDumpInterrupted) && again < dumpTries; err = dump() {
		again++
	}
	return again, err
}

func dumpLinks(kind string) (links []HostLink, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	if kind != "" {
		info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
		info.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated(kind))
		req.AddData(info)
	}
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(extSkipStats)))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	for _, msg := range msgs {
		if len(msg) < unix.SizeofIfInfomsg {
			return nil, unix.EBADMSG
		}
		d := newNetdev()
		if err := d.decode(msg); err != nil {
			return nil, err
		}
		if !d.ethernet {
			continue
		}
		l := HostLink{
			Index: d.Index, Ifname: d.Ifname, Alias: d.alias, Kind: d.kind, Group: d.linkGroup, Master: d.master, AdminUp: d.AdminUp,
		}
		if d.tap {
			l.Persistent, l.InUse = d.persistent, d.inUse()
		}
		links = append(links, l)
	}
	return links, nil
}

// Occupied explains who has the TAP, which is in use.
func (l *HostLink) Occupied() error {
	return occupied(l.Ifname, &netdev{
		Link: Link{Ifname: l.Ifname}, kind: KindTUN, tap: true, persistent: l.Persistent, attached: true,
	}, -1)
}

// Driver asks for the name of the link's driver, as in `ethtool -i`; empty if there
// is none.
func (l *HostLink) Driver() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, l.Ifname)
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.Driver[:])
}
