package vm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vswitchd/vswitchd/internal/guest"
	"github.com/vswitchd/vswitchd/internal/qemu"
)

// patience is how long anything may take that ought to be done soon.
const patience = guest.Patience

// image is what guests boot from.
type image struct{ *guest.Image }

// Guest is a virtual machine that runs until End, Kill or the end of the test.
type Guest struct{ *guest.Guest }

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

// newImage makes an image whose first program is this test binary.
func newImage(t *testing.T) *image {
	t.Helper()
	kernel, init := findKernel(t), filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-o", init, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	i, err := guest.NewImage(kernel, init)
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
	g, err := i.Image.Boot(guest.Machine{Attach: attach, MAC: mac, Inherited: inherited, Console: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	return &Guest{g}
}

// Run has the guest obey a command, which must succeed, and returns its output.
func (g *Guest) Run(t *testing.T, args ...any) string {
	t.Helper()
	output, err := g.Guest.Run(args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// End has the guest end itself, and waits for that.
func (g *Guest) End(t *testing.T) {
	t.Helper()
	if err := g.Guest.End(); err != nil {
		t.Fatal(err)
	}
}
