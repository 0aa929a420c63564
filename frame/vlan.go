package frame

// VID is a VLAN identifier. 1 to 4094 name a VLAN; 0 marks a priority tag
// (802.1Q 9.6) and is also the one VLAN of a switch that is not VLAN aware;
// 4095 is reserved.
type VID uint16

// The values of a VID that are not VLANs, and the first and last that are.
const (
	VIDPriority VID = 0
	VIDMin      VID = 1
	VIDMax      VID = 4094
	VIDReserved VID = 4095
)

// Valid reports whether v names a VLAN.
func (v VID) Valid() bool { return v >= VIDMin && v <= VIDMax }

// Length/Type values that the switch looks at (linux/if_ether.h).
const (
	TypeCTag uint16 = 0x8100 // ETH_P_8021Q: customer VLAN tag
	TypeSTag uint16 = 0x88a8 // ETH_P_8021AD: service VLAN tag, payload to this switch
)

// Sizes in bytes, FCS not counted (linux/if_ether.h).
const (
	AddressesLen = 12                 // destination and source
	TagLen       = 4                  // TPID and TCI
	HeaderLen    = AddressesLen + 2   // addresses and Length/Type
	TaggedLen    = HeaderLen + TagLen // the same with a C-TAG
	MaxLen       = 65535 + HeaderLen  // the largest super-frame, untagged
	MaxTaggedLen = 65535 + TaggedLen  // the same with a C-TAG
	MaxMTU       = 65535 - HeaderLen  // what the kernel allows a TAP (drivers/net/tun.c)
	MinMTU       = 68                 // ETH_MIN_MTU
)

// TCI is the tag control information: PCP, DEI and VID (802.1Q 9.6).
type TCI uint16

// MakeTCI joins the parts of a tag. pcp is 0 to 7.
func MakeTCI(pcp uint8, dei bool, v VID) TCI {
	t := TCI(pcp)<<13 | TCI(v)&0xfff
	if dei {
		t |= 1 << 12
	}
	return t
}

// PCP returns the priority code point, 0 to 7.
func (t TCI) PCP() uint8 { return uint8(t >> 13) }

// DEI returns the drop eligible indicator.
func (t TCI) DEI() bool { return t&(1<<12) != 0 }

// VID returns the VLAN identifier, 0 to 4095.
func (t TCI) VID() VID { return VID(t & 0xfff) }

// WithVID returns the tag with its VID replaced; PCP and DEI are kept.
func (t TCI) WithVID(v VID) TCI { return t&^0xfff | TCI(v)&0xfff }
