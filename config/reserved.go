package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/frame"
)

// Reserved is a set of the addresses 01-80-C2-00-00-00 to -0F (802.1Q table
// 8-1): bit N stands for the address that ends in N. In YAML and JSON it is a
// list whose elements are a name (stp, pause, lacp, eapol, lldp), an address,
// the address's last octet as a number from 0 to 15, or all; one element is
// read without a list as well.
type Reserved uint16

// ReservedAll is the set of all sixteen addresses.
const ReservedAll Reserved = 0xffff

// reservedNames are those of the protocols that own the addresses: 802.1Q
// table 8-1 and, for pause, 802.3 annex 31B.
var reservedNames = [16]string{0x00: "stp", 0x01: "pause", 0x02: "lacp", 0x03: "eapol", 0x0e: "lldp"}

// Has reports whether the address that ends in low4, 0 to 15, is in the set.
func (r Reserved) Has(low4 uint8) bool { return r>>(low4&0xf)&1 != 0 }

// names returns the elements of the list form.
func (r Reserved) names() []string {
	if r == ReservedAll {
		return []string{"all"}
	}
	names := []string{}
	for low4 := range uint8(16) {
		switch name := reservedNames[low4]; {
		case !r.Has(low4):
		case name != "":
			names = append(names, name)
		default:
			names = append(names, fmt.Sprintf("01-80-c2-00-00-%02x", low4))
		}
	}
	return names
}

// String returns the set as stp,lldp; the empty set is the empty string.
func (r Reserved) String() string { return strings.Join(r.names(), ",") }

// MarshalJSON writes the list form: ["stp","01-80-c2-00-00-04"].
func (r Reserved) MarshalJSON() ([]byte, error) { return json.Marshal(r.names()) }

// UnmarshalJSON reads each of the forms. The error is a Problem without Path.
func (r *Reserved) UnmarshalJSON(raw []byte) error {
	texts, err := elements(raw, "write "+wantedReserved)
	if err != nil {
		return err
	}
	var all Reserved
	for _, text := range texts {
		one, err := parseReserved(text)
		if err != nil {
			return err
		}
		all |= one
	}
	*r = all
	return nil
}

func parseReserved(text string) (Reserved, error) {
	if text == "all" {
		return ReservedAll, nil
	}
	if i := slices.Index(reservedNames[:], text); i >= 0 && text != "" {
		return 1 << i, nil
	}
	if n, err := strconv.ParseUint(text, 10, 8); err == nil && n <= 15 {
		return 1 << n, nil
	}
	if mac, err := frame.ParseMAC(text); err == nil {
		if low4, ok := mac.Reserved(); ok {
			return 1 << low4, nil
		}
	}
	return 0, Problem{Msg: quote(text) + " is not a reserved address", Fix: "write " + wantedReserved}
}
