package vswitch

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/config"
)

// groupFiles are where ip(8) has names for link groups, the first that exists.
var groupFiles = []string{"/etc/iproute2/group", "/usr/share/iproute2/group"}

func compileRules(rules []config.AutoAttach) ([]rule, error) {
	compiled := make([]rule, len(rules))
	for i, r := range rules {
		compiled[i].AutoAttach = r
		if r.Match.Group == "" {
			continue
		}
		n, err := linkGroup(r.Match.Group)
		if err != nil {
			return nil, invalidf("auto_attach[%d].match.group: %v", i, err)
		}
		compiled[i].group = &n
	}
	return compiled, nil
}

// linkGroup returns the number of a link group, which may be given as one.
func linkGroup(name string) (uint32, error) {
	if n, err := strconv.ParseUint(name, 0, 32); err == nil {
		return uint32(n), nil
	}
	for _, path := range groupFiles {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) < 2 || words[1] != name {
				continue
			}
			if n, err := strconv.ParseUint(words[0], 0, 32); err == nil {
				return uint32(n), nil
			}
		}
	}
	return 0, invalidf("there is no link group %.40q in %s; write its number", name, strings.Join(groupFiles, " or "))
}
