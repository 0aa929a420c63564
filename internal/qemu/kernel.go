package qemu

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

	"golang.org/x/sys/unix"
)

// Kernel is one to boot, of x86-64, with its modules.
type Kernel struct {
	path    string
	modules map[string]string // paths by name
}

// FindKernel returns the kernel of the first directory that has one which may be
// read. Each is laid out as a root directory: boot/vmlinuz-RELEASE and
// lib/modules/RELEASE. Of several, the release that runs now comes first.
func FindKernel(dirs ...string) (*Kernel, error) {
	var refused error
	for _, dir := range dirs {
		found, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
		if err != nil {
			return nil, err
		}
		slices.SortFunc(found, func(a, b string) int { return strings.Compare(b, a) })
		if i := slices.Index(found, filepath.Join(dir, "boot/vmlinuz-"+running())); i > 0 {
			found[0], found[i] = found[i], found[0]
		}
		for _, path := range found {
			if err := unix.Access(path, unix.R_OK); err != nil {
				refused = errors.Join(refused, &fs.PathError{Op: "read", Path: path, Err: err})
				continue
			}
			release := strings.TrimPrefix(filepath.Base(path), "vmlinuz-")
			modules, err := findModules(filepath.Join(dir, "lib/modules", release))
			return &Kernel{path: path, modules: modules}, err
		}
	}
	if refused != nil {
		return nil, refused
	}
	return nil, fmt.Errorf("no kernel to boot in %s", strings.Join(dirs, " or "))
}

func running() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// unpackers are what decompresses modules, by the ends of their names.
var unpackers = map[string]string{".ko": "", ".ko.xz": "xz", ".ko.zst": "zstd", ".ko.gz": "gzip"}

// findModules returns none if there is no such directory: the kernel may have all
// built in.
func findModules(dir string) (map[string]string, error) {
	m := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, end, _ := strings.Cut(filepath.Base(path), ".")
		if _, ok := unpackers["."+end]; ok {
			m[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return m, err
}

// need appends a module, and before it those that it depends on, unless they are
// there by name. A module that cannot be found may be built in.
func (k *Kernel) need(name string, have map[string]bool, files *[][]byte) error {
	path, ok := k.modules[name]
	if !ok || have[name] {
		return nil
	}
	have[name] = true
	module, err := readModule(path)
	if err != nil {
		return err
	}
	depends, err := dependencies(module)
	if err != nil {
		return fmt.Errorf("module %s: %w", path, err)
	}
	for _, d := range depends {
		if err := k.need(d, have, files); err != nil {
			return err
		}
	}
	*files = append(*files, module)
	return nil
}

// readModule decompresses it too: not every kernel does that itself.
func readModule(path string) ([]byte, error) {
	_, end, _ := strings.Cut(filepath.Base(path), ".")
	unpacker := unpackers["."+end]
	if unpacker == "" {
		return os.ReadFile(path)
	}
	module, err := exec.Command(unpacker, "-dc", path).Output()
	if err != nil {
		err = fmt.Errorf("decompress %s with %s: %w", path, unpacker, err)
	}
	return module, err
}

// dependencies are named in the section .modinfo, which modpost writes.
func dependencies(module []byte) (names []string, err error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("it has no section .modinfo")
	}
	info, err := section.Data()
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if depends, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(depends) > 0 {
			names = append(names, strings.Split(string(depends), ",")...)
		}
	}
	return names, err
}
