package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Path string `json:"path"`          // where, such as ports[2].access; empty is the whole
	Msg  string `json:"msg"`           // what is wrong
	Fix  string `json:"fix,omitempty"` // what to write instead
}

// Error returns the problem as "path: what is wrong; what to write".
func (p Problem) Error() string {
	s := p.Msg
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// Problems are all problems that were found, at least one.
type Problems []Problem

// Error returns a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// err keeps an empty list from becoming an error that is not nil.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func (ps *Problems) add(path, msg, fix string) {
	*ps = append(*ps, Problem{Path: path, Msg: msg, Fix: fix})
}

// quote shows a value from a file, which may be of any length, in a message.
func quote(s string) string { return fmt.Sprintf("%.40q", s) }
