package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const qemu = "qemu-system-x86_64"

// image is what a guest boots from.
type image struct{ kernel, initrd string }

// unpacked returns the directory of an unpacked kernel. It skips the test where
// guests cannot be had; with VSWITCH_REQUIRE_VM=1 in the environment it fails
// instead.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("VSWITCH_VM_KERNEL")
	_, err := exec.LookPath(qemu)
	if dir == "" {
		err = errors.Join(err, errors.New("VSWITCH_VM_KERNEL names no unpacked kernel; `make vm` fetches one"))
	}
	if err != nil && os.Getenv("VSWITCH_REQUIRE_VM") == "1" {
		t.Fatalf("VSWITCH_REQUIRE_VM=1, but: %v", err)
	}
	if err != nil {
		t.Skip(err)
	}
	return dir
}

// newImage makes an image whose first program is this test binary.
func newImage(t *testing.T) *image {
	t.Helper()
	dir, tmp := unpacked(t), t.TempDir()
	kernels, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		t.Fatalf("want one kernel in %s, have %q; error %v", dir, kernels, err)
	}
	build := exec.Command("go", "test", "-c", "-ldflags", "-s -w", "-o", filepath.Join(tmp, "init"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := []string{filepath.Join(tmp, "init")}
	modules, err := findModules(dir)
	for _, name := range []string{"virtio_pci", "virtio_net", "8021q"} {
		err = errors.Join(err, modules.need(name, &files))
	}
	initrd := filepath.Join(tmp, "initrd")
	if err := errors.Join(err, writeArchive(initrd, files)); err != nil {
		t.Fatal(err)
	}
	return &image{kernel: kernels[0], initrd: initrd}
}

// modules are the paths of a kernel's modules by their names.
type modules map[string]string

func findModules(dir string) (modules, error) {
	m := modules{}
	return m, filepath.WalkDir(filepath.Join(dir, "lib/modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			m[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
}

// need appends the paths of a module and of those that it depends on, in the
// order to load them, unless they are there. A module that is not there may be
// built in.
func (m modules) need(name string, paths *[]string) error {
	path, ok := m[name]
	if !ok || slices.Contains(*paths, path) {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", path, err)
	}
	defer f.Close()
	info, err := f.Section(".modinfo").Data()
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if depends, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			for d := range strings.SplitSeq(string(depends), ",") {
				err = errors.Join(err, m.need(d, paths))
			}
		}
	}
	*paths = append(*paths, path)
	return err
}

// writeArchive makes an initramfs of the files: the first is /init, the others
// are /01.ko and so on. The format is the kernel's, from
// Documentation/driver-api/early-userspace/buffer-format.rst.
func writeArchive(to string, files []string) error {
	var b bytes.Buffer
	add := func(name string, mode int, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%016x%08x%08x%08x%032x%08x%08x%s\x00",
			b.Len(), mode, 0, 1, 0, len(data), 0, len(name)+1, 0, name)
		pad(&b)
		b.Write(data)
		pad(&b)
	}
	for i, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := "init"
		if i > 0 {
			name = fmt.Sprintf("%02d.ko", i)
		}
		add(name, 0o100755, data)
	}
	add("TRAILER!!!", 0, nil)
	return os.WriteFile(to, b.Bytes(), 0o600)
}

// pad fills up to a multiple of four bytes.
func pad(b *bytes.Buffer) { b.Write(make([]byte, -b.Len()&3)) }
