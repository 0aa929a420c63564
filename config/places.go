package config

import (
	"bytes"
	"reflect"
	"strconv"
	"strings"
)

// Places tells where in a configuration file things stand: lines, from 1, by paths as
// Diff writes them, such as "ports[web]" and "ports[web].mtu". Of a file that Parse
// does not take it knows nothing.
func Places(data []byte) (lines map[string]int) {
	// What the YAML library makes of hostile input is not in our hands.
	defer func() {
		if recover() != nil {
			lines = nil
		}
	}()
	r, c := reader{at: map[string]position{}}, Config{}
	tree := r.tree(bytes.TrimPrefix(data, []byte("\ufeff")))
	if tree == nil {
		return nil
	}
	r.value(tree, "", reflect.ValueOf(&c).Elem())
	lines = make(map[string]int, len(r.at))
	for path, at := range r.at {
		lines[c.named(path)] = at.line
	}
	return lines
}

// named puts the name of a port in place of its number.
func (c *Config) named(path string) string {
	rest, ok := strings.CutPrefix(path, "ports[")
	number, key, _ := strings.Cut(rest, "]")
	i, err := strconv.Atoi(number)
	if !ok || err != nil || i >= len(c.Ports) {
		return path
	}
	return "ports[" + c.Ports[i].Name + "]" + key
}
