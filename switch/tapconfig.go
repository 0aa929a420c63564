package vswitch

import (
	"os/user"
	"strconv"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
)

// tapConfig translates a resolved port configuration for package port.
func tapConfig(c config.Port) (port.TAPConfig, error) {
	t := port.TAPConfig{
		Ifname: c.Ifname, Netns: c.Netns, Ephemeral: c.Ephemeral, MAC: c.MAC, MTU: c.MTU, TxQLen: c.TxQLen,
		Up: *c.Up, IP: c.IP, Gateway: c.Gateway, Persistent: c.Persistent, Adopt: c.Adopt, Owner: -1, Group: -1,
	}
	var err error
	if c.Owner != "" {
		if t.Owner, err = userID(c.Owner); err != nil {
			return t, err
		}
	}
	if c.Group != "" {
		if t.Group, err = groupID(c.Group); err != nil {
			return t, err
		}
	}
	return t, nil
}

func userID(s string) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(s)
	if err != nil {
		return 0, invalidf("owner %q: there is no such user", s)
	}
	return strconv.Atoi(u.Uid)
}

func groupID(s string) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(s)
	if err != nil {
		return 0, invalidf("group %q: there is no such group", s)
	}
	return strconv.Atoi(g.Gid)
}
