package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// Event is a line of the answer to GET /v1/events. docs/operations.md lists the
// types and events.
type Event struct {
	// Time is absent if Type is EventsLost.
	Time *time.Time `json:"time,omitempty"`
	// Type is "port", "link", "fdb", "config" or EventsLost.
	Type string `json:"type"`
	// Event is what happened, absent if Type is EventsLost.
	Event string `json:"event,omitempty"`
	// Port is the one that the event is about, or that the station is behind now
	// or was last.
	Port string `json:"port,omitempty"`
	// From and To are what has changed; From also the port that a station has
	// left for another.
	From string     `json:"from,omitempty"`
	To   string     `json:"to,omitempty"`
	MAC  *frame.MAC `json:"mac,omitempty"`
	VLAN frame.VID  `json:"vlan,omitempty"`
	// State is that of an FDB entry, as in FDBEntry.
	State string `json:"state,omitempty"`
	Count uint64 `json:"count,omitempty"`
	Cause string `json:"cause,omitempty"` // why a port is gone
}

// EventsLost is the Type of an Event that stands for Count others, which the
// reader was too slow to get.
const EventsLost = "lost"

// EventFilter selects events: those that match each field that is set.
type EventFilter struct {
	Types []string // of Event.Type
	Port  string
}

// EventTypes are the types of events that can be selected.
func EventTypes() (names []string) {
	for t := range vswitch.NumEventTypes {
		names = append(names, t.String())
	}
	return names
}

// stream is an answer without end. It returns when the client or the server is
// to end.
type stream func(w http.ResponseWriter, r *http.Request)

// events answers with the events to come, a line each.
func (s *Server) events(r *http.Request, _ []byte) (any, error) {
	q := r.URL.Query()
	filter := vswitch.EventFilter{Port: q.Get("port")}
	if text := q.Get("type"); text != "" {
		for name := range strings.SplitSeq(text, ",") {
			i := slices.Index(EventTypes(), name)
			if i < 0 {
				e := invalid("type: %.40q: there are no such events", name)
				e.Fix = "the types are " + strings.Join(EventTypes(), ", ")
				return nil, e
			}
			filter.Types = append(filter.Types, vswitch.EventType(i))
		}
	}
	return stream(func(w http.ResponseWriter, r *http.Request) { s.follow(w, r, filter) }), nil
}

// serve sends a stream, if there are not too many. Its connection counts as busy
// all the while.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, answer stream) {
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		refuse(w, &Error{CodeConflict, "all streams of events that the daemon has are in use", "end one of the others"})
		return
	}
	c := connectionOf(r.Context())
	if !c.begin() {
		panic(http.ErrAbortHandler)
	}
	defer c.end()
	answer(w, r)
}

// follow sends events until the client hangs up or does not read for the time
// that an answer may take, or the server ends. The events that a client is slow
// to read stay in the switch's feed, where others overwrite them in the end.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, filter vswitch.EventFilter) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ending, cancel)()
	watch := s.sw.Watch(filter)
	defer watch.Close()

	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	lines := json.NewEncoder(w)
	batch := make([]vswitch.Event, 64)
	for err := control.Flush(); err == nil; err = control.Flush() {
		n, lost, ended := watch.Read(ctx, batch)
		_ = control.SetWriteDeadline(time.Now().Add(s.write))
		if ended != nil {
			return
		}
		if lost > 0 && lines.Encode(Event{Type: EventsLost, Count: lost}) != nil {
			return
		}
		for i := range batch[:n] {
			if lines.Encode(eventOf(&batch[i])) != nil {
				return
			}
		}
	}
}

func eventOf(e *vswitch.Event) Event {
	out := Event{
		Time: &e.Time, Type: e.Kind.Type().String(), Event: e.Kind.String(),
		Port: e.Port, From: e.From, To: e.To, VLAN: e.VID, Count: e.Count,
	}
	if !e.MAC.IsZero() {
		out.MAC, out.State = &e.MAC, states[e.Entry]
	}
	if e.Err != nil {
		out.Cause = e.Err.Error()
	}
	return out
}

// Events returns the events that f selects, from now on and without end: no call
// of a method that follows goes unnoticed. The error at their end, which comes
// alone, is that of ctx or ErrUnreachable. They are to be read once, to the end
// or until ctx ends.
func (c *Client) Events(ctx context.Context, f EventFilter) (iter.Seq2[Event, error], error) {
	q := url.Values{}
	if f.Port != "" {
		q.Set("port", f.Port)
	}
	if len(f.Types) > 0 {
		q.Set("type", strings.Join(f.Types, ","))
	}
	reply, err := c.send(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	return func(yield func(Event, error) bool) {
		defer reply.Body.Close()
		for lines := json.NewDecoder(reply.Body); ; {
			var e Event
			if err := lines.Decode(&e); err != nil {
				yield(Event{}, c.brokeOff(ctx, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}, nil
}

// brokeOff explains why a stream has ended.
func (c *Client) brokeOff(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.EOF):
		return fmt.Errorf("socket %s: %w: the daemon has ended", c.socket, ErrUnreachable)
	}
	return fmt.Errorf("socket %s: %w: the stream broke off, because the daemon was killed or nobody read for too long", c.socket, ErrUnreachable)
}
