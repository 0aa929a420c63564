package control

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Startup is the configuration that a daemon begins with.
type Startup struct {
	File   string         // path, or empty
	Config *config.Config // what the file says, without the command line
	Sum    string         // config.Sum of the file
}

// Reload applies the startup file as it is now.
func (r *Running) Reload() (changes []string, err error) {
	defer func() { r.count(err) }()
	next, err := r.Startup()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return nil, err
	}
	before := r.startup
	changes = config.Diff(r.config(), next.Config)
	err = r.change(func() error {
		err := r.apply(next.Config)
		if err == nil {
			r.startup = next
		}
		return err
	})
	if err != nil {
		r.startup = before
	}
	r.tell(vswitch.ConfigReloaded, changes, err)
	return changes, err
}

// Startup reads the startup file.
func (r *Running) Startup() (Startup, error) {
	r.mu.Lock()
	path := r.startup.File
	r.mu.Unlock()
	if path == "" {
		return Startup{}, errNoStartup
	}
	data, err := config.Read(path)
	if err != nil {
		return Startup{}, &Error{CodeFailed, err.Error(), ""}
	}
	c, err := config.Parse(path, data)
	return Startup{path, c, config.Sum(data)}, err
}

var errNoStartup = &Error{CodeConflict, "the daemon has no startup file", "start it with --config FILE"}

// Save writes the running configuration, but for ephemeral ports, to the startup file. What that was
// before is kept beside it, in a file with .bak behind its name.
func (r *Running) Save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(); err != nil {
		return err
	}
	if r.startup.File == "" {
		return errNoStartup
	}
	c := r.config().WithoutEphemeral()
	text, err := c.Marshal()
	if err == nil {
		err = save(r.startup.File, text)
	}
	if err != nil {
		return &Error{CodeFailed, fmt.Sprintf("the startup file is as it was: %v", err), "let the daemon write to its directory, and see that there is room"}
	}
	r.startup.Config, r.startup.Sum = c, config.Sum(text)
	if err := r.keep(); err != nil {
		// After a restart the file wins, which says the same.
		r.log.Warn("configuration saved", "err", err)
	}
	r.tell(vswitch.ConfigSaved, nil, nil)
	return nil
}

// save replaces a file, of which it may be a link, and keeps the old content.
func save(path string, text []byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	old, err := config.Read(path)
	if err != nil || bytes.Equal(old, text) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		text []byte
	}{{path + ".bak", old}, {path, text}} {
		mode := fs.FileMode(st.Mode) & fs.ModePerm
		n, err := config.Replace(f.path, len(f.text), mode)
		if err != nil {
			return err
		}
		// The umask has had a say in the mode, and who may not give files away
		// owns them from now on.
		err = os.Chmod(f.path+".new", mode)
		_ = os.Chown(f.path+".new", int(st.Uid), int(st.Gid))
		if err = cmp.Or(err, n.Commit(f.text)); err != nil {
			return err
		}
	}
	return nil
}
