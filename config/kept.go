package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Kept is the running configuration as it is kept in a file, to be resumed after
// a restart.
type Kept struct {
	// Startup is the Sum of the startup file that the running configuration
	// began as. With another startup file it is not resumed.
	Startup string
	// Began is that configuration, as Marshal writes it.
	Began  []byte
	Config *Config
}

const (
	keptHeader = "# The running configuration of vswitchd, which writes this file. Startup: "
	keptBegan  = "\n# It began as:\n"
)

// Sum tells one content of a startup file from another.
func Sum(startup []byte) string {
	sum := sha256.Sum256(startup)
	return hex.EncodeToString(sum[:])
}

// Marshal writes what ParseKept reads: a configuration file below a comment.
func (k Kept) Marshal() ([]byte, error) {
	text, err := k.Config.Marshal()
	if err != nil {
		return nil, err
	}
	text = append([]byte(keptHeader+k.Startup+"\n"), text...)
	text = append(text, keptBegan...)
	for line := range bytes.Lines(k.Began) {
		text = append(append(text, "# "...), line...)
	}
	return text, nil
}

// ParseKept reads a running configuration; see Parse.
func ParseKept(name string, data []byte) (Kept, error) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	sum, ok := bytes.CutPrefix(line, []byte(keptHeader))
	if !ok {
		return Kept{}, fmt.Errorf("%s: the first line does not say which startup file this goes back to; remove the file", name)
	}
	k := Kept{Startup: string(sum)}
	_, began, _ := bytes.Cut(data, []byte(keptBegan))
	for line := range bytes.Lines(began) {
		k.Began = append(k.Began, bytes.TrimPrefix(line, []byte("# "))...)
	}
	var err error
	k.Config, err = Parse(name, data)
	return k, err
}

// Replacement is a file that is to replace another, or to become the first of
// its name. It has a name of its own, the other's and ".new", which belongs to
// the caller alone.
type Replacement struct {
	path string
	file *os.File
}

// Replace begins to replace the file at path and takes up room for size bytes,
// so that what can fail fails now. Either Commit or Abandon follows.
func Replace(path string, size int, mode os.FileMode) (*Replacement, error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err
	}
	r := &Replacement{path, f}
	if _, err = f.Write(make([]byte, size)); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, r.Abandon())
	}
	return r, nil
}

// Commit puts data in place of the old content: whoever reads the file, also
// after a crash, gets the one or the other as a whole.
func (r *Replacement) Commit(data []byte) error {
	_, err := r.file.WriteAt(data, 0)
	if err == nil {
		err = r.file.Truncate(int64(len(data)))
	}
	if err == nil {
		err = r.file.Sync()
	}
	if err == nil {
		err = os.Rename(r.file.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, r.Abandon())
	}
	err = r.file.Close()
	if dir, openErr := os.Open(filepath.Dir(r.path)); openErr == nil {
		// The new content is there; only whether it outlives a power cut is open.
		_ = dir.Sync()
		dir.Close()
	}
	return err
}

// Abandon leaves the file as it is.
func (r *Replacement) Abandon() error {
	return errors.Join(r.file.Close(), os.Remove(r.file.Name()))
}
