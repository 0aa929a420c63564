package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// write makes the page of the figures in the directory.
func (r *run) write(dir string) error {
	text := fmt.Sprintf("# Benchmarks\n\n%s.\n\n%s", describeMachine(), r.details())
	return os.WriteFile(filepath.Join(dir, "benchmarks.md"), []byte(text), 0o644)
}
