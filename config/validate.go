package config

import (
	"cmp"
	"fmt"
	"iter"
	"net"
	"path/filepath"
	"strconv"

	"github.com/vswitchd/vswitchd/frame"
)

// Validate checks the configuration as a whole. The error is Problems, all of
// them.
func (c *Config) Validate() error {
	var ps Problems
	if c.VLANAware == nil {
		ps.add("vlan_aware", "must be stated", "write vlan_aware: true for an 802.1Q bridge, where a port is a member of the VLANs it is given and of no other, or vlan_aware: false for a plain bridge, which passes tags untouched")
	}
	c.FDB.validate(&ps)
	c.Control.validate(&ps)
	c.Metrics.validate(&ps)
	if c.Nice != nil && (*c.Nice < -20 || *c.Nice > 19) {
		ps.add("nice", fmt.Sprintf("is %d", *c.Nice), "write -20 (first) to 19 (last), or leave it out")
	}
	c.validatePorts(&ps)
	c.validateStatic(&ps)
	for i, r := range c.AutoAttach {
		r.validate(&ps, fmt.Sprintf("auto_attach[%d]", i), c.VLANAware == nil || *c.VLANAware)
	}
	return ps.err()
}

// validateStatic checks the static entries by themselves and against the ports.
func (c *Config) validateStatic(ps *Problems) {
	if n := len(c.FDB.Static); n > MaxStatic || n > max(c.FDB.Resolved().Capacity, MinCapacity) {
		ps.add("fdb.static", fmt.Sprintf("has %d entries", n), fmt.Sprintf("write at most %d, and no more than fdb.capacity", MaxStatic))
		return
	}
	ports := make(map[string]*Port, len(c.Ports))
	for i := range c.Ports {
		ports[c.Ports[i].Name] = &c.Ports[i]
	}
	aware := c.VLANAware == nil || *c.VLANAware
	type key struct {
		vid frame.VID
		mac frame.MAC
	}
	seen := map[key]int{}
	for i, e := range c.FDB.Static {
		path := fmt.Sprintf("fdb.static[%d]", i)
		e.validate(ps, path, aware, ports[e.Port])
		if first, taken := seen[key{e.VLAN, e.MAC}]; taken {
			ps.add(path+".mac", fmt.Sprintf("fdb.static[%d] is about %v in the same VLAN too", first, e.MAC), "keep one of the two")
			continue
		}
		seen[key{e.VLAN, e.MAC}] = i
	}
}

// validate checks an entry; p is the port that it names, nil if there is none.
func (e *StaticEntry) validate(ps *Problems, path string, aware bool, p *Port) {
	if e.MAC.IsGroup() || e.MAC.IsZero() {
		ps.add(path+".mac", e.MAC.String()+" is not the address of a station", "write a unicast address such as 02:00:5e:10:00:01, whose first octet is even")
	}
	switch {
	case !aware && e.VLAN != 0:
		ps.add(path+".vlan", "the switch is not VLAN aware: its entries have no VLAN", "leave it out, or write vlan_aware: true")
	case aware && !e.VLAN.Valid():
		ps.add(path+".vlan", fmt.Sprintf("is %d", e.VLAN), "write the VLAN of the station, from 1 to 4094")
	}
	switch {
	case e.Blackhole == (e.Port != ""):
		ps.add(path+".port", "an entry has either a port or blackhole: true", "write one of them")
	case e.Port != "" && p == nil:
		ps.add(path+".port", "there is no port "+quote(e.Port), "name one of the ports")
	case p != nil && aware && e.VLAN.Valid() && !p.VLANs().Member.Contains(e.VLAN):
		ps.add(path+".port", fmt.Sprintf("port %s is not a member of VLAN %d, so the entry could never be used", quote(e.Port), e.VLAN), "make the port a member, or leave the entry out")
	}
}

// validatePorts checks each port and then what must differ between them.
func (c *Config) validatePorts(ps *Problems) {
	names, places := make(map[string]int, len(c.Ports)), make(map[place]int, len(c.Ports))
	aware := c.VLANAware == nil || *c.VLANAware
	for i := range c.Ports {
		p := &c.Ports[i]
		path := fmt.Sprintf("ports[%d]", i)
		if i == frame.MaxPorts {
			ps.add(path, fmt.Sprintf("a switch has at most %d ports, here are %d", frame.MaxPorts, len(c.Ports)), "move some to a second switch")
			return
		}
		for _, one := range p.problems(aware) {
			one.Path = path + "." + one.Path
			*ps = append(*ps, one)
		}
		if p.Name == "" {
			continue
		}
		if first, taken := names[p.Name]; taken {
			ps.add(path+".name", fmt.Sprintf("ports[%d] is called %s too", first, quote(p.Name)), "give each port a name of its own")
			continue
		}
		names[p.Name] = i
		for key, at := range p.places() {
			first, taken := places[at]
			switch {
			case at.name == "" || taken && first == i: // It has a problem already.
			case !taken:
				places[at] = i
			case key == "ifname" || key == "link":
				ps.add(path+"."+key, fmt.Sprintf("port %s has a link called %s in the same network namespace", quote(c.Ports[first].Name), quote(at.name)), "give each port there a link of its own")
			default:
				ps.add(path+"."+key, fmt.Sprintf("port %s has the socket %s too", quote(c.Ports[first].Name), quote(at.name)), "give each port a socket of its own")
			}
		}
	}
}

// place is what no two ports can share: the name of a link in its namespace, or
// the path of a socket, which no link can be called.
type place struct{ netns, name string }

// places yields them with the keys that say so.
func (p *Port) places() iter.Seq2[string, place] {
	return func(yield func(string, place) bool) {
		switch p.kind() {
		case KindTAP:
			yield("ifname", place{p.Netns, cmp.Or(p.Ifname, p.Name)})
			return
		case KindNetdev:
			yield("link", place{p.Netns, cmp.Or(p.Link, p.Name)})
			return
		}
		_ = yield("listen", place{name: p.Listen}) && yield("dial", place{name: p.Dial})
	}
}

func (f FDB) validate(ps *Problems) {
	if a := f.Ageing; a != nil && *a != 0 && (*a < MinAgeing || *a > MaxAgeing) {
		ps.add("fdb.ageing", fmt.Sprintf("is %d", *a), fmt.Sprintf("write %d to %d seconds, or 0 for never", MinAgeing, MaxAgeing))
	}
	if f.Capacity != 0 && (f.Capacity < MinCapacity || f.Capacity > MaxCapacity) {
		ps.add("fdb.capacity", fmt.Sprintf("is %d", f.Capacity), fmt.Sprintf("write %d to %d addresses", MinCapacity, MaxCapacity))
		return
	}
	if most := f.Resolved().Capacity; f.Limit != nil && (*f.Limit < 0 || *f.Limit > most) {
		ps.add("fdb.limit", fmt.Sprintf("is %d", *f.Limit), fmt.Sprintf("write 0 to %d addresses, which is fdb.capacity", most))
	}
}

func (c Control) validate(ps *Problems) {
	validateSocket(ps, "control.socket", c.Socket)
}

// validateSocket checks the path of a unix socket, unless it is empty.
func validateSocket(ps *Problems, key, path string) {
	switch {
	case path == "":
	case !filepath.IsAbs(path):
		ps.add(key, quote(path)+" is not an absolute path", "write one such as /run/vswitchd/NAME.sock")
	case len(path) > MaxSocketPath:
		ps.add(key, fmt.Sprintf("has %d bytes", len(path)), fmt.Sprintf("write a path of at most %d bytes, the most that a unix socket takes", MaxSocketPath))
	}
}

func (m Metrics) validate(ps *Problems) {
	if m.Listen == "" || m.Listen == ListenNone {
		return
	}
	_, port, err := net.SplitHostPort(m.Listen)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		ps.add("metrics.listen", quote(m.Listen)+" is not host:port", "write an address such as "+DefaultListen+", or "+ListenNone)
	}
}
