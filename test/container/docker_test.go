package container

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// daemon starts a runtime's daemon, in a network namespace of its own, for as long
// as the test. What it says is shown if the test fails.
func (r *rig) daemon(args ...string) {
	r.t.Helper()
	ns := nettest.New(r.t)
	log, err := os.Create(r.dir + "/" + args[0] + ".log")
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command("nsenter", append([]string{"--net=/proc/" + ns.PID() + "/ns/net"}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = r.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); r.t.Failed() && err == nil {
			r.t.Logf("%s:\n%s", args[0], text)
		}
	})
}

// containerd starts one with a state of its own.
func (r *rig) containerd() {
	r.t.Helper()
	for _, program := range []string{"containerd", "ctr", "dockerd", "docker", "runc", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			nettest.Lack(r.t, err.Error()+": test/docker.sh DIR, and DIR/usr/bin and DIR/usr/sbin in the PATH; apt-get install runc busybox-static")
		}
	}
	text := fmt.Sprintf("version = 2\nroot = \"%[1]s/c.root\"\nstate = \"%[1]s/c.state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"%[1]s/c\"\n", r.dir)
	if err := os.WriteFile(r.dir+"/containerd.toml", []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.env = append(r.env, "CONTAINERD_ADDRESS="+r.dir+"/c", "DOCKER_HOST=unix://"+r.dir+"/d")
	r.daemon("containerd", "--config", r.dir+"/containerd.toml")
	r.eventually(func() error { return r.try("ctr", "version") })
}

// try runs a program that may fail.
func (r *rig) try(program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Env = r.env
	return cmd.Run()
}

// joins has vswitchctl put a link into a container, pings it, ends the container
// and expects the port to go.
func (r *rig) joins(container, addr string, end ...string) {
	r.t.Helper()
	r.run("", r.dir+"/vswitchctl", "port", "add", "c", "--container", container, "--access", "10", "--ifname", "eth1", "--ip", addr+"/24")
	r.ping(r.other, addr)
	r.run("", end[0], end[1:]...)
	r.wantPorts(1)
}

func TestContainerd(t *testing.T) {
	r := newRig(t)
	r.containerd()
	r.rootfs()
	r.other = r.station("other", netip.MustParsePrefix("10.6.0.1/24"), config.Port{Access: 10})
	for addr, namespace := range map[string]string{"10.6.0.2": "default", "10.6.0.3": "k8s.io"} {
		ctr := []string{"ctr", "--namespace", namespace}
		name := filepath.Base(r.dir) // That of its cgroup too.
		r.run("", ctr[0], append(ctr[1:], "run", "--detach", "--rootfs", r.dir+"/image", name, "/bin/busybox", "sleep", "1000")...)
		r.joins(name, addr, append(ctr, "tasks", "kill", "--signal", "SIGKILL", name)...)
		r.run("", ctr[0], append(ctr[1:], "tasks", "delete", "--force", name)...)
		r.run("", ctr[0], append(ctr[1:], "containers", "delete", name)...)
	}
}

func TestDocker(t *testing.T) {
	r := newRig(t)
	r.containerd()
	r.rootfs()
	r.other = r.station("other", netip.MustParsePrefix("10.6.0.1/24"), config.Port{Access: 10})
	r.daemon("dockerd", "--host", "unix://"+r.dir+"/d", "--pidfile", r.dir+"/d.pid", "--data-root", r.dir+"/d.root", "--exec-root", r.dir+"/d.exec",
		"--containerd", r.dir+"/c", "--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--default-ulimit", "nofile=1024:20000")
	r.eventually(func() error { return r.try("docker", "version") })
	r.run("", "tar", "-C", r.dir+"/image", "-cf", r.dir+"/image.tar", ".")
	r.run("", "docker", "import", r.dir+"/image.tar", "vswitch/busybox")
	id := r.run("", "docker", "run", "--detach", "--network", "none", "--name", "web", "vswitch/busybox", "/bin/busybox", "sleep", "1000")
	r.joins("web", "10.6.0.2", "docker", "kill", "web")
	r.run("", "docker", "start", "web")
	r.joins(id[:12], "10.6.0.3", "docker", "rm", "--force", "web")
}
