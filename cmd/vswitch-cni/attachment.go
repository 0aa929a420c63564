package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	vport "github.com/vswitchd/vswitchd/port"
)

// attachment is an interface of a container that is a port of the switch.
type attachment struct {
	by                         string // who attaches it, "cni" or "netavark"
	network, container, ifname string
}

// description tells whose a port is. None of its words has a space.
func (a attachment) description() string {
	return a.by + " " + a.network + " " + a.container + " " + a.ifname
}

// attachmentOf reads a description.
func attachmentOf(description string) (attachment, bool) {
	words := strings.Split(description, " ")
	if len(words) != 4 {
		return attachment{}, false
	}
	return attachment{words[0], words[1], words[2], words[3]}, true
}

// idLen is how much of a container's id fits into the name of a port beside any
// name of an interface.
const idLen = config.MaxPortName - len("-") - config.MaxIfname

// An id of so many digits is taken for random, which any 16 of them are too.
var random = regexp.MustCompile(`^[0-9a-f]{32,}$`)

// port is the name of the port: the container's id, as far as it has room, and
// the interface's name.
func (a attachment) port() string {
	id := a.container
	switch {
	case random.MatchString(id):
		id = id[:idLen]
	case len(id) > idLen:
		sum := sha256.Sum256([]byte(id))
		id = hex.EncodeToString(sum[:])[:idLen]
	}
	return id + "-" + a.ifname
}

// mac is the address of the link where nobody asks for another: locally
// administered, and the same when the daemon makes the link anew.
func (a attachment) mac() *frame.MAC {
	sum := sha256.Sum256([]byte(a.description()))
	mac := frame.MAC(sum[:])
	mac[0] = mac[0]&^1 | 2
	return &mac
}

// config completes the configuration of the port for the container.
func (a attachment) config(c config.Port, netns string, ips []netip.Prefix, gateways []netip.Addr) config.Port {
	c.Name, c.Description, c.Ephemeral = a.port(), a.description(), true
	c.Ifname, c.Netns, c.IP, c.Gateway = a.ifname, netns, ips, gateways
	if c.MAC == nil {
		c.MAC = a.mac()
	}
	return c
}

var ofProcess = regexp.MustCompile(`^/proc/([0-9]+)/ns/net$`)

// pinned makes of a path that is a process's one that is not that of a later
// process of its pid, for when the daemon is started again.
func pinned(netns string) string {
	m := ofProcess.FindStringSubmatch(netns)
	if m == nil {
		return netns
	}
	pid, err := strconv.Atoi(m[1])
	if err != nil {
		return netns
	}
	spec, err := vport.PinProcess(pid)
	if err != nil {
		return netns
	}
	return spec
}

// find returns the attachment's port, or nil if there is none.
func (a attachment) find(ctx context.Context, c *control.Client) (*control.Port, error) {
	p, err := c.Port(ctx, a.port())
	if isCode(err, control.CodeNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if p.Config.Description != a.description() {
		return nil, fmt.Errorf("port %s is not this container's: its description is %q, not %q", p.Name, p.Config.Description, a.description())
	}
	return &p, nil
}

// remove removes the attachment's port, if there is one.
func (a attachment) remove(ctx context.Context, c *control.Client) error {
	p, err := c.Port(ctx, a.port())
	if err == nil && p.Config.Description == a.description() {
		_, err = c.RemovePort(ctx, p.Name)
	}
	if isCode(err, control.CodeNotFound) {
		return nil
	}
	return err
}

func isCode(err error, code control.Code) bool {
	e, ok := errors.AsType[*control.Error](err)
	return ok && e.Code == code
}
