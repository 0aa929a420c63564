package page

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/vswitchd/vswitchd/control"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

const (
	maxClients = 8
	// maxPending is how many messages a client may be behind before it is dropped.
	maxPending = 4
	// maxEvents is how many of the last events a new client gets.
	maxEvents = 50
	// toWrite is how long a client may take to read one message.
	toWrite = 10 * time.Second
	every   = time.Second
)

// live samples the switch while it has clients, once for all of them. A message
// tells only what has changed, so that idle ports cost nothing.
type live struct {
	sw    *vswitch.Switch
	views *control.Views
	busy  func() (done func())
	every time.Duration
	began time.Time

	mu      sync.Mutex
	clients map[chan []byte]struct{}
	stop    context.CancelFunc // of the sampling; nil if there is none
	last    sample
}

// sample is what clients know.
type sample struct {
	at     float64 // seconds since the page was made
	ports  []control.Port
	stats  map[string]control.PortStats
	events [][]byte // as messages
}

func newLive(sw *vswitch.Switch, views *control.Views, busy func() func()) *live {
	return &live{sw: sw, views: views, busy: busy, every: every, began: time.Now(), clients: map[chan []byte]struct{}{}}
}

// serve sends messages until the client goes or is too slow. EventSource then
// connects again by itself.
func (l *live) serve(w http.ResponseWriter, r *http.Request) {
	messages := l.join()
	if messages == nil {
		refuse(w, http.StatusServiceUnavailable, "as many look at the page as can at a time; close one of the others")
		return
	}
	defer l.leave(messages)
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		select {
		case <-r.Context().Done():
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			_ = out.SetWriteDeadline(time.Now().Add(toWrite))
			if _, err := w.Write(m); err != nil || out.Flush() != nil {
				return
			}
		}
	}
}

// join adds a client, whose first message is all that the others know; nil if
// there are too many.
func (l *live) join() chan []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.clients) >= maxClients {
		return nil
	}
	if l.stop == nil {
		ctx, cancel := context.WithCancel(context.Background())
		l.stop, l.last = cancel, sample{}
		// From before the first sample, or what happens between would be missed.
		watch := l.sw.Watch(vswitch.EventFilter{Types: []vswitch.EventType{vswitch.TypePort, vswitch.TypeLink, vswitch.TypeConfig}})
		l.tick()
		go l.run(ctx, watch)
	}
	messages := make(chan []byte, maxPending)
	messages <- l.everything()
	l.clients[messages] = struct{}{}
	return messages
}

func (l *live) leave(messages chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.clients, messages)
	if len(l.clients) == 0 && l.stop != nil {
		l.stop()
		l.stop = nil
	}
}

// run samples at each tick, and passes events on as they happen.
func (l *live) run(ctx context.Context, watch *vswitch.Watch) {
	defer watch.Close()
	var following sync.WaitGroup
	following.Go(func() { l.follow(ctx, watch) })
	defer following.Wait()
	ticker := time.NewTicker(l.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		if ctx.Err() == nil {
			l.tell(l.tick())
		}
		l.mu.Unlock()
	}
}

// follow passes on what happens, at most a batch per tick: a link that flaps
// loses events here before it costs the browsers their time.
func (l *live) follow(ctx context.Context, watch *vswitch.Watch) {
	batch := make([]vswitch.Event, maxEvents)
	for {
		n, lost, err := watch.Read(ctx, batch)
		if err != nil {
			return
		}
		var b bytes.Buffer
		var events [][]byte
		if lost > 0 {
			events = append(events, message("event", control.Event{Type: control.EventsLost, Count: lost}))
		}
		for i := range batch[:n] {
			events = append(events, message("event", l.views.Event(&batch[i])))
		}
		for _, e := range events {
			b.Write(e)
		}
		l.mu.Lock()
		if ctx.Err() == nil {
			l.last.events = append(l.last.events, events...)
			l.last.events = l.last.events[max(0, len(l.last.events)-maxEvents):]
			l.tell(b.Bytes())
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(l.every / 2):
		}
	}
}

// tick takes a sample and returns the message of what has changed. The caller
// holds mu.
func (l *live) tick() []byte {
	defer l.busy()()
	ports, stats := l.views.Ports(), l.views.Stats()
	var b bytes.Buffer
	b.Write(message("status", l.views.Status()))
	if !reflect.DeepEqual(ports, l.last.ports) {
		l.last.ports = ports
		b.Write(message("ports", ports))
	}
	changed, all := []control.PortStats{}, make(map[string]control.PortStats, len(stats.Ports))
	for _, s := range stats.Ports {
		if old, ok := l.last.stats[s.Name]; !ok || !reflect.DeepEqual(old, s) {
			changed = append(changed, s)
		}
		all[s.Name] = s
	}
	l.last.stats, l.last.at = all, time.Since(l.began).Seconds()
	b.Write(message("stats", counters{l.last.at, changed}))
	return b.Bytes()
}

// counters are those of the ports that have counted something.
type counters struct {
	At    float64             `json:"at"` // seconds, to be compared with each other only
	Ports []control.PortStats `json:"ports"`
}

// everything is the message for a new client. The caller holds mu.
func (l *live) everything() []byte {
	var b bytes.Buffer
	b.Write(message("status", l.views.Status()))
	b.Write(message("ports", l.last.ports))
	all := counters{l.last.at, []control.PortStats{}}
	for _, s := range l.last.stats {
		all.Ports = append(all.Ports, s)
	}
	b.Write(message("stats", all))
	for _, e := range l.last.events {
		b.Write(e)
	}
	return b.Bytes()
}

// tell gives a message to each client, and hangs up on those who are behind. The
// caller holds mu.
func (l *live) tell(m []byte) {
	for c := range l.clients {
		select {
		case c <- m:
		default:
			delete(l.clients, c)
			close(c)
		}
	}
}

// message is a server-sent event. JSON of package json has no line breaks.
func message(name string, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal("not shown: " + err.Error())
	}
	return append(append([]byte("event: "+name+"\ndata: "), data...), "\n\n"...)
}
