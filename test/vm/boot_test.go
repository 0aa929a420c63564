package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that ought to be done soon.
const patience = time.Minute

// Guest is a virtual machine that runs until End, Kill or the end of the test.
type Guest struct {
	qemu  *exec.Cmd
	in    *json.Encoder // commands, to the guest's second serial port
	out   *json.Decoder // replies, from there
	ended chan struct{} // closed once QEMU has
}

// Boot starts a virtual machine whose eth0 is what the arguments attach, a device
// of QEMU being the last of them, and returns once it obeys. What its kernel says is
// in the test's output. It inherits the files from descriptor 3 on.
func (i *image) Boot(t *testing.T, attach []string, mac string, inherited ...*os.File) *Guest {
	t.Helper()
	// Hardware virtualisation is left out: it is not had everywhere, and what
	// boots in 4 s by translation needs none.
	args := append([]string{
		"-machine", "q35,accel=tcg", "-cpu", "max", "-m", "256",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", i.kernel, "-initrd", i.initrd, "-append", "console=ttyS0 quiet loglevel=1 " +
			"reboot=t panic=-1 tsc=reliable mitigations=off nokaslr cryptomgr.notests",
		"-serial", "file:/dev/stderr", "-serial", "stdio",
	}, attach...)
	args[len(args)-1] += ",romfile=,mac=" + mac
	qemu := exec.Command(qemu, args...)
	qemu.ExtraFiles = inherited
	qemu.Stderr = t.Output()
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, inErr := qemu.StdinPipe()
	stdout, outErr := qemu.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	g := &Guest{qemu: qemu, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(g.ended)
		runtime.LockOSThread() // Pdeathsig watches the thread that starts the child.
		started <- qemu.Start()
		_ = qemu.Wait() // It does not tell a guest's end from its crash.
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if _, err := g.answer(); err != nil {
		t.Fatalf("the guest does not boot: %v", err)
	}
	return g
}

// Run has the guest obey a command, which must succeed, and returns its output.
func (g *Guest) Run(t *testing.T, args ...any) string {
	t.Helper()
	if err := g.send(args...); err != nil {
		t.Fatal(err)
	}
	output, err := g.answer()
	if err != nil {
		t.Fatalf("guest: %v: %v", args, err)
	}
	return output
}

// send gives the guest a command.
func (g *Guest) send(args ...any) error {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
	}
	return g.in.Encode(words)
}

// answer waits for a command's end. A guest that does not answer is killed.
func (g *Guest) answer() (string, error) {
	limit := time.AfterFunc(patience, g.Kill)
	var r reply
	err := g.out.Decode(&r)
	if !limit.Stop() {
		err = fmt.Errorf("no answer in %v", patience)
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	return r.Output, err
}

// End has the guest end itself, and waits for that.
func (g *Guest) End(t *testing.T) {
	t.Helper()
	if err := g.send("end"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Fatalf("the guest has not ended in %v", patience)
	}
}

// Kill ends QEMU as kill -9 does, and waits for that. It may have ended already.
func (g *Guest) Kill() {
	_ = g.qemu.Process.Kill()
	<-g.ended
}
