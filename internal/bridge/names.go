package bridge

import (
	"fmt"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
)

// portNames returns a port name for the bridge and each of its ports: the
// link's own where a port can be called so.
func (b *bridge) portNames() map[int]string {
	links := append([]*link{&b.link}, b.ports...)
	names, taken := map[int]string{}, map[string]bool{}
	for _, l := range links {
		if sane(l.name) == l.name {
			names[l.index], taken[l.name] = l.name, true
		}
	}
	for _, l := range links {
		if names[l.index] != "" {
			continue
		}
		name := sane(l.name)
		for n := 2; taken[name]; n++ {
			suffix := fmt.Sprintf("-%d", n)
			base := sane(l.name)
			name = base[:min(len(base), config.MaxIfname-len(suffix))] + suffix
		}
		names[l.index], taken[name] = name, true
	}
	return names
}

// sane returns name made into one that a port and its link can both have.
func sane(name string) string {
	alnum := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' }
	b := []byte(name)
	for i, c := range b {
		if !alnum(c) && !strings.ContainsRune("._-", rune(c)) {
			b[i] = '-'
		}
	}
	if s := string(b); s != "" && alnum(b[0]) && port.CheckIfname(s) == nil {
		return s
	}
	s := "p" + string(b)
	return s[:min(len(s), config.MaxIfname)]
}

// shown returns the name of a link, which may hold any byte but a slash and
// whitespace, for a person to read.
func shown(name string) string {
	if sane(name) == name {
		return name
	}
	return fmt.Sprintf("%q", name)
}
