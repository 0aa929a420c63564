package port

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CheckIfname tells whether the kernel takes name as the name of a link, as
// dev_valid_name (net/core/dev.c) has it and narrower in three points: '%',
// which makes the name a pattern; anything but printable ASCII, parts of which
// the kernel takes for whitespace; and the names of the sysctl directories that
// stand beside those of the links.
func CheckIfname(name string) error {
	refuse := func(why string) error {
		return invalid("use the link name", name, why, "choose 1 to 15 letters, digits, dots, dashes or underscores")
	}
	switch {
	case name == "":
		return refuse("it is empty")
	case len(name) >= unix.IFNAMSIZ:
		return refuse(fmt.Sprintf("it has %d bytes, the kernel allows %d", len(name), unix.IFNAMSIZ-1))
	case name == "." || name == "..":
		return refuse("it names a directory")
	case name == "all" || name == "default":
		return refuse("the kernel keeps it for /proc/sys/net/ipv4/conf/" + name)
	}
	for _, c := range []byte(name) {
		switch {
		case c == '/', c == ':', c == '%':
			return refuse(fmt.Sprintf("it contains %q", c))
		case c <= ' ', c >= 0x7f:
			return refuse("it contains whitespace or a byte that is not printable ASCII")
		}
	}
	return nil
}
