package main

import (
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

// files are the directories that a daemon uses once it has started.
type files struct {
	read  []string
	write []string // replaces files in
	bind  []string // makes and removes sockets in
	keep  string   // has for itself
}

// filesOf returns the directories where users, namespaces and sockets are by
// custom, and those that the configuration names.
func filesOf(c *config.Config, st control.Startup, socket string) files {
	f := files{
		read: []string{"/etc", "/proc", "/run"},
		bind: []string{"/run", "/tmp", "/var"}, // As port.listenStream says in its error.
		keep: filepath.Dir(socket),
	}
	if st.File != "" {
		f.write = dirs(st.File)
	}
	if c.Metrics.WebConfig != "" {
		for _, path := range webFiles(c.Metrics.WebConfig) {
			f.read = append(f.read, dirs(path)...)
		}
	}
	for _, p := range c.Ports {
		if p.Listen != "" {
			f.bind = append(f.bind, filepath.Dir(p.Listen))
		}
		if filepath.IsAbs(p.Netns) {
			f.read = append(f.read, filepath.Dir(p.Netns))
		}
	}
	return f
}

// dirs returns the directory of a file and that of what it links to. A file by
// itself would not do: a new one takes its place.
func dirs(path string) []string {
	at := []string{filepath.Dir(path)}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		at = append(at, filepath.Dir(real))
	}
	return at
}

// webFiles returns an exporter-toolkit file and those that it names: they are
// read anew for each connection.
func webFiles(path string) []string {
	paths := []string{path}
	var web struct {
		TLS struct {
			Cert string `yaml:"cert_file"`
			Key  string `yaml:"key_file"`
			CA   string `yaml:"client_ca_file"`
		} `yaml:"tls_server_config"`
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(text, &web)
	}
	if err != nil {
		return paths // Of which checkWeb has told.
	}
	for _, named := range []string{web.TLS.Cert, web.TLS.Key, web.TLS.CA} {
		switch {
		case filepath.IsAbs(named):
			paths = append(paths, named)
		case named != "":
			paths = append(paths, filepath.Join(filepath.Dir(path), named))
		}
	}
	return paths
}
