package port

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// dgramLink is a started Dgram with its reports, and where its station shall be.
type dgramLink struct {
	*Dgram
	t       *testing.T
	reports chan Link
}

func startedDgram(t *testing.T) *dgramLink {
	t.Helper()
	return lookingEvery(t, lookAgain)
}

func lookingEvery(t *testing.T, pause time.Duration) *dgramLink {
	t.Helper()
	path := socketPath(t)
	d, err := OpenDgram(DgramConfig{Listen: path, Dial: path + "vm", MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	d.every = pause
	l := &dgramLink{d, t, make(chan Link, 100)}
	d.Start(func(x Link) { l.reports <- x })
	t.Cleanup(func() { _ = d.Close() })
	return l
}

// becomes waits for the report that the link is up or down.
func (l *dgramLink) becomes(up bool) {
	l.t.Helper()
	select {
	case x := <-l.reports:
		if now, err := l.Link(); x.Up != up || x.MTU != 1500 || err != nil || now != x {
			l.t.Fatalf("reported %+v, is %+v, %v; want up %v", x, now, err, up)
		}
	case <-time.After(patience):
		l.t.Fatalf("nothing reported; want up %v; %+v", up, l.Info())
	}
}

// station binds the socket of the station, as QEMU does: the file of the one
// before is removed, and its own stays when it ends.
func (l *dgramLink) station() *net.UnixConn {
	l.t.Helper()
	_ = os.Remove(l.path)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.path, Net: "unixgram"})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func (l *dgramLink) transmit(b []byte) frame.DropReason {
	out := []Out{{Frame: &frame.Frame{Bytes: b}}}
	l.Transmit(out)
	return out[0].Reason
}

// say sends as the station c.
func (l *dgramLink) say(c *net.UnixConn, frames ...[]byte) {
	l.t.Helper()
	for _, f := range frames {
		if _, err := c.WriteTo(f, &net.UnixAddr{Name: l.listen, Net: "unixgram"}); err != nil {
			l.t.Error(err)
		}
	}
}

// receives reads batches until it has the frames, in order.
func (l *dgramLink) receives(want ...[]byte) {
	l.t.Helper()
	for b := newBatch(); len(want) > 0; want = want[b.N:] {
		if err := l.ReadBatch(b); err != nil || b.N == 0 || b.N > len(want) {
			l.t.Fatalf("%d frames, %v; want %d", b.N, err, len(want))
		}
		for i := range b.Live() {
			same(l.t, b.Frames[i].Bytes, want[i])
			if b.Frames[i].Offload != (frame.Offload{}) {
				l.t.Errorf("frame %d owes %+v", i, b.Frames[i].Offload)
			}
		}
	}
}

func nextDatagram(t *testing.T, c *net.UnixConn) []byte {
	t.Helper()
	b := make([]byte, 1<<17)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestDgramCarriesAFrameInADatagram(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	var in [][]byte
	for n := range 100 {
		in = append(in, untagged(14+n))
	}
	in = append(in, untagged(frame.MaxTaggedLen))
	go l.say(c, in...)
	l.receives(in...)
	for _, f := range in {
		if why := l.transmit(f); why != frame.Keep {
			t.Fatal(why)
		}
		same(t, nextDatagram(t, c), f)
	}
}

func TestDgramRendersTags(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	out := []Out{{Frame: &frame.Frame{Bytes: untagged(60)}, Tag: TagPush, TCI: 7}}
	if l.Transmit(out); out[0].Reason != frame.Keep {
		t.Fatal(out[0].Reason)
	}
	same(t, nextDatagram(t, c), slices.Concat(untagged(60)[:12], []byte{0x81, 0, 0, 7}, untagged(60)[12:]))
}

func TestDgramLinkFollowsTheStationsSocket(t *testing.T) {
	l := startedDgram(t)
	for l.Info().Failure == nil { // Nobody is there yet.
		time.Sleep(time.Millisecond)
	}
	for n := range 3 {
		if why := l.transmit(untagged(60)); why != frame.DropLinkDown {
			t.Errorf("nobody is there, but the frame: %v", why)
		}
		c := l.station()
		l.becomes(true)
		if err := l.Info().Failure; err != nil {
			t.Errorf("connected, but it says %v", err)
		}
		if n == 0 {
			_ = os.Remove(l.path) // It goes in an orderly way.
		}
		_ = c.Close()
		l.becomes(false)
		if i := l.Info(); i.Connections != uint64(n+1) || i.Ended[EndClosed] != uint64(n+1) || i.Failure == nil {
			t.Errorf("%+v", i)
		}
	}
}

func TestDgramServesAStationThatStartsAgain(t *testing.T) {
	l := startedDgram(t)
	_ = l.station().Close()
	for range 3 {
		c := l.station()
		for deadline := time.Now().Add(patience); ; {
			if time.Now().After(deadline) {
				t.Fatalf("nothing reaches the new station: %+v", l.Info())
			}
			l.transmit(untagged(60))
			_ = c.SetDeadline(time.Now().Add(10 * time.Millisecond))
			if n, err := c.Read(make([]byte, 100)); err == nil && n == 60 {
				break
			}
		}
		l.say(c, untagged(77))
		l.receives(untagged(77))
		_ = c.Close()
	}
}

func TestDgramLooksForItsStationAtOnceIfThereIsReason(t *testing.T) {
	l := lookingEvery(t, time.Hour)
	for l.Info().Failure == nil { // The look at the start is over.
		time.Sleep(time.Millisecond)
	}
	go func() {
		for b := newBatch(); l.ReadBatch(b) == nil; {
		}
	}()
	c := l.station()
	l.say(c, untagged(60))
	l.becomes(true)
	_ = c.Close()
	l.transmit(untagged(60))
	l.becomes(false)
	if n := l.Info().Lost; n != 1 {
		t.Errorf("%d frames lost, want 1", n)
	}
}

func TestDgramTakesFramesFromItsStationOnly(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	stranger, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: l.path + "2", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.WriteTo(untagged(60), &net.UnixAddr{Name: l.listen, Net: "unixgram"}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a stranger sends: %v", err)
	}
	l.say(c, untagged(61))
	l.receives(untagged(61))
}

func TestDgramCountsWhatIsTooLongAndHandsOnWhatIsShort(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	go l.say(c, untagged(60), make([]byte, frame.MaxTaggedLen+1), nil, make([]byte, 13), make([]byte, 100_000), untagged(60))
	l.receives(untagged(60), nil, make([]byte, 13), untagged(60))
	if n := l.Info().TooLong; n != 2 || l.ReceiveErrors() != 2 {
		t.Errorf("%d are too long, %d errors", n, l.ReceiveErrors())
	}
}

func TestDgramReaderThatStopsFillsItsOwnQueue(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	sent, f := 0, untagged(1000)
	number := func(n int) { binary.BigEndian.PutUint32(f[20:], uint32(n)) }
	for why := frame.Keep; why == frame.Keep; {
		number(sent)
		if why = l.transmit(f); why == frame.Keep {
			sent++
		} else if why != frame.DropQueueFull {
			t.Fatal(why)
		}
	}
	if sent < halfQueue/1004 {
		t.Errorf("the queue took %d frames", sent)
	}
	// What was taken arrives, in order; what came too late is what is missing.
	for n := range sent {
		if got := binary.BigEndian.Uint32(nextDatagram(t, c)[20:]); got != uint32(n) {
			t.Fatalf("got frame %d, want %d", got, n)
		}
	}
	if n := l.Info().Lost; n != 0 {
		t.Errorf("%d frames lost", n)
	}
}

// The kernel takes along what it had, all else is counted.
func TestDgramCountsFramesThatFindNobody(t *testing.T) {
	raw, err := os.ReadFile("/proc/sys/net/unix/max_dgram_qlen")
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	sent := 0
	for f := untagged(1000); l.transmit(f) == frame.Keep; sent++ {
	}
	_ = c.Close()
	l.becomes(false)
	// The writer may still be at its half.
	for deadline := time.Now().Add(patience); int(l.Info().Lost) < sent-kernel-1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d frames of %d lost", l.Info().Lost, sent)
		}
	}
}

func TestDgramCountsWhatIsQueuedWhenTheStationGoes(t *testing.T) {
	path := socketPath(t)
	d, err := OpenDgram(DgramConfig{Listen: path, Dial: path + "vm"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.meet(nil, func(Link) {}) // Nothing is started that could empty the queue.
	d.Transmit([]Out{{Frame: &frame.Frame{Bytes: untagged(60)}}, {Frame: &frame.Frame{Bytes: untagged(61)}}})
	d.meet(unix.ECONNREFUSED, func(Link) {})
	if i := d.Info(); i.Lost != 2 || i.Ended[EndClosed] != 1 || i.Connected {
		t.Errorf("%+v", i)
	}
}

func TestDgramCloseEndsAllAndRemovesTheSocket(t *testing.T) {
	for _, full := range []bool{false, true} {
		l := startedDgram(t)
		l.station()
		l.becomes(true)
		for f := untagged(1000); full && l.transmit(f) == frame.Keep; {
		}
		endsWithClose(t, l, l.listen)
	}
}

func TestDgramReplacesAStaleSocketOnly(t *testing.T) {
	l := startedDgram(t)
	if st, err := os.Lstat(l.listen); err != nil || st.Mode() != os.ModeSocket|0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	for _, met := range []bool{false, true} { // Then it refuses questions of others.
		if met {
			l.station()
			l.becomes(true)
		}
		_, err := OpenDgram(DgramConfig{Listen: l.listen})
		refused(t, err, ErrBusy, l.listen, "another program listens")
		_, err = OpenStream(StreamConfig{Listen: l.listen})
		refused(t, err, ErrBusy, l.listen, "another program listens")
	}
	s := listening(t)
	_, err := OpenDgram(DgramConfig{Listen: s.Stream.path})
	refused(t, err, ErrBusy, "another program listens")

	dead, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socketPath(t), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	stale := dead.LocalAddr().String()
	_ = dead.Close()
	d, err := OpenDgram(DgramConfig{Listen: stale, Dial: stale + "vm"})
	if err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
}

func TestDgramDoesNotAllocatePerFrame(t *testing.T) {
	l := startedDgram(t)
	c := l.station()
	l.becomes(true)
	b, out := newBatch(), []Out{{Frame: &frame.Frame{Bytes: untagged(1000)}}}
	to, echo := &unix.SockaddrUnix{Name: l.listen}, make([]byte, 2000)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	read := func(fd uintptr) bool { _, err = unix.Read(int(fd), echo); return err != unix.EAGAIN }
	if err := raw.Control(func(fd uintptr) { err = unix.Connect(int(fd), to) }); err != nil {
		t.Fatal(err)
	}
	write := func(fd uintptr) bool { _, err = unix.Write(int(fd), echo[:1000]); return true }
	if n := testing.AllocsPerRun(200, func() {
		l.Transmit(out)
		_ = raw.Read(read)
		_ = raw.Write(write)
		_ = l.ReadBatch(b)
	}); n != 0 || err != nil || b.N != 1 {
		t.Errorf("%v allocations, %v", n, err)
	}
}
