package frame

import (
	"encoding/binary"
	"fmt"
)

// MAC is a 48-bit address in transmission order. As a value it compares and
// hashes without allocation.
type MAC [6]byte

// Broadcast is the all-ones group address.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// IsGroup reports whether the I/G bit is set: multicast or broadcast
// (IEEE 802-2014 8.2).
func (m MAC) IsGroup() bool { return m[0]&1 != 0 }

// IsZero reports whether all bits are zero: not the address of any station.
func (m MAC) IsZero() bool { return m == MAC{} }

// Reserved returns the last four bits of an address in the range
// 01-80-C2-00-00-00 to -0F, which a bridge does not forward (802.1Q table 8-1).
func (m MAC) Reserved() (low4 uint8, ok bool) {
	return m[5], m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5] <= 0x0f
}

// Uint64 returns the address as the low 48 bits of an integer.
func (m MAC) Uint64() uint64 {
	return uint64(binary.BigEndian.Uint32(m[0:4]))<<16 | uint64(binary.BigEndian.Uint16(m[4:6]))
}

// MACFromUint64 is the inverse of MAC.Uint64; the high 16 bits are ignored.
func MACFromUint64(v uint64) (m MAC) {
	binary.BigEndian.PutUint32(m[0:4], uint32(v>>16))
	binary.BigEndian.PutUint16(m[4:6], uint16(v))
	return m
}

// String formats the address as Linux does: 02:00:5e:10:00:01.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText writes the String form.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts six two-digit hexadecimal octets separated by all
// colons or all hyphens.
func (m *MAC) UnmarshalText(text []byte) error {
	got, err := ParseMAC(string(text))
	if err == nil {
		*m = got
	}
	return err
}

// ParseMAC reads 02:00:5e:10:00:01 or 02-00-5E-10-00-01.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	bad := fmt.Errorf("%q is not a MAC address: want six octets such as 02:00:5e:10:00:01", s)
	if len(s) != 17 || (s[2] != ':' && s[2] != '-') {
		return MAC{}, bad
	}
	for i := range m {
		hi, lo := nibble(s[3*i]), nibble(s[3*i+1])
		if hi > 15 || lo > 15 || (i < 5 && s[3*i+2] != s[2]) {
			return MAC{}, bad
		}
		m[i] = hi<<4 | lo
	}
	return m, nil
}

func nibble(c byte) uint8 {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
