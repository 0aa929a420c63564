// Vswitchctl shows and changes a running vswitchd.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/qemu"
)

func main() {
	if isGuest() {
		fmt.Println(guest())
		qemu.Off()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// The exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitUnreachable
	exitNotFound
	exitPermission
	exitConflict

	exitInterrupted = 130 // as a shell has it: 128 and SIGINT
)

const exitCodes = `Exit codes:
    0  done
    1  failed
    2  the command or a value in it is wrong
    3  no vswitchd answers on the socket
    4  there is no such port, container or FDB entry
    5  permission denied
    6  conflict: it exists already, is in use, or the switch is full
  130  interrupted`

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if code, ok := errors.AsType[exited](err); ok {
		return int(code)
	}
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(errOut, "error: interrupted")
		return exitInterrupted
	}
	if err != nil {
		fmt.Fprint(errOut, explained(err))
	}
	return exitCode(err)
}

// usageError is a command that cannot be asked of any daemon.
type usageError struct{ what, fix string }

func (e *usageError) Error() string { return e.what }

func usagef(format string, args ...any) error {
	return &usageError{what: fmt.Sprintf(format, args...)}
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return exitCodeOf(e.Code)
	}
	switch {
	case errors.Is(err, control.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, control.ErrPermission):
		return exitPermission
	}
	return exitFailed
}

func exitCodeOf(c control.Code) int {
	switch c {
	case control.CodeInvalid:
		return exitUsage
	case control.CodeNotFound:
		return exitNotFound
	case control.CodePermission:
		return exitPermission
	case control.CodeConflict:
		return exitConflict
	case control.CodeFailed:
	}
	return exitFailed
}

// explained returns the error and, on a line below, what to do about it.
func explained(err error) string {
	text, fix := err.Error(), fixOf(err)
	if isCode(err, control.CodeInvalid) {
		text, fix = inFlags(text), inFlags(fix)
	}
	text = "error: " + strings.ReplaceAll(text, "\n", "\n       ") + "\n"
	if fix != "" {
		text += "  " + fix + "\n"
	}
	return text
}

func fixOf(err error) string {
	if e, ok := errors.AsType[*usageError](err); ok {
		return e.fix
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Fix
	}
	switch {
	case errors.Is(err, control.ErrTimeout):
		return "is the daemon stopped, or the machine overloaded? look at the state of its process and at its log"
	case errors.Is(err, control.ErrUnreachable):
		return "is vswitchd running? start it with: vswitchd --config FILE; or name its socket with --socket"
	case errors.Is(err, control.ErrPermission):
		return "run as the daemon's user, or join the group that control.group names in its configuration"
	}
	return ""
}
