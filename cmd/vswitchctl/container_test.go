package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	vport "github.com/vswitchd/vswitchd/port"
)

// runtimesAre makes the PATH one of programs that are shell scripts.
func runtimesAre(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// ctrOf is a ctr whose namespaces a and b have these tasks.
func ctrOf(a, b string) string {
	return `case "$*" in
		"namespaces list --quiet") printf 'a\nb\n';;
		"--namespace a tasks list") echo "TASK PID STATUS"; echo "` + a + `";;
		"--namespace b tasks list") echo "TASK PID STATUS"; echo "` + b + `";;
		*) exit 1;;
	esac`
}

func TestContainerIsFoundByWhicheverRuntimeHasIt(t *testing.T) {
	pid := strconv.Itoa(os.Getpid())
	netns, err := vport.PinProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"p","description":"container web","netns":"` + netns + `","ip":["10.0.0.2/24"],"ephemeral":true,"access":10}`
	inspect := `[ "$*" = "container inspect --format {{.State.Pid}} web" ] && echo ` + pid
	for name, scripts := range map[string]map[string]string{
		"podman":         {"podman": inspect, "docker": "echo cannot connect >&2; exit 1"},
		"docker":         {"podman": "echo no such container >&2; exit 125", "docker": inspect},
		"both, as one":   {"podman": inspect, "docker": inspect},
		"nerdctl":        {"nerdctl": inspect},
		"crictl":         {"crictl": `[ "$*" = "inspect --output go-template --template {{.info.pid}} web" ] && echo ` + pid},
		"ctr":            {"ctr": ctrOf("web2 1 RUNNING\nweb "+pid+" RUNNING", "web3 1 RUNNING")},
		"ctr, elsewhere": {"ctr": ctrOf("web 1 STOPPED", "web "+pid+" PAUSED")},
		"one that runs":  {"podman": "echo 0", "docker": inspect},
	} {
		runtimesAre(t, scripts)
		d := newDaemon(t, samples())
		code, _, errOut := d.ctl(t, "port", "add", "p", "--container", "web", "--ip", "10.0.0.2/24", "--access", "10")
		if sent := d.last(); code != 0 || sent != want {
			t.Errorf("%s: exit %d: %s sent %s, want %s", name, code, errOut, sent, want)
		}
	}
	runtimesAre(t, map[string]string{"podman": "echo 1"})
	d := newDaemon(t, samples())
	code, _, errOut := d.ctl(t, "port", "add", "p", "--container", pid, "--description", "mine")
	if want := `{"name":"p","description":"mine","netns":"` + netns + `","ephemeral":true}`; code != 0 || d.last() != want {
		t.Errorf("a pid: exit %d: %s sent %s", code, errOut, d.last())
	}
}

func TestContainerThatCannotBeHadIsExplained(t *testing.T) {
	for _, c := range []struct {
		scripts map[string]string
		args    string
		code    int
		says    []string
	}{
		{nil, "--container web", exitNotFound, []string{`container "web"`, "PATH"}},
		{map[string]string{"podman": "echo no such container >&2; echo more >&2; exit 125", "ctr": ctrOf("", "")}, "--container web", exitNotFound, []string{"podman: no such container\n", "ctr: there is no such task", "or write the pid"}},
		{map[string]string{"ctr": ctrOf("web 1 STOPPED", "")}, "--container web", exitNotFound, []string{"ctr: the container does not run"}},
		{map[string]string{"ctr": ctrOf("web 1 RUNNING", "web 2 RUNNING")}, "--container web", exitNotFound, []string{"ctr: its namespaces a and b have one each: write its process instead, 1 or 2"}},
		{map[string]string{"crictl": "echo '<no value>'"}, "--container $(id);x", exitNotFound, []string{`container "$(id);x"`, `crictl: the answer is "<no value>", and no pid`}},
		{map[string]string{"docker": "echo 0"}, "--container web", exitNotFound, []string{"docker: the container does not run"}},
		{map[string]string{"podman": "echo 1", "docker": "echo 2"}, "--container web", exitConflict, []string{"podman and docker", "--container 1 or 2"}},
		{nil, "--container web --netns x", exitUsage, []string{"--netns exclude"}},
		{nil, "--container=", exitUsage, []string{"name or id"}},
		{nil, "--container=--all", exitUsage, []string{"name or id"}},
	} {
		runtimesAre(t, c.scripts)
		code, _, errOut := newDaemon(t, samples()).ctl(t, append([]string{"port", "add", "p"}, strings.Fields(c.args)...)...)
		for _, part := range c.says {
			if code != c.code || !strings.Contains(errOut, part) || strings.Contains(errOut, "more") {
				t.Errorf("%v %s: exit %d, want %d and %q: %s", c.scripts, c.args, code, c.code, part, errOut)
			}
		}
	}
}
