package qemu

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Image is what guests boot from: a kernel, and an initramfs that is in memory and
// so ends with this process.
type Image struct {
	// Accelerator is QEMU's. By default it is "tcg", translation, which is had
	// everywhere and boots in 4 s.
	Accelerator string

	kernel string
	initrd *os.File
}

// NewImage makes an image whose first and only program is the one at path init,
// which must need no library. SetUp finds the modules, and those that they depend
// on, in it.
func NewImage(k *Kernel, init string, modules ...string) (*Image, error) {
	program, err := os.ReadFile(init)
	if err != nil {
		return nil, err
	}
	if err := checkStatic(program); err != nil {
		return nil, fmt.Errorf("%s: %w", init, err)
	}
	files, have := [][]byte{program}, map[string]bool{}
	for _, name := range modules {
		if err := k.need(name, have, &files); err != nil {
			return nil, err
		}
	}
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an initramfs in memory: %w", err)
	}
	i := &Image{kernel: k.path, initrd: os.NewFile(uintptr(fd), "initrd")}
	if _, err := i.initrd.Write(archive(files)); err != nil {
		i.Close()
		return nil, fmt.Errorf("write an initramfs to memory: %w", err)
	}
	return i, nil
}

// Close forgets the image. Guests that have started are not touched.
func (i *Image) Close() { i.initrd.Close() }

// path is good for other processes while this one lives.
func (i *Image) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), i.initrd.Fd()) }

func checkStatic(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return err
	}
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("it is for %v, and the guest is x86-64", f.Machine)
	}
	if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return errors.New("it needs libraries: build it with CGO_ENABLED=0, as `make build` does")
	}
	return nil
}

// archive returns an initramfs of the files: the first is /init, the others
// are /01.ko and so on. The format is the kernel's, from
// Documentation/driver-api/early-userspace/buffer-format.rst.
func archive(files [][]byte) []byte {
	var b bytes.Buffer
	add := func(name string, mode int, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%016x%08x%08x%08x%032x%08x%08x%s\x00",
			b.Len(), mode, 0, 1, 0, len(data), 0, len(name)+1, 0, name)
		pad(&b)
		b.Write(data)
		pad(&b)
	}
	for i, data := range files {
		name := "init"
		if i > 0 {
			name = fmt.Sprintf("%02d.ko", i)
		}
		add(name, 0o100755, data)
	}
	add("TRAILER!!!", 0, nil)
	return b.Bytes()
}

// pad fills up to a multiple of four bytes.
func pad(b *bytes.Buffer) { b.Write(make([]byte, -b.Len()&3)) }
