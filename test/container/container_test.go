// Package container puts containers into a vswitchd with the programs that people
// use: cnitool with Debian's host-local, podman with runc, containerd and Docker.
package container

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const (
	patience = 60 * time.Second
	// pluginDir is where Debian has CNI plugins.
	pluginDir = "/usr/lib/cni"
)

// rig is a daemon as it is built, and a directory with the plugin as vswitch.
type rig struct {
	t *testing.T
	*control.Client
	dir      string
	vswitchd *exec.Cmd
	env      []string
	other    *lab.Host // that pings containers
}

func newRig(t *testing.T) *rig {
	t.Helper()
	nettest.Need(t)
	if _, err := os.Stat(pluginDir + "/host-local"); err != nil {
		nettest.Lack(t, "there is no "+pluginDir+"/host-local: apt-get install containernetworking-plugins")
	}
	dir, err := os.MkdirTemp("", "vsw") // The path of a socket is short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	r := &rig{t: t, dir: dir, Client: control.NewClient(filepath.Join(dir, "s"))}
	r.env = append(os.Environ(), "CNI_PATH="+dir+":"+pluginDir, "NETCONFPATH="+dir+"/net.d", "VSWITCHD_SOCKET="+dir+"/s")
	r.run("", "go", "build", "-o", dir, "github.com/vswitchd/vswitchd/cmd/...")
	if err := errors.Join(os.Rename(dir+"/vswitch-cni", dir+"/vswitch"), os.Mkdir(dir+"/net.d", 0o755)); err != nil {
		t.Fatal(err)
	}
	r.start()
	t.Cleanup(func() { r.kill() })
	return r
}

// start starts the switch.
func (r *rig) start() {
	r.t.Helper()
	r.vswitchd = exec.Command(r.dir+"/vswitchd", "--vlan-aware=true", "--metrics-listen=none", "--socket", r.dir+"/s")
	r.vswitchd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.vswitchd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.eventually(func() error { _, err := r.Status(r.t.Context()); return err })
}

// kill has it end without a farewell.
func (r *rig) kill() {
	_ = r.vswitchd.Process.Kill()
	_ = r.vswitchd.Wait()
}

// run runs a program, which must succeed, and returns what it writes.
func (r *rig) run(stdin, program string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdin = r.env, strings.NewReader(stdin)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("%s %s: %v: %s%s", program, strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return strings.TrimSpace(out.String())
}

func (r *rig) eventually(f func() error) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
	}
}

// network writes a network of the plugin and, after it, host-local if it has a
// subnet.
func (r *rig) network(version, name, subnet string) {
	r.t.Helper()
	plugin := map[string]any{"type": "vswitch", "socket": r.dir + "/s", "access": 10}
	if subnet != "" {
		plugin["ipam"] = map[string]any{
			"type": "host-local", "dataDir": r.dir + "/ipam", "subnet": subnet, "routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
		}
	}
	text, err := json.Marshal(map[string]any{"cniVersion": version, "name": name, "plugins": []any{plugin}})
	if err == nil {
		err = os.WriteFile(r.dir+"/net.d/"+name+".conflist", text, 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// wantPorts waits until the switch has so many ports.
func (r *rig) wantPorts(n int) {
	r.t.Helper()
	r.eventually(func() error {
		ports, err := r.Ports(r.t.Context())
		if err == nil && len(ports) != n {
			err = fmt.Errorf("%d ports, want %d", len(ports), n)
		}
		return err
	})
}

// station is a host of the lab on a port of its own.
func (r *rig) station(name string, addr netip.Prefix, c config.Port) *lab.Host {
	r.t.Helper()
	ns := nettest.New(r.t)
	c.Name, c.Netns, c.Ifname, c.IP = name, ns.PID(), "eth0", []netip.Prefix{addr}
	if _, err := r.AddPort(r.t.Context(), nettest.Port(r.t, c)); err != nil {
		r.t.Fatal(err)
	}
	return &lab.Host{Name: name, NS: ns, Interface: "eth0", Addr: addr}
}

func (r *rig) ping(from *lab.Host, to string) {
	r.t.Helper()
	if _, err := from.Ping(netip.MustParseAddr(to), patience); err != nil {
		r.t.Error(err)
	}
}

func TestCNITool(t *testing.T) {
	r := newRig(t)
	tool, err := filepath.Abs("../../bin/cnitool")
	if err == nil {
		_, err = os.Stat(tool)
	}
	if err != nil {
		nettest.Lack(t, err.Error()+": make bin/cnitool")
	}
	r.network("1.0.0", "vsnet", "10.5.0.0/24")
	gateway := r.station("gateway", netip.MustParsePrefix("10.5.0.1/24"), config.Port{Access: 10})
	netns := "/proc/" + nettest.New(t).PID() + "/ns/net"
	if out := r.run("", tool, "add", "vsnet", netns); !strings.Contains(out, `"10.5.0.2/24"`) {
		t.Errorf("add: %s", out)
	}
	r.ping(gateway, "10.5.0.2")
	r.run("", tool, "check", "vsnet", netns)
	r.run("", tool, "del", "vsnet", netns)
	r.wantPorts(1)

	// Debian's host-local does not know what came with 1.1.0.
	r.network("1.1.0", "l2", "")
	r.run("", tool, "status", "l2", netns)
	r.run("", tool, "add", "l2", netns)
	r.run("", tool, "check", "l2", netns)
	r.wantPorts(2)
	r.run("", tool, "gc", "l2", netns)
	r.wantPorts(1)
	r.run("", tool, "del", "l2", netns)
}

// podman makes rig's podman one of its own, and an image of busybox.
func (r *rig) podman() {
	r.t.Helper()
	for _, program := range []string{"podman", "runc", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			nettest.Lack(r.t, err.Error()+": apt-get install podman runc busybox-static")
		}
	}
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:20000", "nproc=1024:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
tmp_dir = "%[1]s/libpod"
[network]
network_backend = "cni"
network_config_dir = "%[1]s/net.d"
cni_plugin_dirs = ["%[1]s", "%[2]s"]
`, r.dir, pluginDir)
	storage := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = \"%[1]s/storage\"\nrunroot = \"%[1]s/run\"\n", r.dir)
	if err := errors.Join(os.WriteFile(r.dir+"/containers.conf", []byte(conf), 0o644),
		os.WriteFile(r.dir+"/storage.conf", []byte(storage), 0o644)); err != nil {
		r.t.Fatal(err)
	}
	r.env = append(r.env, "CONTAINERS_CONF="+r.dir+"/containers.conf", "CONTAINERS_STORAGE_CONF="+r.dir+"/storage.conf")
	r.rootfs()
	r.run("", "tar", "-C", r.dir+"/image", "-cf", r.dir+"/image.tar", ".")
	r.run("", "podman", "import", "--quiet", r.dir+"/image.tar", "vswitch/busybox")
}

// rootfs makes the root of a container, with busybox alone.
func (r *rig) rootfs() {
	r.t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err == nil {
		busybox, err = filepath.EvalSymlinks(busybox)
	}
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp"} {
		err = errors.Join(err, os.MkdirAll(r.dir+"/image/"+dir, 0o755))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.run("", "cp", busybox, r.dir+"/image/bin/busybox")
}

func TestPodman(t *testing.T) {
	r := newRig(t)
	r.podman()
	r.network("1.0.0", "vsnet", "10.5.0.0/24")
	busybox := func(more ...string) []string {
		return append([]string{"run", "--network", "vsnet", "--cap-add", "NET_RAW"}, more...)
	}
	r.run("", "podman", busybox("--detach", "--name", "web", "vswitch/busybox", "/bin/busybox", "sleep", "1000")...)
	defer r.run("", "podman", "rm", "--all", "--force", "--time", "0")
	gateway := r.station("gateway", netip.MustParsePrefix("10.5.0.1/24"), config.Port{Access: 10})
	r.ping(gateway, "10.5.0.2")
	if mac := r.run("", "podman", "container", "inspect", "--format", "{{.NetworkSettings.Networks.vsnet.MacAddress}}", "web"); len(mac) != 17 {
		t.Errorf("podman knows no MAC address: %q", mac)
	}
	out := r.run("", "podman", busybox("--rm", "vswitch/busybox", "/bin/busybox", "ping", "-c", "1", "-W", "20", "10.5.0.2")...)
	if !strings.Contains(out, " 0% packet loss") {
		t.Errorf("from container to container: %s", out)
	}
	r.wantPorts(2)

	// Another port for the one that runs.
	r.run("", r.dir+"/vswitchctl", "port", "add", "side", "--container", "web", "--access", "20", "--ifname", "eth1", "--ip", "10.6.0.2/24")
	other := r.station("other", netip.MustParsePrefix("10.6.0.1/24"), config.Port{Access: 20})
	r.ping(other, "10.6.0.2")
	if out := r.run("", r.dir+"/vswitchctl", "port", "show", "side"); !strings.Contains(out, "container web") {
		t.Errorf("port show: %s", out)
	}

	r.run("", "podman", "kill", "web")
	r.wantPorts(2)
	c, err := r.Running(t.Context())
	if err != nil || len(c.WithoutEphemeral().Ports) != len(c.Ports) {
		t.Errorf("ports of a container that was killed are left: %+v, %v", c, err)
	}
}
