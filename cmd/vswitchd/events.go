package main

import (
	"log/slog"
	"sync/atomic"

	vswitch "github.com/vswitchd/vswitchd/switch"
)

// eventLog logs what happens to ports, without the switch waiting for it: what
// comes faster than it can be written is counted instead.
type eventLog struct {
	log    *slog.Logger
	events chan vswitch.Event
	lost   atomic.Uint64
	stop   chan struct{}
	done   chan struct{}
}

func logEvents(log *slog.Logger) *eventLog {
	// Room for each port of a full switch to come, go down and go.
	l := &eventLog{log: log, events: make(chan vswitch.Event, 4096), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// notify is vswitch.Options.Notify.
func (l *eventLog) notify(e vswitch.Event) {
	select {
	case l.events <- e:
	default:
		l.lost.Add(1)
	}
}

// close returns once everything is written. A notify that comes later is lost.
func (l *eventLog) close() {
	close(l.stop)
	<-l.done
}

func (l *eventLog) run() {
	defer close(l.done)
	for {
		select {
		case e := <-l.events:
			l.write(e)
		case <-l.stop:
			for range len(l.events) {
				l.write(<-l.events)
			}
			l.writeLost()
			return
		}
		l.writeLost()
	}
}

func (l *eventLog) writeLost() {
	if n := l.lost.Swap(0); n > 0 {
		l.log.Warn("events lost: the log is too slow", "events", n)
	}
}

func (l *eventLog) write(e vswitch.Event) {
	switch e.Kind {
	case vswitch.PortAdded:
		l.log.Info("port added", "port", e.Port)
	case vswitch.PortRemoved:
		l.log.Info("port removed", "port", e.Port)
	case vswitch.PortGone:
		l.log.Warn("port gone", "port", e.Port, "err", e.Err)
	case vswitch.LinkUp:
		l.log.Info("link up", "port", e.Port)
	case vswitch.LinkDown:
		l.log.Info("link down", "port", e.Port)
	}
}
