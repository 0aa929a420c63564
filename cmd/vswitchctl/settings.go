package main

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setting is a flag that stands for a key of a port's configuration.
type setting struct {
	flag, key string
	form      form
	help      string
}

// form is how the text of a flag becomes the value of a key.
type form int

const (
	text   form = iota
	number      // or "none" for the default
	list        // of anything, with commas; or "none" for an empty one
	onOff
	group // on, off or a number
	yes   // a flag without value
)

// settings are in the order of config.Port. Values that need knowledge, such as
// what a MAC address looks like, are the daemon's to judge: there is one truth.
var settings = []setting{
	{"description", "description", text, "`TEXT` for people"},
	{"kind", "kind", text, "`KIND` of port: tap, netdev for a link that is there, stream or dgram for a VMM by a unix socket, or responder, which answers ARP, ND and ping"},
	{"listen", "listen", text, "`PATH` of the socket that a stream or dgram makes"},
	{"dial", "dial", text, "`PATH` of the socket that a stream or dgram connects to"},
	{"link", "link", text, "`NAME` of the link that a netdev takes, and puts back when the port goes; default: the port's"},
	{"ifname", "ifname", text, "`NAME` of the link; default: the port's"},
	{"netns", "netns", text, "network `NAMESPACE` to move the link to, or that a netdev's is in: name, path, pid or PID@START"},
	{"mac", "mac", text, "`MAC` address of the link, the station's"},
	{"mtu", "mtu", number, "MTU of the link in `BYTES`"},
	{"txqlen", "txqlen", number, "queue in front of the switch in `FRAMES`"},
	{"ip", "ip", list, "`ADDRESS/LEN` for the link, or of the responder; may be repeated"},
	{"gateway", "gateway", list, "`ADDRESS` of the default route in --netns"},
	{"persistent", "persistent", yes, "let the link outlive the daemon; needs --owner"},
	{"ephemeral", "ephemeral", yes, "leave the port out of the startup file; it goes with its --netns"},
	{"adopt", "adopt", yes, "take the persistent TAP that is there, and leave it as it was found when the port goes"},
	{"owner", "owner", text, "`USER` that may open the TAP"},
	{"group", "group", text, "`GROUP` that may open the TAP"},
	{"offload", "offload", onOff, "pass super-frames and unfinished checksums: `on|off`"},
	{"coalesce", "coalesce", onOff, "join datagrams of a flow that leave in a row: `on|off`"},
	{"access", "access", number, "access port of `VLAN`: member, PVID and untagged"},
	{"trunk", "trunk", list, "trunk port of `VLANS`, such as 10,20-29"},
	{"native", "native", number, "`VLAN` that the trunk sends and takes untagged, or none"},
	{"pvid", "pvid", number, "`VLAN` of untagged frames that come in, or none"},
	{"tagged", "tagged", list, "`VLANS` that leave with tag"},
	{"untagged", "untagged", list, "`VLANS` that leave without tag"},
	{"frame-types", "frame_types", text, "`TYPES` that are acceptable: all, tagged or untagged"},
	{"ingress-filtering", "ingress_filtering", onOff, "drop frames of VLANs that the port is no member of: `on|off`"},
	{"learning", "learning", onOff, "learn source addresses: `on|off`"},
	{"flood", "flood", onOff, "send unknown unicast by this port: `on|off`"},
	{"mcast-flood", "mcast_flood", onOff, "send multicast by this port: `on|off`"},
	{"bcast-flood", "bcast_flood", onOff, "send broadcast by this port: `on|off`"},
	{"isolated", "isolated", group, "pass no frames between ports of one group: `on|off|GROUP`, 0 to 255; on is 1, off is 0"},
	{"locked", "locked", onOff, "take frames from the static FDB entries of the port only: `on|off`"},
	{"role", "role", text, "`ROLE`: host, or uplink for another network; nothing passes between uplinks"},
	{"state", "state", text, "`STATE`: forwarding, learning or discarding"},
	{"limit", "limit", number, "most `ADDRESSES` learned on the port, or none"},
	{"forward-reserved", "forward_reserved", list, "relay reserved `ADDRESSES` received here: stp, pause, lacp, eapol, lldp, 0 to 15, all or none"},
}

// withSettings gives c a flag for each key of a port.
func withSettings(c *cobra.Command) *cobra.Command {
	f := c.Flags()
	f.SortFlags = false
	for _, s := range settings {
		switch s.form {
		case yes:
			f.Bool(s.flag, false, s.help)
			continue
		case list:
			f.StringSlice(s.flag, nil, s.help)
		case text, number, onOff, group:
			f.String(s.flag, "", s.help)
		}
		if s.form == onOff {
			offer(c, s.flag, "on", "off")
		}
	}
	f.Bool("up", false, "bring the link up (the default)")
	f.Bool("down", false, "bring the link down")
	offer(c, "kind", "tap", "netdev", "stream", "dgram", "responder")
	offer(c, "frame-types", "all", "tagged", "untagged")
	offer(c, "role", "host", "uplink")
	offer(c, "state", "forwarding", "learning", "discarding")
	return c
}

// given returns the keys whose flags are given. nil is a key's default.
func given(f *pflag.FlagSet) (keys map[string]any, err error) {
	keys = map[string]any{}
	for _, s := range settings {
		if !f.Changed(s.flag) {
			continue
		}
		if keys[s.key], err = s.value(f); err != nil {
			return nil, err
		}
	}
	up, down := f.Lookup("up"), f.Lookup("down")
	switch {
	case up.Changed && down.Changed:
		return nil, usagef("--up and --down exclude each other")
	case up.Changed:
		keys["up"] = up.Value.String() == "true"
	case down.Changed:
		keys["up"] = down.Value.String() == "false"
	}
	return keys, nil
}

func (s *setting) value(f *pflag.FlagSet) (any, error) {
	switch s.form {
	case yes:
		return f.GetBool(s.flag)
	case list:
		elements, err := f.GetStringSlice(s.flag)
		if len(elements) == 1 && elements[0] == "none" {
			elements = []string{}
		}
		return elements, err
	case text, number, onOff, group:
	}
	v, err := f.GetString(s.flag)
	if err != nil {
		return nil, err
	}
	return s.parse(v)
}

func (s *setting) parse(v string) (any, error) {
	if s.form == text {
		return v, nil
	}
	word, isWord := map[string]any{"on": true, "off": false, "none": nil}[strings.ToLower(v)]
	if isWord && (word == nil) == (s.form == number) {
		return word, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || s.form == onOff || s.form == group && (n < 0 || n > math.MaxUint8) {
		return nil, usagef("--%s %q: want %s", s.flag, v, map[form]string{number: "a number or none", onOff: "on or off", group: "on, off or a group from 0 to 255"}[s.form])
	}
	return n, nil
}

var (
	// A key in front of what is wrong with it, or of what to write. What begins
	// with "the" is a sentence of its own.
	keyWord    = regexp.MustCompile(`\b([a-z_]+)(?:\[\d+\])?:( the )?`)
	byteOffset = regexp.MustCompile(` \((?:after|before) byte \d+\)`)
)

// inFlags says what is said about the keys of a request about the flags that
// the request was made of.
func inFlags(message string) string {
	message = byteOffset.ReplaceAllString(message, "")
	return keyWord.ReplaceAllStringFunc(message, func(word string) string {
		parts := keyWord.FindStringSubmatch(word)
		flag := flagOf(parts[1])
		switch {
		case flag == "":
			return word
		case parts[2] != "":
			return "--" + flag + ":" + parts[2]
		}
		return "--" + flag
	})
}

// flagOf returns the flag for a key of a port or an FDB entry, or nothing.
func flagOf(key string) string {
	for _, s := range settings {
		if s.key == key {
			return s.flag
		}
	}
	if key == "vlan" || key == "ageing" {
		return key
	}
	return ""
}
