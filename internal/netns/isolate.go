package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// marker is set in the environment of the process that Isolate starts, and so
// of all its descendants. Its value is the network namespace that they have
// left: the variable alone, say in an exported environment, proves nothing.
const marker = "VSWITCH_ISOLATED_FROM"

// Isolate gives the whole program a network namespace of its own and root's
// rights over it, by running the program once more inside: with the same
// arguments, environment, directory and standard streams. As root the new
// process differs by its network namespace alone; anybody else becomes root of
// a new user namespace too. Call it first in main.
//
// In the new process, and in those that it starts, child is true: go on. In the
// first one child is false and the other has ended: exit with the code, or the
// error says why there was none. SIGINT, SIGTERM and SIGQUIT are passed on, and if
// the first process dies, the kernel kills the second.
func Isolate() (child bool, exit int, err error) {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, 0, fmt.Errorf("find the own network namespace: %w", err)
	}
	if left := os.Getenv(marker); left != "" && left != own {
		if err := loopbackUp(); err != nil {
			return false, 0, err
		}
		return true, 0, nil
	}
	attr, err := isolation()
	if err != nil {
		return false, 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0, fmt.Errorf("find the own executable: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), marker+"="+own)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	exit, err = run(cmd)
	return false, exit, err
}

// run runs cmd to its end, passing signals on, and returns its exit code: that
// of a shell, 128 and the signal, if one ended it.
func run(cmd *exec.Cmd) (int, error) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT)
	defer signal.Stop(signals)
	// Pdeathsig watches the thread that starts the child, not the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s in new namespaces: %w", cmd.Path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = cmd.Process.Signal(s) // It fails only if the child has ended.
			}
		case err := <-ended:
			return exitCode(err)
		}
	}
}

func exitCode(err error) (int, error) {
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return 0, err
	}
	if ws, ok := e.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return e.ExitCode(), nil
}

// fromTerminal tells whether s is a key of the terminal that this process runs
// in the foreground of. The terminal sends it to the child too; passing it on
// would make two interrupts of one ^C.
func fromTerminal(s os.Signal) bool {
	if s != unix.SIGINT && s != unix.SIGQUIT {
		return false
	}
	group, err := unix.IoctlGetInt(unix.Stdin, unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// isolation returns what to start a process with so that it has a network
// namespace of its own and is root there. It is tried, not guessed.
func isolation() (*syscall.SysProcAttr, error) {
	asRoot := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	err := try(asRoot)
	if err == nil {
		return asRoot, nil
	}
	if userErr := TryUser(); userErr != nil {
		return nil, fmt.Errorf("make namespaces: %w: %s", userErr, Forbidding("/proc/sys"))
	}
	return asUser(), nil
}

func asUser() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
}

// TryUser makes a user namespace, and a network namespace in it, for a moment,
// and returns the bare error of clone(2). Forbidding explains it.
func TryUser() error { return try(asUser()) }

// try starts a process that ends at once, for it has no program to execute:
// ENOENT tells that its namespaces were made.
func try(attr *syscall.SysProcAttr) error {
	_, err := syscall.ForkExec("", nil, &syscall.ProcAttr{Sys: attr})
	if err == unix.ENOENT {
		return nil
	}
	return err
}
