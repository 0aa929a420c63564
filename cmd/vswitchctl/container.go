package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/port"
)

// runtimes are the programs that know containers. Each is run as the user, who
// may see other containers than root.
var runtimes = []struct {
	program string
	// pid asks the program at path; 0 is a container that does not run.
	pid func(ctx context.Context, path, container string) (int, error)
}{
	{"podman", inspected}, {"docker", inspected}, {"nerdctl", inspected}, {"crictl", inspectedPod}, {"ctr", task},
}

func inspected(ctx context.Context, path, container string) (int, error) {
	return askPID(ctx, path, "container", "inspect", "--format", "{{.State.Pid}}", container)
}

func inspectedPod(ctx context.Context, path, container string) (int, error) {
	return askPID(ctx, path, "inspect", "--output", "go-template", "--template", "{{.info.pid}}", container)
}

func askPID(ctx context.Context, path string, args ...string) (int, error) {
	answer, err := ask(ctx, path, args...)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(answer)
	if err != nil {
		return 0, fmt.Errorf("the answer is %q, and no pid", answer)
	}
	return pid, nil
}

// task looks for a container in each namespace of containerd.
func task(ctx context.Context, path, container string) (pid int, err error) {
	namespaces, err := ask(ctx, path, "namespaces", "list", "--quiet")
	if err != nil {
		return 0, err
	}
	in := ""
	for namespace := range strings.FieldsSeq(namespaces) {
		table, err := ask(ctx, path, "--namespace", namespace, "tasks", "list")
		if err != nil {
			return 0, err
		}
		switch found, err := pidOfTask(table, container); {
		case err != nil:
			return 0, err
		case found > 0 && pid > 0:
			return 0, fmt.Errorf("its namespaces %s and %s have one each: write its process instead, %d or %d", in, namespace, pid, found)
		case found >= 0 && pid <= 0:
			pid, in = found, namespace
		}
	}
	if in == "" {
		return 0, errors.New("there is no such task")
	}
	return pid, nil
}

// pidOfTask reads a table with the columns TASK, PID and STATUS. A task that has
// stopped has its pid still; that is 0, and -1 no task.
func pidOfTask(table, container string) (int, error) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == container {
			if f[2] == "STOPPED" {
				return 0, nil
			}
			return strconv.Atoi(f[1])
		}
	}
	return -1, nil
}

// intoContainer has a port put into the network namespace of a container and go
// with it.
func intoContainer(ctx context.Context, keys map[string]any, container string) error {
	if _, given := keys["netns"]; given {
		return usagef("--container and --netns exclude each other")
	}
	pid, err := processOf(ctx, container)
	if err != nil {
		return err
	}
	netns, err := port.PinProcess(pid)
	if err != nil {
		return fmt.Errorf("container %q: its process %d: %w", container, pid, err)
	}
	keys["netns"], keys["ephemeral"] = netns, true
	if _, given := keys["description"]; !given {
		keys["description"] = "container " + container
	}
	return nil
}

// processOf returns a process of a container: the one that has it for a pid, or
// the first one that a runtime has started there.
func processOf(ctx context.Context, container string) (int, error) {
	if pid, err := strconv.ParseUint(container, 10, 31); err == nil {
		if _, err := os.Stat("/proc/" + container); err == nil {
			return int(pid), nil
		}
	}
	if container == "" || strings.HasPrefix(container, "-") {
		return 0, usagef("--container %q: want the name or id of a container, or the pid of a process", container)
	}
	found, answers := map[int]string{}, ""
	for _, r := range runtimes {
		path, err := exec.LookPath(r.program)
		if err != nil {
			continue
		}
		pid, err := r.pid(ctx, path, container)
		switch {
		case err != nil:
			answers += fmt.Sprintf("\n%s: %v", r.program, err)
		case pid == 0:
			answers += fmt.Sprintf("\n%s: the container does not run", r.program)
		default:
			found[pid] = r.program
		}
	}
	return only(container, found, answers)
}

// only returns the one process that was found.
func only(container string, found map[int]string, answers string) (int, error) {
	pids := slices.Sorted(maps.Keys(found))
	switch {
	case len(pids) == 1:
		return pids[0], nil
	case len(pids) > 1:
		return 0, &control.Error{
			Code:    control.CodeConflict,
			Message: fmt.Sprintf("container %q: %s and %s have one each", container, found[pids[0]], found[pids[1]]),
			Fix:     fmt.Sprintf("write its process instead: --container %d or %d", pids[0], pids[1]),
		}
	case answers == "":
		answers = " no podman, docker, nerdctl, crictl or ctr is in the PATH to ask for it"
	}
	return 0, &control.Error{
		Code:    control.CodeNotFound,
		Message: fmt.Sprintf("container %q: not found:%s", container, answers),
		Fix:     "start it, run this as the user whose container it is, or write the pid of a process in it",
	}
}

// ask returns what a program writes, without the newline, or what it complains
// about in the first line.
func ask(ctx context.Context, path string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n"); err != nil && line != "" {
		err = errors.New(line)
	}
	return strings.TrimSpace(out.String()), err
}
