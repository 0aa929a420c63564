package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/internal/qemu"
)

// patience is how long anything may take that ought to be done soon.
const patience = time.Minute

// Guest is a virtual machine that runs until End, Kill or the end of the test.
type Guest struct {
	*qemu.Guest
	in  *json.Encoder // commands, to the guest's second serial port
	out *json.Decoder // replies, from there
}

// findKernel skips the test where guests cannot be had; with VSWITCH_REQUIRE_VM=1
// in the environment it fails instead.
func findKernel(t *testing.T) *qemu.Kernel {
	t.Helper()
	dir, err := os.Getenv("VSWITCH_VM_KERNEL"), qemu.Find()
	if dir == "" {
		err = errors.Join(err, errors.New("VSWITCH_VM_KERNEL names no unpacked kernel; `make vm` fetches one"))
	}
	if err != nil && os.Getenv("VSWITCH_REQUIRE_VM") == "1" {
		t.Fatalf("VSWITCH_REQUIRE_VM=1, but: %v", err)
	}
	if err != nil {
		t.Skip(err)
	}
	k, err := qemu.FindKernel(dir)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// image is what a guest boots from.
type image struct{ *qemu.Image }

// newImage makes an image whose first program is this test binary.
func newImage(t *testing.T) *image {
	t.Helper()
	kernel, init := findKernel(t), filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-o", init, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	i, err := qemu.NewImage(kernel, init, "virtio_pci", "virtio_net", "8021q")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return &image{i}
}

// Boot starts a virtual machine whose eth0 is what the arguments attach, a device
// of QEMU being the last of them, and returns once it obeys. What its kernel says is
// in the test's output. It inherits the files from descriptor 3 on.
func (i *image) Boot(t *testing.T, attach []string, mac string, inherited ...*os.File) *Guest {
	t.Helper()
	cmd := i.Command(attach, mac)
	cmd.Args = append(cmd.Args, "-serial", "file:/dev/stderr", "-serial", "stdio")
	cmd.ExtraFiles = inherited
	cmd.Stderr = t.Output()
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		t.Fatal(err)
	}
	started, err := qemu.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	g := &Guest{Guest: started, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
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
	case <-g.Ended():
	case <-time.After(patience):
		t.Fatalf("the guest has not ended in %v", patience)
	}
}
