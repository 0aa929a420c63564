package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// Errors of a Client that has not been able to ask, for errors.Is. What the
// daemon itself has refused is an *Error.
var (
	ErrUnreachable = errors.New("no vswitchd answers")
	ErrTimeout     = fmt.Errorf("%w in time", ErrUnreachable)
	ErrPermission  = errors.New("permission denied")
)

// Client asks a daemon. Its methods are safe for concurrent use.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the daemon that serves the socket. It does not
// connect yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	// The daemon soon closes idle connections, and a request on one that is
	// being closed fails.
	c.http.Transport = &http.Transport{DialContext: c.dial, DisableKeepAlives: true}
	// Going elsewhere would be another request than the one that was made.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// Status describes the daemon.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Ports lists the ports by name.
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	return ask[[]Port](ctx, c, http.MethodGet, "/v1/ports", nil)
}

// Port returns one port with its device and counters.
func (c *Client) Port(ctx context.Context, name string) (Port, error) {
	return askPort(ctx, c, http.MethodGet, name, nil)
}

// AddPort adds a port and returns it as it has come to be.
func (c *Client) AddPort(ctx context.Context, cfg config.Port) (Port, error) {
	return ask[Port](ctx, c, http.MethodPost, "/v1/ports", cfg)
}

// SetPort changes the given keys of a port, which are those of a config.Port;
// nil gives a key its default again.
func (c *Client) SetPort(ctx context.Context, name string, keys map[string]any) (Port, error) {
	return askPort(ctx, c, http.MethodPatch, name, keys)
}

// RemovePort removes a port.
func (c *Client) RemovePort(ctx context.Context, name string) (done PortRemoved, err error) {
	path, err := portPath(name)
	if err != nil {
		return done, err
	}
	return ask[PortRemoved](ctx, c, http.MethodDelete, path, nil)
}

// FDB lists the entries that match each field of f that is set.
func (c *Client) FDB(ctx context.Context, f FDBFlush) ([]FDBEntry, error) {
	q := url.Values{}
	if f.Port != "" {
		q.Set("port", f.Port)
	}
	if f.VLAN != nil {
		q.Set("vlan", vlanText(*f.VLAN))
	}
	if f.MAC != nil {
		q.Set("mac", f.MAC.String())
	}
	return ask[[]FDBEntry](ctx, c, http.MethodGet, "/v1/fdb?"+q.Encode(), nil)
}

// AddFDB adds a static or blackhole entry.
func (c *Client) AddFDB(ctx context.Context, e FDBEntry) (FDBEntry, error) {
	return ask[FDBEntry](ctx, c, http.MethodPost, "/v1/fdb", e)
}

// RemoveFDB removes an entry of any kind. vlan is 0 if the switch is not VLAN
// aware.
func (c *Client) RemoveFDB(ctx context.Context, mac frame.MAC, vlan frame.VID) error {
	q := url.Values{"mac": {mac.String()}}
	if vlan != 0 {
		q.Set("vlan", vlanText(vlan))
	}
	return c.do(ctx, http.MethodDelete, "/v1/fdb?"+q.Encode(), nil, nil)
}

// FlushFDB removes the learned entries that match and says how many.
func (c *Client) FlushFDB(ctx context.Context, f FDBFlush) (removed int, err error) {
	answer, err := ask[FDBFlushed](ctx, c, http.MethodPost, "/v1/fdb/flush", f)
	return answer.Removed, err
}

// SetFDB changes the FDB's settings and returns all of them.
func (c *Client) SetFDB(ctx context.Context, s FDBSettings) (FDBSettings, error) {
	return ask[FDBSettings](ctx, c, http.MethodPatch, "/v1/fdb/settings", s)
}

// Stats returns the counters of all ports.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return ask[Stats](ctx, c, http.MethodGet, "/v1/stats", nil)
}

// Why returns what was dropped in the last minute, and why.
func (c *Client) Why(ctx context.Context, w WhyQuery) (Why, error) {
	q := url.Values{}
	if w.Port != "" {
		q.Set("port", w.Port)
	}
	if w.Reason != "" {
		q.Set("reason", w.Reason)
	}
	if w.MAC != nil {
		q.Set("mac", w.MAC.String())
	}
	if w.VLAN != nil {
		q.Set("vlan", vlanText(*w.VLAN))
	}
	path := "/v1/why"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return ask[Why](ctx, c, http.MethodGet, path, nil)
}

// Trace tells what would become of a frame.
func (c *Client) Trace(ctx context.Context, r TraceRequest) (Trace, error) {
	return ask[Trace](ctx, c, http.MethodPost, "/v1/trace", r)
}

// Running returns the running configuration.
func (c *Client) Running(ctx context.Context) (*config.Config, error) {
	return ask[*config.Config](ctx, c, http.MethodGet, "/v1/config", nil)
}

// Startup returns what the startup file says.
func (c *Client) Startup(ctx context.Context) (*config.Config, error) {
	return ask[*config.Config](ctx, c, http.MethodGet, "/v1/config?startup=1", nil)
}

// Apply makes a whole configuration the running one. If within is not 0 the one
// before comes back after that time, in whole seconds, unless Confirm is called.
func (c *Client) Apply(ctx context.Context, next *config.Config, within time.Duration) (ConfigChange, error) {
	path := "/v1/config/apply"
	if within != 0 {
		path += "?confirm=" + strconv.Itoa(int(within/time.Second))
	}
	return ask[ConfigChange](ctx, c, http.MethodPost, path, next)
}

// Confirm makes a configuration stay that was applied for a time.
func (c *Client) Confirm(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/config/confirm", nil, nil)
}

// Save writes the running configuration to the startup file.
func (c *Client) Save(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/v1/config/save", nil, nil)
}

func askPort(ctx context.Context, c *Client, method, name string, request any) (Port, error) {
	path, err := portPath(name)
	if err != nil {
		return Port{}, err
	}
	return ask[Port](ctx, c, method, path, request)
}

// portPath refuses what no port can be called: the path of .. would be another
// operation's.
func portPath(name string) (string, error) {
	if (config.Port{Name: name, Ifname: "any"}).Validate(true) != nil {
		return "", &Error{CodeNotFound, fmt.Sprintf("port %.40q: there is no port of that name", name), "list the ports to see what there is"}
	}
	return "/v1/ports/" + url.PathEscape(name), nil
}

func vlanText(v frame.VID) string { return strconv.Itoa(int(v)) }

// ask makes one request that is answered with a T.
func ask[T any](ctx context.Context, c *Client, method, path string, request any) (answer T, err error) {
	err = c.do(ctx, method, path, request, &answer)
	return answer, err
}

// do makes one request. request and answer may be nil for none.
func (c *Client) do(ctx context.Context, method, path string, request, answer any) error {
	reply, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	if answer == nil || reply.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(reply.Body).Decode(answer); err != nil {
		return fmt.Errorf("socket %s: read the answer: %w", c.socket, err)
	}
	return nil
}

// send makes one request and returns the reply unless it is a refusal.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		text, err := json.Marshal(request)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://vswitchd"+path, body)
	if err != nil {
		return nil, err
	}
	reply, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(err)
	}
	if reply.StatusCode >= http.StatusMultipleChoices {
		defer reply.Body.Close()
		return nil, refused(reply)
	}
	return reply, nil
}

func (c *Client) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("socket %s: %w", c.socket, ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("socket %s: %w: %w", c.socket, ErrUnreachable, cause(err))
	}
	return conn, nil
}

// failed explains why there is no answer.
func (c *Client) failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("socket %s: %w", c.socket, ErrTimeout)
	}
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrPermission) {
		return cause(err)
	}
	return fmt.Errorf("socket %s: no answer: %w", c.socket, cause(err))
}

// cause takes off what net and net/http put around an error: the address and a
// URL that nobody has written.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	if o, ok := errors.AsType[*net.OpError](err); ok {
		return o.Err
	}
	return err
}

func refused(reply *http.Response) error {
	e := new(Error)
	if err := json.NewDecoder(io.LimitReader(reply.Body, MaxRequest)).Decode(e); err != nil || e.Code == "" {
		return fmt.Errorf("the daemon answered %s without saying why", reply.Status)
	}
	return e
}
