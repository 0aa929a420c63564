package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take that ought to be done soon.
const patience = time.Minute

// Guest is a virtual machine that runs until End, Kill or the end of the test.
type Guest struct {
	t     *testing.T
	conn  net.Conn // the guest's second serial port
	qemu  *exec.Cmd
	ended chan struct{} // closed once QEMU has
}

// Boot starts a virtual machine whose eth0 is behind QEMU's `-netdev netdev`,
// and returns once it obeys. What its kernel says is in the test's output.
func (i *image) Boot(t *testing.T, netdev string) *Guest {
	t.Helper()
	conn, theirs := socketpair(t)
	g := &Guest{t: t, conn: conn, ended: make(chan struct{})}
	// Hardware virtualisation is left out: it is not had everywhere, and what
	// boots in 4 s by translation needs none.
	g.qemu = exec.Command(qemu, "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "256",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", i.kernel, "-initrd", i.initrd,
		"-append", "console=ttyS0 quiet loglevel=1 reboot=t panic=-1 tsc=reliable mitigations=off nokaslr cryptomgr.notests",
		"-serial", "stdio", "-chardev", "socket,id=agent,fd=3", "-serial", "chardev:agent",
		"-netdev", netdev+",id=n0", "-device", "virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:00:00:01")
	g.qemu.Stdout, g.qemu.Stderr = t.Output(), t.Output()
	g.qemu.ExtraFiles = []*os.File{theirs}
	g.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(g.ended)
		runtime.LockOSThread() // Pdeathsig watches the thread that starts the child.
		started <- g.qemu.Start()
		_ = g.qemu.Wait() // Nor does QEMU tell a guest's end from its crash.
	}()
	if err := errors.Join(<-started, theirs.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if _, err := g.answer(); err != nil {
		t.Fatalf("the guest does not boot: %v", err)
	}
	return g
}

// Run has the guest obey a command, which must succeed, and returns its output.
func (g *Guest) Run(args ...any) string {
	g.t.Helper()
	if err := g.send(args...); err != nil {
		g.t.Fatal(err)
	}
	output, err := g.answer()
	if err != nil {
		g.t.Fatalf("guest: %v: %v", args, err)
	}
	return output
}

// send gives the guest a command.
func (g *Guest) send(args ...any) error {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
	}
	return json.NewEncoder(g.conn).Encode(words)
}

// answer waits for a command's end.
func (g *Guest) answer() (string, error) {
	var r reply
	err := errors.Join(g.conn.SetReadDeadline(time.Now().Add(patience)), json.NewDecoder(g.conn).Decode(&r))
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	return r.Output, err
}

// End has the guest end itself, and waits for that.
func (g *Guest) End() {
	g.t.Helper()
	if err := g.send("end"); err != nil {
		g.t.Fatal(err)
	}
	select {
	case <-g.ended:
	case <-time.After(patience):
		g.t.Fatalf("the guest has not ended in %v", patience)
	}
}

// Kill ends QEMU as kill -9 does, and waits for that. It may have ended already.
func (g *Guest) Kill() {
	_ = g.qemu.Process.Kill()
	<-g.ended
	_ = g.conn.Close()
}

// socketpair returns a connection and the descriptor of its other end.
func socketpair(t *testing.T) (net.Conn, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "mine"), os.NewFile(uintptr(fds[1]), "theirs")
	defer mine.Close() // FileConn has a descriptor of its own.
	conn, err := net.FileConn(mine)
	if err != nil {
		t.Fatal(err)
	}
	return conn, theirs
}
