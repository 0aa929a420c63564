package fdb

import "github.com/vswitchd/vswitchd/frame"

// Key names a station: the VLAN identifier in bits 48 and up, the address in
// the low 48 bits. The zero Key names none and is never in a Table.
type Key uint64

// groupBit is the I/G bit of the address in a Key (IEEE 802-2014 8.2).
const groupBit Key = 1 << 40

// MakeKey returns the Key of the station with address m in VLAN v.
func MakeKey(v frame.VID, m frame.MAC) Key { return Key(v)<<48 | Key(m.Uint64()) }

// VID returns the VLAN identifier.
func (k Key) VID() frame.VID { return frame.VID(k >> 48) }

// MAC returns the address.
func (k Key) MAC() frame.MAC { return frame.MACFromUint64(uint64(k)) }

// individual reports whether the address can be a station's: neither a group
// address nor zero.
func (k Key) individual() bool { return k&groupBit == 0 && k<<16 != 0 }

// Tick is a point in coarse time in units of the caller's choice, and also a
// number of such units. It wraps.
type Tick uint16

// MaxAgeing is the longest ageing time in ticks. With at most 4,096 ticks from
// one Age to the next no entry gets older than 20,480 ticks, and a difference
// above half of the tick's range can only be a clock that runs behind.
const MaxAgeing Tick = 16384

// since returns how many ticks have passed from then to t. Workers read their
// clocks at different moments: a tick of the near future is now.
func (t Tick) since(then Tick) Tick { return Tick(max(int16(t-then), 0)) }
