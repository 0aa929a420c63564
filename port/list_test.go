package port

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestTAPsAreListedAsTheyAre(t *testing.T) {
	m, _ := watching(t)
	foreign(t, "list0", unix.IFF_NO_PI)
	foreign(t, "list1", unix.IFF_NO_PI|unix.IFF_MULTI_QUEUE)
	rawTUN(t, "list1", unix.IFF_TAP|unix.IFF_NO_PI|unix.IFF_MULTI_QUEUE)
	rawTUN(t, "list2", unix.IFF_TUN)
	rawTUN(t, "list3", unix.IFF_TAP)
	ipLink(t, "list0", func(l netlink.Link) error {
		return errors.Join(netlink.LinkSetGroup(l, 7), netlink.LinkSetAlias(l, "a b"))
	})
	want := []HostLink{
		{Ifname: "list0", Alias: "a b", Group: 7, Persistent: true},
		{Ifname: "list1", Persistent: true, InUse: true},
		{Ifname: "list3", InUse: true},
	}
	for i := range want {
		want[i].Kind, want[i].Index = KindTUN, linkNamed(t, want[i].Ifname).Index
	}
	got, err := m.Links(KindTUN)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	refused(t, got[2].Occupied(), ErrBusy, "in use by port.test")
}

// A list that is made while links come and go is made again.
func TestInterruptedDumpIsRepeatedAndCounted(t *testing.T) {
	m, _ := watching(t)
	const stay = 60 // more than fit in one message
	for i := range stay {
		rawTUN(t, fmt.Sprint("dump", i), unix.IFF_TAP)
	}
	stop, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err == nil {
				err = errors.Join(setIff(fd, "passing0", unix.IFF_TAP), unix.Close(fd))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	deadline := time.Now().Add(patience)
	for m.Resyncs() == 0 && time.Now().Before(deadline) {
		links, err := m.Links(KindTUN)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range links {
			if l.Ifname != "passing0" {
				n++
			}
		}
		if n != stay {
			t.Fatalf("%d links listed, want %d", n, stay)
		}
	}
	close(stop)
	<-done
	if m.Resyncs() == 0 {
		t.Error("no dump was interrupted, or it was not counted")
	}
}

func TestDumpThatIsAlwaysInterruptedFails(t *testing.T) {
	tries := 0
	again, err := whole(func() error { tries++; return nl.ErrDumpInterrupted })
	if err == nil || again != dumpTries || tries != dumpTries+1 {
		t.Errorf("%d, %d tries, %v", again, tries, err)
	}
}

func TestNotifyTellsOfOwnLinksAndLostEvents(t *testing.T) {
	m, _ := watching(t)
	told := make(chan bool, 1000)
	m.Notify(func() { told <- true })
	<-told // at once
	foreign(t, "note0", unix.IFF_NO_PI)
	select {
	case <-told:
	case <-time.After(patience):
		t.Fatal("a new link was not told of")
	}
	if err := m.Close(); err != nil { // No more events of the kernel's.
		t.Fatal(err)
	}
	for len(told) > 0 {
		<-told
	}
	m.tell(map[linkKey]bool{{5, 3}: true}, 0)
	if len(told) != 0 {
		t.Error("told of a link of another namespace")
	}
	m.tell(map[linkKey]bool{{5, 3}: true, {OwnNSID, 3}: true}, 0)
	m.tell(nil, 1)
	if len(told) != 2 {
		t.Errorf("told %d times, want 2", len(told))
	}
}
