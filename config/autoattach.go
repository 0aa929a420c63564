package config

import (
	"fmt"
	"path"
	"strings"
)

// AutoAttach is a rule that makes a port of each link in the daemon's own
// namespace that it matches. The port is called as the link. It adopts it, which
// only a persistent TAP that nobody uses can be, or is a netdev if Port says so.
type AutoAttach struct {
	Match Match `json:"match"`
	// Port has what is not the link's: Kind, VLANs, flags, limits and MTU, TxQLen, Up.
	Port Port `json:"port,omitzero"`
}

// Match says which links a rule is for: those that all of its keys match, of
// which there is at least one.
type Match struct {
	Name  string `json:"name,omitempty"`  // glob of the link's name
	Group string `json:"group,omitempty"` // link group: a number, or a name that ip(8) knows
	Alias string `json:"alias,omitempty"` // glob of the link's alias
	// Driver is a glob of the driver's name, as in `ethtool -i`, and Kind of what
	// `ip -d link` shows for links that are not hardware, such as veth; tun is a TAP.
	Driver string `json:"driver,omitempty"`
	Kind   string `json:"kind,omitempty"`
}

// For returns the port that the rule makes of a link.
func (r AutoAttach) For(ifname string) Port {
	p := r.Port
	p.Name, p.Adopt = ifname, p.Kind != KindNetdev
	return p
}

// MatchesName tells whether a link of that name, alias and kind is matched as far
// as these go. In a glob * is any text, ? any character and [a-z] one of a set.
func (m Match) MatchesName(ifname, alias, kind string) bool {
	return glob(m.Name, ifname) && glob(m.Alias, alias) && glob(m.Kind, kind)
}

// MatchesDriver does the same for its driver.
func (m Match) MatchesDriver(driver string) bool { return glob(m.Driver, driver) }

// glob treats a slash as any other character, which path.Match does not. No
// glob matches everything, a broken one nothing.
func glob(pattern, text string) bool {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	ok, err := path.Match(flat(pattern), flat(text))
	return pattern == "" || ok && err == nil
}

// notOfARule are the keys of a port that are the link's, or follow from it.
var notOfARule = []string{"name", "listen", "dial", "link", "ifname", "netns", "mac", "ip", "gateway", "persistent", "ephemeral", "adopt", "owner", "group"}

func (r AutoAttach) validate(ps *Problems, at string, vlanAware bool) {
	if r.Match == (Match{}) {
		ps.add(at+".match", "matches every link of the host", "write name:, group:, alias:, driver: or kind:, such as match: {name: \"vnet*\"}")
	}
	for _, g := range []struct{ key, pattern string }{
		{"name", r.Match.Name}, {"alias", r.Match.Alias}, {"driver", r.Match.Driver}, {"kind", r.Match.Kind},
	} {
		if _, err := path.Match(g.pattern, ""); err != nil {
			ps.add(at+".match."+g.key, quote(g.pattern)+" is not a glob", "close each [ with ], and write no \\ at the end")
		}
	}
	if n := len(r.Match.Name); n > 0 && !strings.ContainsAny(r.Match.Name, "*?[\\") && !validIfname(r.Match.Name) {
		ps.add(at+".match.name", quote(r.Match.Name)+" is not a name that a link can have", fmt.Sprintf("write a glob, or 1 to %d bytes without / : %% and spaces", MaxIfname))
	}
	for _, key := range notOfARule {
		if r.Port.firstKey(key) != "" {
			ps.add(at+".port."+key, "a port of a rule has this from its link", "leave it out")
			return
		}
	}
	if k := r.Port.kind(); k != KindTAP && k != KindNetdev {
		ps.add(at+".port.kind", "a rule makes ports of links, adopted TAPs or netdevs", "write "+KindNetdev+", or leave it out")
		return
	}
	made := r.For("x")
	for _, p := range made.problems(vlanAware) {
		p.Path = at + ".port." + p.Path
		*ps = append(*ps, p)
	}
}
