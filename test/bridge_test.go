package test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// kernelBridge is a Linux bridge with a veth pair to each of its stations.
type kernelBridge struct {
	ns       *netns.NS
	ports    []netlink.Link // the bridge's ends
	stations []*nettest.Station
}

// newKernelBridge returns nil if the kernel has no VLAN filtering.
func newKernelBridge(t *testing.T, ports int, vlanFiltering bool) *kernelBridge {
	t.Helper()
	k := &kernelBridge{ns: nettest.New(t)}
	bridge := &netlink.Bridge{
		LinkAttrs: netlink.LinkAttrs{Name: "br0"}, MulticastSnooping: new(false), AgeingTime: new(uint32(300 * 100)), // 1/100 s
	}
	if vlanFiltering {
		bridge.VlanFiltering, bridge.VlanDefaultPVID = new(true), new(uint16(0))
	}
	err := k.ns.Do(func() error {
		for _, call := range []string{"arptables", "iptables", "ip6tables"} {
			// A file that is not there calls nobody.
			_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+call, []byte("0"), 0)
		}
		if err := netlink.LinkAdd(bridge); err != nil {
			return err
		}
		made, err := netlink.LinkByName("br0")
		if err == nil && vlanFiltering && !on(made.(*netlink.Bridge).VlanFiltering) {
			err = unix.EOPNOTSUPP // older attributes than the kernel knows are passed over
		}
		return errors.Join(err, netlink.LinkSetUp(bridge))
	})
	if vlanFiltering && errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range ports {
		ns := nettest.New(t)
		if err := k.plug(bridge, i, ns); err != nil {
			t.Fatal(err)
		}
		k.stations = append(k.stations, nettest.NewStation(t, ns, "eth0"))
	}
	return k
}

func on(b *bool) bool { return b != nil && *b }

// plug joins eth0 of a station's namespace to the bridge.
func (k *kernelBridge) plug(bridge netlink.Link, i int, station *netns.NS) error {
	fd, err := unix.Open(station.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprint("p", i), MasterIndex: bridge.Attrs().Index},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(fd),
	}
	k.ports = append(k.ports, veth)
	err = k.ns.Do(func() error { return errors.Join(netlink.LinkAdd(veth), netlink.LinkSetUp(veth)) })
	return errors.Join(err, station.Do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(eth0)
	}))
}

// set gives port i the VLANs and flags of p. Package netlink lacks two of them.
func (k *kernelBridge) set(i int, p config.Port) error {
	return k.ns.Do(func() error {
		index := k.ports[i].Attrs().Index
		req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
		msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
		msg.Index = int32(index)
		req.AddData(msg)
		flags := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
		for attr, on := range map[int]bool{
			nl.IFLA_BRPORT_LEARNING: *p.Learning, nl.IFLA_BRPORT_UNICAST_FLOOD: *p.Flood,
			nl.IFLA_BRPORT_MCAST_FLOOD: *p.McastFlood, nl.IFLA_BRPORT_BCAST_FLOOD: *p.BcastFlood,
			nl.IFLA_BRPORT_ISOLATED: p.Isolated != 0,
		} {
			value := []byte{0}
			if on {
				value[0] = 1
			}
			flags.AddRtAttr(attr, value)
		}
		req.AddData(flags)
		_, err := req.Execute(unix.NETLINK_ROUTE, 0)
		return err
	})
}

func (k *kernelBridge) setVLANs(i int, p config.Port) error {
	return k.ns.Do(func() (err error) {
		m := p.VLANs()
		for v := range m.Member.All() {
			err = errors.Join(err, netlink.BridgeVlanAdd(k.ports[i], uint16(v), v == m.PVID, m.Untagged.Contains(v), false, true))
		}
		return err
	})
}
