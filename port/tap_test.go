package port

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestLinkDownIsNotFatal(t *testing.T) {
	tap, st, _ := attached(t)
	up, down := true, false
	for range 2 {
		if err := tap.SetLink(LinkChange{Up: &down}); err != nil {
			t.Fatal(err)
		}
		if why := transmit(tap, untagged(60), TagKeep, 0); why != frame.DropLinkDown {
			t.Error(why)
		}
		if err := tap.SetLink(LinkChange{Up: &up}); err != nil {
			t.Fatal(err)
		}
		// The station's socket was told of the link going down.
		if _, err := st.Recv(patience); !errors.Is(err, unix.ENETDOWN) {
			t.Fatal(err)
		}
		works(t, tap, st)
	}
	if n := tap.ReceiveErrors(); n != 0 {
		t.Errorf("%d receive errors", n)
	}
}

func TestEndOfNamespaceIsErrGone(t *testing.T) {
	ns := nettest.New(t)
	cfg := named("eth0")
	cfg.Netns = ns.Path()
	tap := open(t, cfg)
	got := make(chan error)
	go func() { got <- tap.ReadBatch(newBatch()) }()
	ns.Close()
	isGone(t, tap, <-got)
}

func TestDeletedLinkIsErrGone(t *testing.T) {
	tap, _, ns := attached(t)
	got := make(chan error)
	go func() { got <- tap.ReadBatch(newBatch()) }()
	if err := ns.Do(func() error { ipLink(t, "eth0", netlinkDel); return nil }); err != nil {
		t.Fatal(err)
	}
	isGone(t, tap, <-got)
}

func isGone(t *testing.T, tap *TAP, got error) {
	t.Helper()
	if got != ErrGone {
		t.Errorf("waiting ReadBatch: %v", got)
	}
	if err := tap.ReadBatch(newBatch()); err != ErrGone {
		t.Errorf("ReadBatch: %v", err)
	}
	if why := transmit(tap, untagged(60), TagKeep, 0); why != frame.DropPortGone {
		t.Errorf("Transmit: %v", why)
	}
	if _, err := tap.Link(); err != ErrGone {
		t.Errorf("Link: %v", err)
	}
	if _, err := tap.Info(); err != ErrGone {
		t.Errorf("Info: %v", err)
	}
	if err := tap.SetLink(LinkChange{}); err != ErrGone {
		t.Errorf("SetLink: %v", err)
	}
	if n := tap.ReceiveErrors(); n != 0 {
		t.Errorf("%d receive errors", n)
	}
}

func TestCloseEndsReadBatch(t *testing.T) {
	tap := open(t, named("close0"))
	got := make(chan error)
	go func() { got <- tap.ReadBatch(newBatch()) }()
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != os.ErrClosed {
		t.Errorf("waiting ReadBatch: %v", err)
	}
	_, linkErr := tap.Link()
	_, infoErr := tap.Info()
	for i, err := range []error{tap.ReadBatch(newBatch()), linkErr, infoErr, tap.SetLink(LinkChange{}), tap.Close()} {
		if err != os.ErrClosed {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestFromFD(t *testing.T) {
	origin := open(t, named("given0"))
	fd, err := unix.Dup(origin.fd)
	if err != nil {
		t.Fatal(err)
	}
	tap, err := FromFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := origin.Close(); err != nil {
		t.Fatal(err)
	}
	l := linkOf(t, tap)
	inject(t, l.Index, untagged(60))
	same(t, receive(t, tap, 1)[0], untagged(60))
	if l.Ifname != "given0" {
		t.Errorf("%+v", l)
	}
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
}

func TestFromFDRefuses(t *testing.T) {
	nettest.Need(t)
	dev, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dup := func(fd int) int {
		d, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, c := range map[string]struct {
		fd   int
		says string
	}{
		"no link":     {dev, "has no link"},
		"not a TAP":   {null, "not a TAP"},
		"TUN":         {dup(rawTUN(t, "fdtun0", unix.IFF_TUN|unix.IFF_NO_PI)), "layer 3"},
		"no vnet_hdr": {dup(rawTUN(t, "fdtap0", unix.IFF_TAP|unix.IFF_NO_PI)), "flags are [tap no_pi]"},
	} {
		_, err := FromFD(c.fd)
		refused(t, err, ErrNotSupported, c.says, "IFF_VNET_HDR")
		if !isClosed(c.fd) {
			t.Errorf("%s: the descriptor was left open", name)
		}
	}
}
