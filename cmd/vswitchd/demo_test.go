package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func demo(t *testing.T) *exec.Cmd {
	t.Helper()
	return outside(t, "demo")
}

// outside is vswitchctl as a user starts it, who is in no namespace of the
// test's: it makes its own.
func outside(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), filepath.Join(programs, "vswitchctl"), args...)
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "VSWITCH_ISOLATED_FROM=") })
	return c
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return e.ExitCode()
}

func testDemoShowsWhatItPromises(t *testing.T) {
	out, err := demo(t).CombinedOutput()
	wantExit(t, exitCode(t, err), 0, string(out),
		"ping  web -> db   reply in", "ping  cam -> nvr  reply in", "ping  web -> cam  no reply, as it must be",
		"dropped at port web, reason frame_type", "What the switch has learned", "What it has counted",
		"All as it should be")
	if got := links(t); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

func testDemoEndsWhenItIsTold(t *testing.T) {
	c := demo(t)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	wantExit(t, exitCode(t, c.Wait()), 130, said.String(), "error: interrupted")
	if strings.Contains(string(rest), "All as it should be") {
		t.Errorf("it went on to the end:\n%s", rest)
	}
}

func testDemoNobodyCanReadFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c := demo(t)
	var said bytes.Buffer
	c.Stdout, c.Stderr = full, &said
	wantExit(t, exitCode(t, c.Run()), 1, said.String(), "no space left")
}
