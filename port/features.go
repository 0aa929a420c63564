package port

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// tunFeatures are the link features that TUNSETOFFLOAD turns on and off
// (TUN_USER_FEATURES, drivers/net/tun.c), as ethtool calls them, with the bits
// that ask for them (linux/if_tun.h).
var tunFeatures = map[string]int{
	"tx-checksum-ip-generic":       unix.TUN_F_CSUM,
	"tx-tcp-segmentation":          unix.TUN_F_TSO4,
	"tx-tcp6-segmentation":         unix.TUN_F_TSO6,
	"tx-tcp-ecn-segmentation":      unix.TUN_F_TSO_ECN,
	"tx-udp-segmentation":          unix.TUN_F_USO4 | unix.TUN_F_USO6,
	"tx-udp_tnl-segmentation":      0x80,  // TUN_F_UDP_TUNNEL_GSO
	"tx-udp_tnl-csum-segmentation": 0x100, // TUN_F_UDP_TUNNEL_GSO_CSUM
}

// features returns which tunFeatures of a link of the own namespace are wanted
// and the TUN_F bits of those that are active.
func features(index int) (wanted map[string]bool, offload int, err error) {
	req, err := featuresRequest(unix.ETHTOOL_MSG_FEATURES_GET, index)
	if err != nil {
		return nil, 0, err
	}
	msgs, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, 0, err
	}
	wanted = map[string]bool{}
	for name := range tunFeatures {
		wanted[name] = false
	}
	for _, m := range msgs {
		err := eachAttr(m[nl.SizeofGenlmsg:], func(kind uint16, v []byte) error {
			switch kind {
			case unix.ETHTOOL_A_FEATURES_WANTED:
				return eachBit(v, func(name string) {
					if _, ok := tunFeatures[name]; ok {
						wanted[name] = true
					}
				})
			case unix.ETHTOOL_A_FEATURES_ACTIVE:
				return eachBit(v, func(name string) { offload |= tunFeatures[name] })
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return wanted, offload, nil
}

// eachBit calls f with the name of each bit that is set in a bitset without mask
// (ETHTOOL_A_BITSET_*, Documentation/networking/ethtool-netlink.rst).
func eachBit(set []byte, f func(name string)) error {
	return eachAttr(set, func(kind uint16, bits []byte) error {
		if kind != unix.ETHTOOL_A_BITSET_BITS {
			return nil
		}
		return eachAttr(bits, func(_ uint16, bit []byte) error {
			return eachAttr(bit, func(kind uint16, v []byte) error {
				if kind == unix.ETHTOOL_A_BITSET_BIT_NAME {
					f(unix.ByteSliceToString(v))
				}
				return nil
			})
		})
	})
}

// want sets which features of a link of the own namespace are wanted.
func want(index int, wanted map[string]bool) error {
	req, err := featuresRequest(unix.ETHTOOL_MSG_FEATURES_SET, index)
	if err != nil {
		return err
	}
	set := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_WANTED|unix.NLA_F_NESTED, nil)
	bits := set.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS|unix.NLA_F_NESTED, nil)
	for name, on := range wanted {
		bit := bits.AddRtAttr(unix.ETHTOOL_A_BITSET_BITS_BIT|unix.NLA_F_NESTED, nil)
		bit.AddRtAttr(unix.ETHTOOL_A_BITSET_BIT_NAME, nl.ZeroTerminated(name))
		if on {
			bit.AddRtAttr(unix.ETHTOOL_A_BITSET_BIT_VALUE, nil)
		}
	}
	req.AddData(set)
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

func featuresRequest(command uint8, index int) (*nl.NetlinkRequest, error) {
	family, err := netlink.GenlFamilyGet(unix.ETHTOOL_GENL_NAME)
	if err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: command, Version: unix.ETHTOOL_GENL_VERSION})
	header := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_HEADER|unix.NLA_F_NESTED, nil)
	header.AddRtAttr(unix.ETHTOOL_A_HEADER_DEV_INDEX, nl.Uint32Attr(uint32(index)))
	req.AddData(header)
	return req, nil
}
