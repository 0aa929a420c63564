package main

import (
	"context"
	"log/slog"

	vswitch "github.com/vswitchd/vswitchd/switch"
)

// eventLog logs what happens to ports and links, without the switch waiting for
// it: what comes faster than it can be written is counted instead.
type eventLog struct {
	log    *slog.Logger
	events *vswitch.Watch
	done   chan struct{}
}

// logEvents logs until sw is closed.
func logEvents(sw *vswitch.Switch, log *slog.Logger) *eventLog {
	l := &eventLog{
		log: log, done: make(chan struct{}),
		events: sw.Watch(vswitch.EventFilter{Types: []vswitch.EventType{vswitch.TypePort, vswitch.TypeLink}}),
	}
	go l.run()
	return l
}

// wait returns once everything is written, which needs sw to be closed.
func (l *eventLog) wait() { <-l.done }

func (l *eventLog) run() {
	defer close(l.done)
	events := make([]vswitch.Event, 64)
	for {
		n, lost, err := l.events.Read(context.Background(), events)
		if err != nil {
			return
		}
		if lost > 0 {
			l.log.Warn("events lost: the log is too slow", "events", lost)
		}
		for _, e := range events[:n] {
			l.write(&e)
		}
	}
}

func (l *eventLog) write(e *vswitch.Event) {
	level, attrs := slog.LevelInfo, []any{}
	if e.Port != "" {
		attrs = append(attrs, "port", e.Port)
	}
	if e.From != e.To {
		attrs = append(attrs, "from", e.From, "to", e.To)
	}
	switch e.Kind {
	case vswitch.PortGone:
		level, attrs = slog.LevelWarn, append(attrs, "err", e.Err)
	case vswitch.LinkResync:
		level, attrs = slog.LevelWarn, append(attrs, "overruns", e.Count)
	case vswitch.LinkNotAttached:
		level, attrs = slog.LevelWarn, append(attrs, "err", e.Err)
	default:
	}
	//nolint:sloglint // The message is one of a few dozen.
	l.log.Log(context.Background(), level, e.Kind.Type().String()+" "+e.Kind.String(), attrs...)
}

// onOwnChange calls f whenever the running configuration may have changed without
// anybody having asked the daemon, until sw is closed: with a link that has gone,
// and took its port along, or is found under another name.
func onOwnChange(sw *vswitch.Switch, f func()) {
	changes := sw.Watch(vswitch.EventFilter{Types: []vswitch.EventType{vswitch.TypePort, vswitch.TypeLink}})
	go func() {
		events := make([]vswitch.Event, 64)
		for {
			n, lost, err := changes.Read(context.Background(), events)
			if err != nil {
				return
			}
			changed := lost > 0
			for _, e := range events[:n] {
				switch e.Kind {
				case vswitch.PortRemoved, vswitch.LinkRenamed, vswitch.LinkMoved:
					changed = true
				default:
				}
			}
			if changed {
				f()
			}
		}
	}()
}
