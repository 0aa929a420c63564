package port

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// linkMessage is the smallest RTM_NEWLINK there is.
func linkMessage(kind uint16, index uint32) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], index)
	return b
}

func TestEventsNameTheLink(t *testing.T) {
	for _, kind := range []uint16{unix.RTM_NEWLINK, unix.RTM_DELLINK} {
		events := map[linkKey]bool{}
		if !note(events, linkMessage(kind, 7), nil, &unix.SockaddrNetlink{}) || len(events) != 1 || !events[linkKey{OwnNSID, 7}] {
			t.Errorf("message %d: events %v", kind, events)
		}
	}
}

func TestEventsOfOtherProcessesAreNotBelieved(t *testing.T) {
	events := map[linkKey]bool{}
	if !note(events, linkMessage(unix.RTM_DELLINK, 7), nil, &unix.SockaddrNetlink{Pid: 99}) || len(events) != 0 {
		t.Errorf("events %v", events)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(linkMessage(unix.RTM_NEWLINK, 1), []byte{})
	f.Add(linkMessage(unix.RTM_DELNSID, 1), []byte{20, 0, 0, 0, 0, 0, 0, 0, 14, 1, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b, oob []byte) {
		note(map[linkKey]bool{}, b, oob, &unix.SockaddrNetlink{}) // must not panic
	})
}
