package vswitch

import (
	"errors"
	"fmt"
)

// Errors of the control plane, for errors.Is. The text of the error that wraps
// one names the port or the address, and the action.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrInvalid  = errors.New("invalid")
	ErrFull     = errors.New("full")
)

// invalid is an ErrInvalid that says in its own words what is wrong.
type invalid string

func (e invalid) Error() string { return string(e) }
func (invalid) Unwrap() error   { return ErrInvalid }

func invalidf(format string, args ...any) error { return invalid(fmt.Sprintf(format, args...)) }
