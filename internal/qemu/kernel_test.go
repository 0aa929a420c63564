package qemu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func put(t *testing.T, mode os.FileMode, path ...string) string {
	t.Helper()
	p := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, nil, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestKernelOfTheFirstDirectoryThatHasOne(t *testing.T) {
	empty, one, other := t.TempDir(), t.TempDir(), t.TempDir()
	put(t, 0o600, one, "boot/vmlinuz-6.1.0")
	want := put(t, 0o600, one, "boot/vmlinuz-6.2.0")
	net := put(t, 0o600, one, "lib/modules/6.2.0/kernel/net/virtio-net.ko.xz")
	put(t, 0o600, one, "lib/modules/6.2.0/modules.dep")
	put(t, 0o600, other, "boot/vmlinuz-6.3.0")
	k, err := FindKernel(empty, one, other)
	if err != nil {
		t.Fatal(err)
	}
	if k.path != want || len(k.modules) != 1 || k.modules["virtio_net"] != net {
		t.Errorf("%+v, want %s", k, want)
	}
}

func TestKernelThatRunsIsPreferred(t *testing.T) {
	dir := t.TempDir()
	put(t, 0o600, dir, "boot/vmlinuz-999")
	want := put(t, 0o600, dir, "boot/vmlinuz-"+running())
	if k, err := FindKernel(dir); err != nil || k.path != want {
		t.Errorf("%+v, %v, want %s", k, err, want)
	}
}

func TestKernelThatMayNotBeReadIsNamed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	path := put(t, 0, dir, "boot/vmlinuz-1")
	if _, err := FindKernel(dir); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v does not name %s", err, path)
	}
}

func TestNoKernelNamesWhereItWasLookedFor(t *testing.T) {
	dir := t.TempDir()
	if _, err := FindKernel(dir, "/nonexistent"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v does not name %s", err, dir)
	}
}

// A program that needs an interpreter would find none in the guest.
func TestDynamicProgramIsRefused(t *testing.T) {
	for _, path := range []string{"/bin/sh", "/usr/bin/env"} {
		program, err := os.ReadFile(path)
		if err != nil {
			t.Skip(err)
		}
		if err := checkStatic(program); err == nil {
			t.Errorf("%s passes", path)
		}
	}
}
