package port

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// TAPLink is the link of a TAP in the daemon's own namespace, whoever made it.
type TAPLink struct {
	Index  int
	Ifname string
	Alias  string
	Group  uint32 // of links, as in `ip link set group`
	// Persistent and InUse say that it stays without a user, and that it has one.
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

// TAPs lists the TAPs of the daemon's own namespace, as they all were at one
// time.
func (m *Monitor) TAPs() (links []TAPLink, err error) {
	again, err := whole(func() (err error) {
		links, err = dumpTAPs()
		return err
	})
	m.resyncs.Add(uint64(again))
	if err != nil {
		return nil, failed("list TAPs", "rtnetlink", "RTM_GETLINK", err)
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

func dumpTAPs() (links []TAPLink, err error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.ZeroTerminated("tun"))
	req.AddData(info)
	req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(extSkipStats)))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	for _, msg := range msgs {
		if len(msg) < unix.SizeofIfInfomsg {
			return nil, unix.EBADMSG
		}
		d := &netdev{owner: -1, group: -1}
		if err := d.decode(msg); err != nil {
			return nil, err
		}
		if d.tap {
			links = append(links, TAPLink{
				Index: d.Index, Ifname: d.Ifname, Alias: d.alias, Group: d.linkGroup,
				Persistent: d.persistent, InUse: d.inUse(), AdminUp: d.AdminUp,
			})
		}
	}
	return links, nil
}

// Occupied explains who has the TAP, which is in use.
func (l *TAPLink) Occupied() error {
	return occupied(l.Ifname, &netdev{
		Link: Link{Ifname: l.Ifname}, kind: "tun", tap: true, persistent: l.Persistent, attached: true,
	}, -1)
}
