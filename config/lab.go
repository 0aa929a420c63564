package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lab is a switch with hosts to try it with.
type Lab struct {
	// Switch is a configuration without Ports, which are those of the hosts, and
	// without what concerns a daemon.
	Switch Config `json:"switch"`
	Hosts  []Host `json:"hosts,omitempty"`
}

// Host is a network namespace with one link. It has the keys of its port, but for
// those that say where the link is.
type Host struct {
	Port
	Impair Impair `json:"impair,omitzero"`
}

// HostIfname is the name of a host's link unless it is given another.
const HostIfname = "eth0"

// notOfAHost are the keys of a port that a lab sets.
var notOfAHost = []string{"kind", "listen", "dial", "netns", "gateway", "persistent", "ephemeral", "adopt", "owner", "group"}

// Impair is what goes wrong on the link of a host, for frames of each direction
// by themselves. The zero value is a link on which nothing does.
type Impair struct {
	Loss      Percent  `json:"loss,omitempty"`      // of frames
	Duplicate Percent  `json:"duplicate,omitempty"` // of frames, which come twice
	Corrupt   Percent  `json:"corrupt,omitempty"`   // of frames, which have a bit wrong
	Delay     Duration `json:"delay,omitempty"`     // of each frame
	Jitter    Duration `json:"jitter,omitempty"`    // by which the delay is more or less
	// Seed makes another run of the same frames meet the same fate.
	Seed int `json:"seed,omitempty"`
	// For is when it all ends, from the start of the lab on; 0 is never.
	For Duration `json:"for,omitempty"`
}

// Percent is a share, 0 to 100. In a file it is a number, with a percent sign or
// without.
type Percent float64

// UnmarshalJSON reads each of the forms. The error is a Problem without Path.
func (p *Percent) UnmarshalJSON(raw []byte) error {
	text := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		text = strings.TrimSpace(strings.TrimSuffix(s, "%"))
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n <= 100 {
		*p = Percent(n)
		return nil
	}
	return Problem{Msg: "is " + clip(raw), Fix: "write a share from 0 to 100, such as 0.5%"}
}

// Duration is a time with its unit, as in 20ms or 1m30s.
type Duration time.Duration

// maxDuration is more than anybody waits for in a lab.
const maxDuration = Duration(365 * 24 * time.Hour)

// UnmarshalJSON reads such a text. The error is a Problem without Path.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var s string
	err := json.Unmarshal(raw, &s)
	n, parseErr := time.ParseDuration(s)
	if err != nil || parseErr != nil || n < 0 || Duration(n) > maxDuration {
		return Problem{Msg: "is " + clip(raw), Fix: "write a time with its unit, such as 20ms or 1m30s"}
	}
	*d = Duration(n)
	return nil
}

// MarshalJSON writes the same form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// String returns the same form.
func (d Duration) String() string { return time.Duration(d).String() }

// ParseLab reads the file of a lab as Parse reads that of a daemon.
func ParseLab(name string, data []byte) (*Lab, error) {
	return parseAs(name, data, (*Lab).Validate)
}

// Validate checks the lab as a whole. The error is Problems, all of them.
func (l *Lab) Validate() error {
	var ps Problems
	s := reflect.ValueOf(&l.Switch).Elem()
	for _, no := range []struct{ key, why, fix string }{
		{"ports", "the ports of a lab are those of its hosts", "write them below hosts:"},
		{"control", "a lab has a control socket of its own", "leave it out; vswitchctl lab show tells where it is"},
		{"metrics", "a lab serves no metrics", "leave it out"},
		{"nice", "a lab runs with the priority of who starts it", "leave it out"},
	} {
		if !s.Field(indexOf(s.Type(), no.key)).IsZero() {
			ps.add("switch."+no.key, no.why, no.fix)
		}
	}
	for i := range l.Hosts {
		l.Hosts[i].Impair.validate(&ps, fmt.Sprintf("hosts[%d].impair", i))
	}
	if len(ps) > 0 {
		return ps
	}
	problems, _ := l.Config().Validate().(Problems)
	for _, p := range problems {
		p.Msg = strings.ReplaceAll(p.Msg, "ports[", "hosts[")
		if at, ok := strings.CutPrefix(p.Path, "ports["); ok {
			p.Path = "hosts[" + at
		} else {
			p.Path = "switch." + p.Path
		}
		ps = append(ps, p)
	}
	return ps.err()
}

// Config returns the configuration of the switch with the ports of the hosts, each
// of which has a namespace that is called as it is.
func (l *Lab) Config() *Config {
	c := l.Switch
	c.Ports = make([]Port, len(l.Hosts))
	for i, h := range l.Hosts {
		h.Netns, h.Ifname = h.Name, cmp.Or(h.Ifname, HostIfname)
		c.Ports[i] = h.Port
	}
	return &c
}

func (m Impair) validate(ps *Problems, path string) {
	if m != (Impair{}) && m.Loss+m.Duplicate+m.Corrupt == 0 && m.Delay+m.Jitter == 0 {
		ps.add(path, "does nothing", "write loss:, duplicate:, corrupt:, delay: or jitter:, or leave it out")
	}
}

func hostKeys() []string {
	own := func(key string) bool { return slices.Contains(notOfAHost, key) }
	return append(slices.DeleteFunc(jsonKeys(reflect.TypeFor[Port]()), own), "impair")
}

// fieldOf returns the field with a key, which exists. Those of a host are its
// port's, but for one.
func fieldOf(v reflect.Value, key string) reflect.Value {
	if v.Type() != reflect.TypeFor[Host]() {
		return v.Field(indexOf(v.Type(), key))
	}
	if key == "impair" {
		return v.FieldByName("Impair")
	}
	return v.FieldByName("Port").Field(fieldOfPort[key])
}
