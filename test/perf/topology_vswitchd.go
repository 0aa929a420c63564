package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/vswitchd/vswitchd/control"
)

// variant is one vswitchd to measure: a program with what differs from its
// defaults.
type variant struct {
	name   string
	path   string
	env    []string
	args   []string
	config []string // lines "key: value" of the configuration
	port   []string // "key: value" of every port
}

var environment = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*=`)

// parseVariant reads NAME=WORD WORD..., where a word is VAR=VALUE for the
// environment, config.KEY=VALUE or port.KEY=VALUE for the configuration, an
// argument --FLAG=VALUE, or the path of another build.
func parseVariant(text, path string) (*variant, error) {
	name, words, ok := strings.Cut(text, "=")
	if !ok || name == "" {
		return nil, fmt.Errorf("variant %q: want NAME=WORD WORD..., such as 'two=GOMAXPROCS=2'", text)
	}
	v := &variant{name: name, path: path}
	for w := range strings.FieldsSeq(words) {
		key, value, set := strings.Cut(w, "=")
		switch {
		case strings.HasPrefix(w, "-"):
			v.args = append(v.args, w)
		case environment.MatchString(w):
			v.env = append(v.env, w)
		case set && strings.HasPrefix(key, "port."):
			v.port = append(v.port, strings.TrimPrefix(key, "port.")+": "+value)
		case set && strings.HasPrefix(key, "config."):
			v.config = append(v.config, strings.TrimPrefix(key, "config.")+": "+value)
		default:
			v.path = w
		}
	}
	return v, nil
}

func (v *variant) topology() *topology {
	return &topology{name: v.name, build: v.build}
}

func (v *variant) build(nw *network) error {
	ports := make([]string, len(nw.hosts))
	for i, h := range nw.hosts {
		ports[i] = strings.Join(append([]string{
			fmt.Sprintf("name: p%d, access: 1, netns: %q, ifname: %s, mac: %q, ip: [%s]", i, h.ns.Path(), eth0, h.mac, h.prefix()),
		}, v.port...), ", ")
	}
	socket, err := v.start(nw, ports)
	if err != nil {
		return err
	}
	nw.dropped = func() (uint64, error) { return droppedBySwitch(socket) }
	return nil
}

// netdevTopology has ports of kind netdev at veth pairs as the bridge's.
func (v *variant) netdevTopology() *topology {
	return &topology{name: v.name + " netdev", scene: netdevs, links: "veth pairs", build: func(nw *network) error { return v.buildNetdevs(nw) }}
}

// buildNetdevs has a veth pair per host as ports, and other links that are there.
func (v *variant) buildNetdevs(nw *network, others ...string) error {
	var links []string
	err := nw.core.Do(func() error {
		for i := range nw.hosts {
			if _, err := vethPair(i); err != nil {
				return err
			}
			links = append(links, fmt.Sprintf("p%d", i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	var ports []string
	for _, name := range append(links, others...) {
		ports = append(ports, strings.Join(append([]string{"name: " + name + ", kind: netdev, access: 1"}, v.port...), ", "))
	}
	socket, err := v.start(nw, ports)
	if err != nil {
		return err
	}
	nw.dropped = func() (uint64, error) { return droppedBySwitch(socket) }
	return nw.adoptAll()
}

// start starts vswitchd with the ports, each the inside of a YAML mapping, and
// returns its control socket.
func (v *variant) start(nw *network, ports []string) (socket string, err error) {
	lines := append([]string{"vlan_aware: true"}, v.config...)
	lines = append(lines, "ports:")
	for _, p := range ports {
		lines = append(lines, "  - {"+p+"}")
	}
	file := filepath.Join(nw.dir, "vswitchd.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	socket = filepath.Join(nw.dir, "s")
	return socket, nw.spawnSwitch(v.env, v.path, append([]string{"--config", file, "--socket", socket}, v.args...)...)
}

// kernelQueue is the reason of drops that the TAP's link counts too.
const kernelQueue = "kernel_queue"

func droppedBySwitch(socket string) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	stats, err := control.NewClient(socket).Stats(ctx)
	if err != nil {
		return 0, err
	}
	sum := uint64(0)
	for _, p := range stats.Ports {
		for _, reasons := range []map[string]uint64{p.DroppedIngress, p.DroppedEgress} {
			for why, n := range reasons {
				if why != kernelQueue {
					sum += n
				}
			}
		}
	}
	return sum, nil
}
