package container

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/lab"
)

// sends starts a container that sends to a station without end, by TCP, and returns
// its process once it is in the middle of that.
func (r *rig) sends(to *lab.Host) (pid int) {
	r.t.Helper()
	var l net.Listener
	if err := to.NS.Do(func() (err error) {
		l, err = net.Listen("tcp4", net.JoinHostPort(to.Addr.Addr().String(), "0"))
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.run("", "podman", "run", "--detach", "--name", "web", "--network", "vsnet", "vswitch/busybox",
		"/bin/busybox", "sh", "-c", fmt.Sprintf("exec /bin/busybox nc %s %s </dev/zero", to.Addr.Addr(), port))
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.CopyN(io.Discard, conn, 4<<20); err != nil {
		r.t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	pid, err = strconv.Atoi(r.run("", "podman", "container", "inspect", "--format", "{{.State.Pid}}", "web"))
	if err != nil {
		r.t.Fatal(err)
	}
	return pid
}

func TestContainerKilledInTheMiddleOfATransferLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.podman()
	r.network("1.0.0", "vsnet", "10.5.0.0/24")
	defer r.run("", "podman", "rm", "--all", "--force", "--time", "0")
	gateway := r.station("gateway", netip.MustParsePrefix("10.5.0.1/24"), config.Port{Access: 10})
	other := r.station("other", netip.MustParsePrefix("10.5.0.250/24"), config.Port{Access: 10})
	r.ping(other, "10.5.0.1")
	pid := r.sends(gateway)
	r.wantPorts(3)

	// Each ping is one echo: others lose nothing.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.eventually(func() error {
		r.ping(other, "10.5.0.1")
		ports, err := r.Ports(t.Context())
		if err == nil && len(ports) != 2 {
			err = fmt.Errorf("%d ports, want 2", len(ports))
		}
		return err
	})
	r.run("", "podman", "rm", "--force", "web")

	// The switch, in the middle of a transfer, and the container before it is back.
	pid = r.sends(gateway)
	r.kill()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.run("", "podman", "rm", "--force", "web")
	r.start()
	r.wantPorts(2)
	r.ping(other, "10.5.0.1")
}
