package config

import "slices"

// Without returns c less the ports that drop selects and their static entries.
func (c *Config) Without(drop func(*Port) bool) *Config {
	rest, dropped := *c, map[string]bool{}
	rest.Ports = slices.DeleteFunc(slices.Clone(c.Ports), func(p Port) bool {
		dropped[p.Name] = drop(&p)
		return dropped[p.Name]
	})
	rest.FDB.Static = slices.DeleteFunc(slices.Clone(c.FDB.Static), func(e StaticEntry) bool { return dropped[e.Port] })
	return &rest
}

// WithoutEphemeral returns c as a startup file has it.
func (c *Config) WithoutEphemeral() *Config {
	return c.Without(func(p *Port) bool { return p.Ephemeral })
}

// WithEphemeral returns c with the ephemeral ports of other and their static
// entries. A port or an entry that c has itself is as c has it.
func (c *Config) WithEphemeral(other *Config) *Config {
	own := map[string]bool{}
	for i := range c.Ports {
		own[c.Ports[i].Name] = true
	}
	more := other.Without(func(p *Port) bool { return !p.Ephemeral || own[p.Name] })
	if len(more.Ports) == 0 {
		return c
	}
	all, taken := *c, map[StaticEntry]bool{}
	all.Ports = slices.Concat(c.Ports, more.Ports)
	for _, e := range c.FDB.Static {
		taken[StaticEntry{MAC: e.MAC, VLAN: e.VLAN}] = true
	}
	all.FDB.Static = slices.Concat(c.FDB.Static, slices.DeleteFunc(more.FDB.Static, func(e StaticEntry) bool {
		return e.Port == "" || taken[StaticEntry{MAC: e.MAC, VLAN: e.VLAN}]
	}))
	return &all
}
