package control

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Running is the configuration in force. It makes changes one at a time, and
// keeps what comes of each in a file before the change counts as made.
type Running struct {
	sw   *vswitch.Switch
	path string // of the file, empty for none
	log  *slog.Logger

	mu      sync.Mutex // held throughout a change
	startup Startup
	kept    []byte // the file's content
	trial   *trial // nil if there is none
	closed  bool

	began   []byte         // what beganOf is written as
	beganOf *config.Config // the startup configuration, so far
}

// trial is a configuration in force that ends unless it is confirmed. The file
// keeps the one before, so that a crash ends it too.
type trial struct {
	before *config.Config
	end    *time.Timer
}

// room is what a change is given in the file beyond the present size, in bytes.
const room = 64 << 10

// NewRunning makes the Running of a switch, kept in the file at path; an empty
// path is none. Nothing is written before the first Keep or change.
func NewRunning(sw *vswitch.Switch, path string, startup Startup, log *slog.Logger) *Running {
	return &Running{sw: sw, path: path, startup: startup, log: log}
}

// Close ends a trial, waits for a change under way, and refuses those to come:
// what is kept is not to follow the ports as they are closed.
func (r *Running) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.trial != nil {
		r.trial.end.Stop()
	}
}

// Config returns the running configuration, with what the startup file says
// about the daemon itself.
func (r *Running) Config() *config.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.config()
}

// config is Config for a caller that holds mu.
func (r *Running) config() *config.Config {
	c := r.sw.Running()
	own := r.startup.Config
	c.Control, c.Metrics, c.Nice = own.Control, own.Metrics, own.Nice
	return c
}

// Keep brings the file up to date. During a trial it does nothing.
func (r *Running) Keep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.trial != nil {
		return nil
	}
	return r.keep()
}

func (r *Running) keep() error {
	f, err := r.begin()
	if err == nil {
		err = r.commit(f)
	}
	return err
}

// Change has do change the switch and keeps what comes of it. It is refused if
// that cannot be kept, with the switch as it was, or if do fails.
func (r *Running) Change(do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return err
	}
	return r.change(do)
}

// ready says why there can be no change now. The caller holds mu.
func (r *Running) ready() error {
	switch {
	case r.closed:
		return &Error{CodeFailed, "the daemon is ending and takes no change", ""}
	case r.trial != nil:
		return &Error{CodeConflict, "a configuration is on trial, which would take later changes along when it ends", "confirm it with config confirm, or wait for its end"}
	}
	return nil
}

func (r *Running) change(do func() error) error {
	before := r.sw.Running()
	f, err := r.begin()
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return errors.Join(err, r.abandon(f))
	}
	if err := r.commit(f); err != nil {
		return errors.Join(err, r.sw.Apply(before))
	}
	return nil
}

// begin makes sure that a change can be kept before it is made: an attempt that
// is taken back would disturb the frames all the same.
func (r *Running) begin() (*config.Replacement, error) {
	if r.path == "" {
		return nil, nil
	}
	f, err := config.Replace(r.path, len(r.kept)+room, 0o600)
	if err != nil {
		return nil, r.cannotKeep(err)
	}
	return f, nil
}

func (r *Running) abandon(f *config.Replacement) error {
	if f == nil {
		return nil
	}
	return f.Abandon()
}

// text is what is kept of c. The startup configuration in it is written anew only
// if that is another.
func (r *Running) text(c *config.Config) ([]byte, error) {
	if r.beganOf != r.startup.Config {
		began, err := r.startup.Config.Marshal()
		if err != nil {
			return nil, err
		}
		r.began, r.beganOf = began, r.startup.Config
	}
	return config.Kept{Startup: r.startup.Sum, Began: r.began, Config: c}.Marshal()
}

func (r *Running) commit(f *config.Replacement) error {
	c := r.config()
	err := c.Validate()
	if err == nil && f == nil {
		return nil
	}
	var text []byte
	if err == nil {
		text, err = r.text(c)
	}
	switch {
	case err != nil:
		return errors.Join(r.cannotKeep(err), r.abandon(f))
	case bytes.Equal(text, r.kept):
		return f.Abandon()
	}
	if err := f.Commit(text); err != nil {
		return r.cannotKeep(err)
	}
	r.kept = text
	return nil
}

func (r *Running) cannotKeep(err error) error {
	e := &Error{Code: CodeFailed, Message: fmt.Sprintf("nothing was changed, because the running configuration cannot be kept for a restart: %v", err)}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Fix = "make room in " + filepath.Dir(r.path)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrNotExist):
		e.Fix = "let the daemon write to " + filepath.Dir(r.path)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		e.Fix = "raise the daemon's limit of open files (LimitNOFILE, ulimit -n)"
	}
	return e
}

// Apply makes next the configuration in force and lists what changes. If within
// is not 0 it is on trial, and ends after that time unless it is confirmed.
func (r *Running) Apply(next *config.Config, within time.Duration) (changes []string, err error) {
	defer func() { r.count(err) }()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	before := r.config()
	changes = config.Diff(before, next)
	if within == 0 {
		err := r.change(func() error { return r.apply(next) })
		r.tell(vswitch.ConfigApplied, changes, err)
		return changes, err
	}
	f, err := r.begin()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.apply(next), r.abandon(f)); err != nil {
		return nil, err
	}
	t := &trial{before: before}
	t.end = time.AfterFunc(within, func() { r.revert(t) })
	r.trial = t
	r.tell(vswitch.ConfigOnTrial, changes, nil)
	return changes, nil
}

// count keeps the number of configurations that were not applied.
func (r *Running) count(err error) {
	if err != nil {
		r.sw.CountUnapplied()
	}
}

// tell publishes what was done, unless err says that it was not.
func (r *Running) tell(what vswitch.EventKind, changes []string, err error) {
	if err == nil {
		r.sw.Publish(vswitch.Event{Kind: what, Count: uint64(len(changes))})
	}
}

// apply takes next to the switch, and refuses what is not the switch's.
func (r *Running) apply(next *config.Config) error {
	key := ""
	switch has := r.startup.Config; {
	case has.Control != next.Control:
		key = "control"
	case has.Metrics != next.Metrics:
		key = "metrics"
	case !reflect.DeepEqual(has.Nice, next.Nice):
		key = "nice"
	}
	if key != "" {
		e := invalid("%s: what it says is not what the daemon was started with, and cannot change while it runs", key)
		e.Fix = "write them into the startup file and restart the daemon"
		return e
	}
	return r.sw.Apply(next)
}

// revert ends a trial that nobody has confirmed.
func (r *Running) revert(t *trial) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.trial != t {
		return
	}
	r.trial = nil
	changes := config.Diff(r.config(), t.before)
	if err := r.sw.Apply(t.before); err != nil {
		r.count(err)
		r.log.Error("configuration not confirmed in time, and not reverted", "err", err)
		return
	}
	r.tell(vswitch.ConfigReverted, changes, nil)
	r.log.Warn("configuration not confirmed in time: reverted")
}

// Confirm makes what is on trial stay.
func (r *Running) Confirm() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trial == nil {
		return &Error{CodeConflict, "no configuration is on trial: it was confirmed, or its time is over", "see what is in force with config show"}
	}
	if err := r.keep(); err != nil {
		return err
	}
	r.trial.end.Stop()
	r.trial = nil
	r.tell(vswitch.ConfigConfirmed, nil, nil)
	return nil
}
