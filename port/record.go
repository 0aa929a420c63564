package port

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func (a *adoption) keep(ifname string) error {
	if a.path == "" {
		return nil
	}
	text, err := json.Marshal(&a.found)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(a.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(a.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(a.path+".new", a.path)
	}
	if err != nil {
		return &Error{
			Op: "keep how the link was found", Name: ifname, Why: "how it was found cannot be kept: " + err.Error(),
			Fix: "let the daemon write to " + filepath.Dir(a.path), Err: err,
		}
	}
	return nil
}

func (a *adoption) forget() {
	if a.path != "" {
		// Left behind, it is of little use: the kernel gives the index out again only
		// where somebody asks for it.
		_ = os.Remove(a.path)
	}
}

// recordPath names the file for a link, whose namespace has that number if it is
// not the own one. Neither another boot nor another namespace may take it for one
// of its own links.
func recordPath(dir string, inode uint64, index int) (string, error) {
	prefix, err := recordPrefix()
	name := strconv.Itoa(index)
	if inode != 0 {
		name = fmt.Sprintf("%d.%d", inode, index)
	}
	return filepath.Join(dir, prefix+name), err
}

func recordPrefix() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	ns, err := ownNS()
	return fmt.Sprintf("%s.%d.", strings.TrimSpace(string(boot)), ns.ino), err
}

// PutBack leaves the links that a process has adopted or attached and not put back
// as they were found: dir is the FoundDir of their configuration, and need not exist. That
// process has ended, or is about to. It returns the names of the links; the
// error is about those that could not be put back, which are not tried again.
func PutBack(dir string) (names []string, err error) {
	records, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	prefix, failure := recordPrefix()
	if err = errors.Join(err, failure); err != nil {
		return nil, fmt.Errorf("put links back: %w", err)
	}
	for _, r := range records {
		a := &adoption{path: filepath.Join(dir, r.Name())}
		text, ours := strings.CutPrefix(r.Name(), prefix)
		if a.index, failure = strconv.Atoi(text[strings.LastIndexByte(text, '.')+1:]); ours && failure == nil {
			name, failure := a.resume()
			if err = errors.Join(err, failure); name != "" {
				names = append(names, name)
			}
		}
		a.forget()
	}
	return names, err
}

// resume is putBack with what the file says.
func (a *adoption) resume() (name string, err error) {
	text, err := os.ReadFile(a.path)
	if err == nil {
		err = json.Unmarshal(text, &a.found)
	}
	if err != nil {
		return "", fmt.Errorf("put a link back: %w", err)
	}
	return a.putBack()
}
