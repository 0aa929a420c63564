// Package qemu boots virtual machines whose whole user space is one program: for
// tests and the demo.
package qemu

import (
	"cmp"
	"errors"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/vswitchd/vswitchd/internal/netns"
)

const program = "qemu-system-x86_64"

// Find returns an error if there is no QEMU.
func Find() error {
	if _, err := exec.LookPath(program); err != nil {
		return errors.New(program + " is not in $PATH")
	}
	return nil
}

// Command returns what boots the image: a guest whose eth0 is what attach, QEMU's
// arguments, attaches, a device being the last of them. The caller adds
// serial ports, of which the first is the guest's console.
func (i *Image) Command(attach []string, mac string) *exec.Cmd {
	all := append([]string{
		"-machine", "q35,accel=" + cmp.Or(i.Accelerator, "tcg"), "-cpu", "max", "-m", "256",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", i.kernel, "-initrd", i.path(), "-append", "console=ttyS0 quiet loglevel=1 " +
			"reboot=t panic=-1 tsc=reliable mitigations=off nokaslr cryptomgr.notests",
	}, attach...)
	device, _, _ := strings.Cut(all[len(all)-1], ",mac=")
	all[len(all)-1] = device + ",romfile=,mac=" + mac
	return exec.Command(program, all...)
}

// Guest is a virtual machine that runs until it ends itself, Kill, or the end of
// this process.
type Guest struct {
	qemu  *exec.Cmd
	ended chan struct{}
}

// Start starts what Command has returned, in a namespace; nil is the caller's own.
func Start(qemu *exec.Cmd, ns *netns.NS) (*Guest, error) {
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g := &Guest{qemu: qemu, ended: make(chan struct{})}
	start := qemu.Start
	if ns != nil {
		start = func() error { return ns.Do(qemu.Start) }
	}
	started := make(chan error)
	go func() {
		defer close(g.ended)
		runtime.LockOSThread() // Pdeathsig watches the thread that starts the child.
		err := start()
		started <- err
		if err == nil {
			_ = qemu.Wait() // It does not tell a guest's end from its crash.
		}
	}()
	return g, <-started
}

// PID is QEMU's process.
func (g *Guest) PID() int { return g.qemu.Process.Pid }

// Ended is closed once QEMU has ended.
func (g *Guest) Ended() <-chan struct{} { return g.ended }

// Kill ends QEMU as kill -9 does, and waits for that. It may have ended already.
func (g *Guest) Kill() {
	_ = g.qemu.Process.Kill()
	<-g.ended
}
