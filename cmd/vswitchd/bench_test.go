package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// bench is a directory with a configuration, to try the programs with.
type bench struct {
	t    *testing.T
	dir  string
	file string
}

// newBench makes one in the namespace of the test process. The configuration
// gets a socket of its own and no metrics, unless it says otherwise.
func newBench(t *testing.T, yaml string) *bench {
	t.Helper()
	// The path of a unix socket is short, that of t.TempDir may not be.
	dir, err := os.MkdirTemp("", "vsw")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: dir}
	t.Cleanup(func() { _ = os.RemoveAll(b.dir) })
	b.file = filepath.Join(b.dir, "c.yaml")
	if !strings.Contains(yaml, "metrics:") {
		yaml += "metrics: {listen: none}\n"
	}
	if err := os.WriteFile(b.file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) socket() string { return filepath.Join(b.dir, "s") }

// start starts a daemon and returns once it is ready.
func (b *bench) start(args ...string) *daemon {
	b.t.Helper()
	d := &daemon{t: b.t, rest: make(chan string, 1), cmd: exec.Command(filepath.Join(programs, "vswitchd"), append([]string{"--config", b.file, "--socket", b.socket()}, args...)...)}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		d.log.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "ready") {
			go func() { d.rest <- drain(lines) }()
			return d
		}
	}
	b.t.Fatalf("the daemon ended: %v:\n%s", d.cmd.Wait(), d.log.String())
	return nil
}

func drain(lines *bufio.Scanner) (rest string) {
	for lines.Scan() {
		rest += lines.Text() + "\n"
	}
	return rest
}

// fail starts a daemon that is expected to end by itself.
func (b *bench) fail(args ...string) (code int, stderr string) {
	b.t.Helper()
	return b.run("vswitchd", append([]string{"--config", b.file, "--socket", b.socket()}, args...)...)
}

// run runs a program to its end.
func (b *bench) run(name string, args ...string) (code int, output string) {
	b.t.Helper()
	// Should a daemon start that is not to, the test does not wait for its end.
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(programs, name), args...).CombinedOutput()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		return e.ExitCode(), string(out)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return 0, string(out)
}

// ctl runs vswitchctl, which must succeed.
func (b *bench) ctl(args ...string) string {
	b.t.Helper()
	code, out := b.run("vswitchctl", append([]string{"--socket", b.socket()}, args...)...)
	if code != 0 {
		b.t.Fatalf("vswitchctl %v: exit %d: %s", args, code, out)
	}
	return out
}

type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  strings.Builder
	rest chan string
}

// stop ends the daemon as a service would.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	rest := <-d.rest
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("ended with %v:\n%s", err, rest)
	}
}

// links returns the names of the interfaces in order, without loopback.
func links(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range all {
		if i.Name != "lo" {
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func wantExit(t *testing.T, code, want int, out string, parts ...string) {
	t.Helper()
	if code != want {
		t.Errorf("exit code %d, want %d:\n%s", code, want, out)
	}
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("%s\nlacks %q", out, part)
		}
	}
}
