package vswitch

// Event is something that happened to a port.
type Event struct {
	Kind EventKind
	Port string
	Err  error // why, for PortGone
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	PortAdded EventKind = iota
	PortRemoved
	PortGone // the device went away by itself; PortRemoved follows
	LinkUp
	LinkDown
)

// String names the kind.
func (k EventKind) String() string {
	return [...]string{"port added", "port removed", "port gone", "link up", "link down"}[k]
}

// tell passes an event on. The caller holds mu, which keeps them in order.
func (s *Switch) tell(e Event) {
	if s.notify != nil {
		s.notify(e)
	}
}
