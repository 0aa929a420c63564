package bridge

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
)

// Import is a Linux bridge in terms of the switch.
type Import struct {
	Bridge string `json:"bridge"`
	// Config is valid: ports that the switch cannot have as they are, and the
	// static entries of such ports, are in LeftOut instead.
	Config  config.Config `json:"config"`
	LeftOut LeftOut       `json:"left_out"`
	Notes   []Note        `json:"notes"`
}

// LeftOut is what a configuration can have once its ports are attached in
// another way.
type LeftOut struct {
	Ports  []config.Port        `json:"ports"`
	Static []config.StaticEntry `json:"static"`
}

// Note is a line for the operator about what is different in the switch.
type Note struct {
	Port string `json:"port,omitempty"` // empty: the whole bridge
	Text string `json:"text"`
}

// conversion is an Import in the making.
type conversion struct {
	*Import
	*bridge
	names map[int]string // of ports, by the index of the link
	host  string         // the port of the bridge device, "" if it needs none
}

func (b *bridge) convert() (*Import, error) {
	c := conversion{&Import{Bridge: b.name, LeftOut: LeftOut{[]config.Port{}, []config.StaticEntry{}}, Notes: []Note{}}, b, b.portNames(), ""}
	c.Config.VLANAware = new(b.aware())
	for _, text := range b.notes() {
		c.note("", "%s", text)
	}
	c.addSettings()
	c.addHost()
	access := false
	for _, l := range b.ports {
		p := c.portOf(l)
		access = access || p.Access != 0
		c.add(p, l.obstacle())
	}
	if access {
		c.note("", "an access port takes untagged frames only, a Linux bridge also those tagged with its VLAN: frame_types: all admits them")
	}
	c.addStatic()
	// It is a fault of this package if it is not valid, and nothing to go on with.
	return c.Import, c.Config.Validate()
}

func (c *conversion) note(about, format string, args ...any) {
	c.Notes = append(c.Notes, Note{about, fmt.Sprintf(format, args...)})
}

// add adds the port unless there is an obstacle, or something in it that no
// port can have.
func (c *conversion) add(p config.Port, obstacle string) {
	if err := p.Validate(c.aware()); err != nil && obstacle == "" {
		obstacle = err.Error()
	}
	if obstacle == "" {
		c.Config.Ports = append(c.Config.Ports, p)
		return
	}
	c.note(p.Name, "left out: %s", obstacle)
	c.LeftOut.Ports = append(c.LeftOut.Ports, p)
}

// Linux counts the ageing time in hundredths of a second (USER_HZ).
const perSecond = 100

func (c *conversion) addSettings() {
	c.Config.ForwardReserved = config.Reserved(c.data.number(nl.IFLA_BR_GROUP_FWD_MASK, 0))
	if c.data.number(nl.IFLA_BR_STP_STATE, 0) == 0 {
		c.Config.ForwardReserved |= 1 << 0
		c.note("", "forward_reserved has stp because a Linux bridge relays BPDUs while its stp_state is off")
	}
	f := &c.Config.FDB
	if most := c.data.number(brFDBMaxLearned, 0); most != 0 {
		f.Limit = new(min(most, config.MaxCapacity))
		f.Capacity = max(*f.Limit, config.DefaultCapacity)
	}
	ageing := c.data.number(nl.IFLA_BR_AGEING_TIME, config.DefaultAgeing*perSecond)
	if ageing == 0 {
		f.Limit, ageing = new(0), config.DefaultAgeing*perSecond
		c.note("", "ageing_time is 0: Linux then learns nothing, which is limit: 0 here")
	}
	f.Ageing = new(min(max((ageing+perSecond-1)/perSecond, config.MinAgeing), config.MaxAgeing))
	if *f.Ageing*perSecond != ageing {
		c.note("", "ageing_time is %g seconds, the nearest here is %d", float64(ageing)/perSecond, *f.Ageing)
	}
}

// addHost adds a port in place of the bridge device, which is how a Linux
// bridge connects the host.
func (c *conversion) addHost() {
	if len(c.addrs) == 0 && len(c.above) == 0 {
		c.note("", "%s has no addresses: the host gets no port", shown(c.name))
		return
	}
	p := c.portOf(&c.link)
	p.MAC = &c.mac
	c.host = p.Name
	c.note(p.Name, "the host's port, in place of the bridge device, with which its routes go")
	for _, a := range c.addrs {
		if a.dynamic {
			c.note(p.Name, "%v has a lifetime, as from DHCP or a router: left out, have it given to this link anew", a.Prefix)
			continue
		}
		p.IP = append(p.IP, a.Prefix)
	}
	for _, l := range c.above {
		c.note(p.Name, "%s (%s) stands on it: make it again on this link, with its addresses", shown(l.name), l.kind)
	}
	c.add(p, "")
}

// portOf returns the port that is what l is to the bridge.
func (c *conversion) portOf(l *link) config.Port {
	p := config.Port{Name: c.names[l.index]}
	if l.foreign() {
		p.Kind = config.KindNetdev
	}
	switch {
	case p.Name == l.name:
	case l.foreign() && port.CheckIfname(l.name) == nil:
		p.Link = l.name
		c.note(p.Name, "the link is called %s, which a port cannot be", shown(l.name))
	case port.CheckIfname(l.name) == nil:
		p.Ifname = l.name
		c.note(p.Name, "the link is called %s, which a port cannot be", shown(l.name))
	default:
		c.note(p.Name, "the link is called %s, which no link of the switch can be", shown(l.name))
	}
	c.setLink(&p, l)
	c.setVLANs(&p, l)
	c.setFlags(&p, l.port)
	for _, text := range notesOn(portOptions, l.port) {
		c.note(p.Name, "%s", text)
	}
	// A port that is disabled while its link is up was made so by hand.
	state := l.port.number(nl.IFLA_BRPORT_STATE, stateForwarding)
	if c.data.number(nl.IFLA_BR_STP_STATE, 0) == 0 && (state != stateDisabled || l.up && l.carrier) {
		p.State = [...]config.State{
			config.StateDiscarding, config.StateDiscarding, config.StateLearning, "", config.StateDiscarding,
		}[min(state, 4)]
	}
	return p
}

// The states of linux/if_bridge.h: 1 is listening, 2 learning, 4 blocking.
const (
	stateDisabled   = 0
	stateForwarding = 3
)

func (c *conversion) setLink(p *config.Port, l *link) {
	if !l.up {
		p.Up = new(false)
	}
	if l.foreign() {
		if l.kind == "veth" {
			c.note(p.Name, "a TAP of the switch in the other end's namespace, by netns: and ifname:, does without the veth pair")
		}
		return // All else stays as it is.
	}
	p.Adopt = l.persistent()
	switch {
	case l.mtu < frame.MinMTU || l.mtu > frame.MaxMTU:
		c.note(p.Name, "its MTU is %d, which no port can have", l.mtu)
	case l.mtu != config.DefaultMTU:
		p.MTU = l.mtu
	}
	switch {
	case l.txqlen < 1 || l.txqlen > config.MaxTxQLen:
		c.note(p.Name, "its txqlen is %d, here it is %d", l.txqlen, config.DefaultTxQLen)
	case l.txqlen != config.DefaultTxQLen:
		p.TxQLen = l.txqlen
	}
}

// setVLANs uses the short form where it says all.
func (c *conversion) setVLANs(p *config.Port, l *link) {
	pvidUntagged := l.pvid != 0 && l.untagged.Equal(config.VIDsOf(l.pvid))
	switch {
	case !c.aware():
	case pvidUntagged && len(l.tagged) == 0:
		p.Access = l.pvid
	case pvidUntagged:
		p.Native, p.Trunk = l.pvid, l.tagged
	case l.pvid == 0 && len(l.untagged) == 0:
		p.Trunk = l.tagged
	default:
		p.PVID, p.Tagged, p.Untagged = l.pvid, l.tagged, l.untagged
	}
}

func (c *conversion) setFlags(p *config.Port, a attrs) {
	for _, f := range []struct {
		attr uint16
		flag **bool
	}{
		{nl.IFLA_BRPORT_LEARNING, &p.Learning},
		{nl.IFLA_BRPORT_UNICAST_FLOOD, &p.Flood},
		{nl.IFLA_BRPORT_MCAST_FLOOD, &p.McastFlood},
		{nl.IFLA_BRPORT_BCAST_FLOOD, &p.BcastFlood},
	} {
		if a.number(f.attr, 1) == 0 {
			*f.flag = new(false)
		}
	}
	p.Isolated = config.Group(min(a.number(nl.IFLA_BRPORT_ISOLATED, 0), 1))
	p.Locked = a.number(nl.IFLA_BRPORT_LOCKED, 0) != 0
	p.ForwardReserved = config.Reserved(a.number(nl.IFLA_BRPORT_GROUP_FWD_MASK, 0))
}

// persistent tells whether it is a TAP that the switch can adopt.
func (l *link) persistent() bool {
	return l.kind == "tun" && l.data.number(nl.IFLA_TUN_PERSIST, 0) != 0 && !l.carrier
}

// foreign tells whether it is a link that somebody else has: neither a TAP to adopt
// nor the bridge itself.
func (l *link) foreign() bool { return !l.persistent() && l.kind != "bridge" }

// obstacle says why the switch cannot have l as a port, or "" if it can.
func (l *link) obstacle() string {
	if l.kind == "tun" && l.data.number(nl.IFLA_TUN_TYPE, unix.IFF_TAP) != unix.IFF_TAP {
		return "it is a TUN device, which carries no Ethernet frames"
	}
	if err := port.CheckIfname(l.name); err != nil {
		return err.Error()
	}
	return ""
}

// addStatic adds the entries that are not learned.
func (c *conversion) addStatic() {
	active := map[string]config.Port{}
	for _, p := range c.Config.Ports {
		active[p.Name] = p
	}
	for _, e := range c.static {
		e.Port = c.names[e.link]
		if e.local || e.link == c.index {
			e.Port = c.host
		}
		p, isActive := active[e.Port]
		switch {
		case e.Port == "":
			c.note("", "FDB entry %v is the host's, which has no port here: left out", e.MAC)
		case isActive && c.aware() && !p.VLANs().Member.Contains(e.VLAN):
			c.note(e.Port, "FDB entry %v is in VLAN %d, of which the port is no member: left out", e.MAC, e.VLAN)
		case isActive && len(c.Config.FDB.Static) < config.MaxStatic:
			c.Config.FDB.Static = append(c.Config.FDB.Static, e.StaticEntry)
		default:
			c.LeftOut.Static = append(c.LeftOut.Static, e.StaticEntry)
		}
	}
	if n := len(c.static); n > 0 {
		c.note("", "static FDB entries do not move here; those of a Linux bridge do unless they are sticky")
	}
}
