package control

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/vswitchd/vswitchd/config"
)

func (s *Server) showConfig(r *http.Request, _ []byte) (any, error) {
	switch r.URL.Query().Get("startup") {
	case "":
		return s.running.Config(), nil
	case "1":
		startup, err := s.running.Startup()
		return startup.Config, failed(err)
	}
	return nil, invalid("startup: want 1, or leave it out for the running configuration")
}

// failed makes an error of the startup file, which the request has not written,
// a failure of the daemon's.
func failed(err error) error {
	if _, ok := errors.AsType[*Error](err); err == nil || ok {
		return err
	}
	return &Error{CodeFailed, err.Error(), ""}
}

func (s *Server) applyConfig(r *http.Request, body []byte) (any, error) {
	within, err := confirmParameter(r.URL.Query().Get("confirm"))
	if err != nil {
		return nil, err
	}
	next, err := config.Parse("the body of the request", body)
	if err != nil {
		return nil, invalid("%v", err)
	}
	changes, err := s.running.Apply(next, within)
	return &ConfigChange{Changes: changes, Confirm: int(within / time.Second)}, err
}

// confirmParameter returns 0 if the parameter is absent.
func confirmParameter(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxConfirm {
		return 0, invalid("confirm: %.40q: want 1 to %d seconds", text, MaxConfirm)
	}
	return time.Duration(n) * time.Second, nil
}

func (s *Server) confirmConfig(*http.Request, []byte) (any, error) {
	return nil, s.running.Confirm()
}

func (s *Server) saveConfig(*http.Request, []byte) (any, error) {
	return nil, s.running.Save()
}
