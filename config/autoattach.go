package config

import (
	"fmt"
	"path"
	"strings"
)

// AutoAttach is a rule that makes a port of each link that it matches: of a
// persistent TAP in the daemon's own namespace that nobody uses. The port is
// called as the link and adopts it.
type AutoAttach struct {
	Match Match `json:"match"`
	// Port has what is not the link's: VLANs, flags, limits and MTU, TxQLen, Up.
	Port Port `json:"port,omitzero"`
}

// Match says which links a rule is for: those that all of its keys match, of
// which there is at least one.
type Match struct {
	Name  string `json:"name,omitempty"`  // glob of the link's name
	Group string `json:"group,omitempty"` // link group: a number, or a name that ip(8) knows
	Alias string `json:"alias,omitempty"` // glob of the link's alias
}

// For returns the port that the rule makes of a link.
func (r AutoAttach) For(ifname string) Port {
	p := r.Port
	p.Name, p.Adopt = ifname, true
	return p
}

// MatchesName tells whether a link of that name and alias is matched as far as
// these go. In a glob * is any text, ? any character and [a-z] one of a set.
func (m Match) MatchesName(ifname, alias string) bool {
	return glob(m.Name, ifname) && glob(m.Alias, alias)
}

// glob treats a slash as any other character, which path.Match does not. No
// glob matches everything, a broken one nothing.
func glob(pattern, text string) bool {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	ok, err := path.Match(flat(pattern), flat(text))
	return pattern == "" || ok && err == nil
}

// notOfARule are the keys of a port that are the link's, or follow from it.
var notOfARule = []string{"name", "kind", "listen", "dial", "ifname", "netns", "mac", "ip", "persistent", "adopt", "owner", "group"}

func (r AutoAttach) validate(ps *Problems, at string, vlanAware bool) {
	if r.Match == (Match{}) {
		ps.add(at+".match", "matches every TAP of the host", "write name:, group: or alias:, such as match: {name: \"vnet*\"}")
	}
	for _, g := range []struct{ key, pattern string }{{"name", r.Match.Name}, {"alias", r.Match.Alias}} {
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
	made := r.For("x")
	for _, p := range made.problems(vlanAware) {
		p.Path = at + ".port." + p.Path
		*ps = append(*ps, p)
	}
}
