package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/port"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// write sends an answer; nil is none.
func write(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that went away is not told that it did.
	_ = json.NewEncoder(w).Encode(answer)
}

// refuse answers with an error.
func refuse(w http.ResponseWriter, err error) {
	e := errorOf(err)
	write(w, e.Code.status(), e)
}

// unreadable answers a request whose body is too large or did not come.
func unreadable(w http.ResponseWriter, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		write(w, http.StatusRequestEntityTooLarge, invalid("the body of the request is larger than %d bytes", MaxRequest))
		return
	}
	refuse(w, invalid("the body of the request cannot be read: %v", err))
}

// unknown answers a request that is no operation. h is the mux's own answer to
// it, which knows the methods that would be one.
func unknown(w http.ResponseWriter, r *http.Request, h http.Handler) {
	own := headerOnly{}
	h.ServeHTTP(own, r)
	what := r.Method + " " + r.URL.Path
	allow := http.Header(own).Get("Allow")
	if allow == "" {
		write(w, http.StatusNotFound, &Error{CodeNotFound, what + ": there is no such path", "use one of the paths below /v1/: status, ports, fdb, stats, events, config, trace"})
		return
	}
	w.Header().Set("Allow", allow)
	write(w, http.StatusMethodNotAllowed, &Error{CodeInvalid, what + ": the path has no such method", "use " + allow})
}

// headerOnly takes an answer of which only the header matters.
type headerOnly http.Header

func (h headerOnly) Header() http.Header         { return http.Header(h) }
func (h headerOnly) Write(b []byte) (int, error) { return len(b), nil }
func (h headerOnly) WriteHeader(int)             {}

func (c Code) status() int {
	switch c {
	case CodeInvalid:
		return http.StatusBadRequest
	case CodePermission:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeFailed:
	}
	return http.StatusInternalServerError
}

// kinds of errors, with what to do about one that does not say it itself. The
// first that matches counts.
var kinds = []struct {
	is   error
	code Code
	fix  string
}{
	{vswitch.ErrNotFound, CodeNotFound, "list the ports or the FDB to see what there is"},
	{vswitch.ErrExists, CodeConflict, "choose another name, or change what is there"},
	{vswitch.ErrFull, CodeConflict, "remove something first"},
	{vswitch.ErrInvalid, CodeInvalid, ""},
	{port.ErrPermission, CodePermission, ""},
	{port.ErrExists, CodeConflict, ""},
	{port.ErrBusy, CodeConflict, ""},
	{os.ErrInvalid, CodeInvalid, ""},
	{os.ErrNotExist, CodeInvalid, ""}, // a network namespace that the request names
}

// errorOf puts an error of the switch into the words of the API.
func errorOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Code: CodeFailed, Message: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			e.Code, e.Fix = k.code, k.fix
			break
		}
	}
	if ps, ok := errors.AsType[config.Problems](err); ok {
		e.Code = CodeInvalid
		if len(ps) == 1 {
			e.takeFix(ps[0].Fix)
		}
	}
	if pe, ok := errors.AsType[*port.Error](err); ok {
		e.takeFix(pe.Fix)
	}
	return e
}

// takeFix moves what to do from the end of the message to its own field.
func (e *Error) takeFix(fix string) {
	if fix == "" {
		return
	}
	e.Fix = fix
	e.Message = strings.Replace(e.Message, "; "+fix, "", 1)
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: CodeInvalid, Message: fmt.Sprintf(format, args...)}
}
