package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// peer is another switch, measured where its programs are found.
type peer struct {
	name     string
	programs []string
	build    func(nw *network, p *found) error
}

// found is where a peer's programs are.
type found struct {
	root string // of the files that peers.sh unpacked
	path map[string]string
}

// env has the programs find their libraries.
func (f *found) env() []string {
	return []string{"LD_LIBRARY_PATH=" + strings.Join([]string{filepath.Join(f.root, "usr/lib/x86_64-linux-gnu"), filepath.Join(f.root, "usr/lib/aarch64-linux-gnu")}, ":")}
}

var allPeers = []peer{
	{"ovs", []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"}, buildOVS},
	{"vde", []string{"vde_switch"}, buildVDE},
	{"gvisor-tap-vsock", []string{"gvisor-switch"}, buildGvisor},
}

func peerNames() string {
	names := make([]string, len(allPeers))
	for i, p := range allPeers {
		names[i] = p.name
	}
	return strings.Join(names, ", ")
}

// findPeers returns the peers of those names whose programs are found, and says
// which are not.
func findPeers(names, dir string, say io.Writer) (topologies []*topology, err error) {
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("%w: name the directory by -peers-dir", err)
		}
		dir = filepath.Join(cache, "vswitchd", "peers")
	}
	want := strings.FieldsFunc(names, func(c rune) bool { return c == ',' })
	for _, name := range want {
		if name != "all" && !slices.ContainsFunc(allPeers, func(p peer) bool { return p.name == name }) {
			return nil, fmt.Errorf("there is no peer %q; there are %s", name, peerNames())
		}
	}
	for _, p := range allPeers {
		if !slices.Contains(want, "all") && !slices.Contains(want, p.name) {
			continue
		}
		f := &found{root: dir, path: map[string]string{}}
		missing := ""
		for _, program := range p.programs {
			if f.path[program] = look(dir, program); f.path[program] == "" {
				missing = program
			}
		}
		if missing != "" {
			fmt.Fprintf(say, "without %s: %s is not found (test/perf/peers.sh fetches it)\n", p.name, missing)
			continue
		}
		topologies = append(topologies, &topology{name: p.name, build: func(nw *network) error { return p.build(nw, f) }})
	}
	return topologies, nil
}

// look returns where a program is, or nothing.
func look(dir, program string) string {
	for _, d := range []string{"usr/bin", "usr/sbin", "usr/lib/openvswitch-switch", "bin"} {
		if path := filepath.Join(dir, d, program); executable(path) {
			return path
		}
	}
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, d := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(d, program); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// buildOVS is Open vSwitch's user-space datapath with a TAP per host.
func buildOVS(nw *network, f *found) error {
	env := append(f.env(), "OVS_RUNDIR="+nw.dir, "OVS_LOGDIR="+nw.dir, "OVS_DBDIR="+nw.dir)
	schema := filepath.Join(f.root, "usr/share/openvswitch/vswitch.ovsschema")
	if _, err := os.Stat(schema); err != nil {
		schema = "/usr/share/openvswitch/vswitch.ovsschema"
	}
	db, socket := filepath.Join(nw.dir, "conf.db"), "unix:"+filepath.Join(nw.dir, "db.sock")
	if err := nw.run(env, f.path["ovsdb-tool"], "create", db, schema); err != nil {
		return err
	}
	if err := nw.spawn(env, f.path["ovsdb-server"], db, "--remote=p"+socket, "--unixctl="+filepath.Join(nw.dir, "odb.ctl")); err != nil {
		return err
	}
	// --retry waits until ovsdb-server listens.
	if err := nw.run(env, f.path["ovs-vsctl"], "--retry", "--timeout=10", "--no-wait", "--db="+socket, "init"); err != nil {
		return err
	}
	if err := nw.spawnSwitch(env, f.path["ovs-vswitchd"], socket, "--unixctl="+filepath.Join(nw.dir, "ovs.ctl")); err != nil {
		return err
	}
	words := []string{"--timeout=10", "--db=" + socket, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev"}
	for i := range nw.hosts {
		port := fmt.Sprintf("t%d", i)
		words = append(words, "--", "add-port", "br0", port, "--", "set", "interface", port, "type=tap")
	}
	if err := nw.run(env, f.path["ovs-vsctl"], words...); err != nil {
		return err
	}
	return nw.adoptAll()
}

// buildVDE is vde_switch with a TAP per host.
func buildVDE(nw *network, f *found) error {
	words := []string{"-sock", filepath.Join(nw.dir, "vde")}
	for i := range nw.hosts {
		words = append(words, "-tap", fmt.Sprintf("t%d", i))
	}
	if err := nw.spawnSwitch(f.env(), f.path["vde_switch"], words...); err != nil {
		return err
	}
	return nw.adoptAll()
}

// buildGvisor is the switch of gvisor-tap-vsock in the program that peers.sh
// builds, with a TAP per host.
func buildGvisor(nw *network, f *found) error {
	var words []string
	for i := range nw.hosts {
		words = append(words, fmt.Sprintf("t%d", i))
	}
	if err := nw.spawnSwitch(nil, f.path["gvisor-switch"], words...); err != nil {
		return err
	}
	return nw.adoptAll()
}
