package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/frame"
)

// link is a started stream with its reports.
type link struct {
	*Stream
	t       *testing.T
	path    string
	reports chan Link
}

func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw") // A socket's path must be short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func listening(t *testing.T) *link {
	t.Helper()
	path := socketPath(t)
	return started(t, StreamConfig{Listen: path, MTU: 1500}, path)
}

func started(t *testing.T, cfg StreamConfig, path string) *link {
	t.Helper()
	s, err := OpenStream(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := &link{s, t, path, make(chan Link, 100)}
	s.Start(func(x Link) { l.reports <- x })
	t.Cleanup(func() { _ = s.Close() })
	return l
}

// becomes waits for the report that the link is up or down.
func (l *link) becomes(up bool) {
	l.t.Helper()
	select {
	case x := <-l.reports:
		now, err := l.Link()
		if x.Up != up || x.MTU != 1500 || !x.AdminUp || err != nil || now != x {
			l.t.Fatalf("reported %+v, is %+v, %v; want up %v", x, now, err, up)
		}
	case <-time.After(patience):
		l.t.Fatalf("nothing reported; want up %v", up)
	}
}

// connect is the station.
func (l *link) connect() net.Conn {
	l.t.Helper()
	c, err := net.Dial("unix", l.path)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func (l *link) sends(tag TagAction, f *frame.Frame) frame.DropReason {
	out := []Out{{Frame: f, Tag: tag, TCI: 7}}
	l.Transmit(out)
	return out[0].Reason
}

// receives reads batches until it has the frames, in order.
func (l *link) receives(want ...[]byte) {
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

// reading receives until the stream is closed.
func (l *link) reading() <-chan []byte {
	got := make(chan []byte, 100)
	go func() {
		for b := newBatch(); l.ReadBatch(b) == nil; {
			for _, f := range b.Live() {
				got <- bytes.Clone(f.Bytes)
			}
		}
	}()
	return got
}

func framed(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return b
}

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Error(err)
	}
}

// next is the next frame that the station gets.
func next(t *testing.T, c io.Reader) []byte {
	t.Helper()
	var n uint32
	if err := binary.Read(c, binary.BigEndian, &n); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func hangsUp(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection goes on")
	}
}

func TestStreamCarriesFramesBothWays(t *testing.T) {
	l := listening(t)
	c := l.connect()
	l.becomes(true)
	var in [][]byte
	for n := range 100 {
		in = append(in, untagged(14+n))
	}
	in = append(in, untagged(14), untagged(frame.MaxTaggedLen))
	go write(t, c, framed(in...))
	l.receives(in...)
	for _, f := range in {
		if why := l.sends(TagKeep, &frame.Frame{Bytes: f}); why != frame.Keep {
			t.Fatal(why)
		}
		same(t, next(t, c), f)
	}
}

func TestStreamTakesFramesInPieces(t *testing.T) {
	l := listening(t)
	c := l.connect()
	in := [][]byte{untagged(60), untagged(1514), untagged(14)}
	go func() {
		for _, b := range framed(in...) {
			write(t, c, []byte{b})
		}
	}()
	l.receives(in...)
}

func TestStreamRendersTags(t *testing.T) {
	l := listening(t)
	c := l.connect()
	l.becomes(true)
	for tag, want := range map[TagAction][]byte{
		TagKeep: untagged(60),
		TagPush: slices.Concat(untagged(60)[:12], []byte{0x81, 0, 0, 7}, untagged(60)[12:]),
	} {
		if why := l.sends(tag, &frame.Frame{Bytes: untagged(60)}); why != frame.Keep {
			t.Fatal(why)
		}
		same(t, next(t, c), want)
	}
}

func TestStreamLinkFollowsTheConnection(t *testing.T) {
	l := listening(t)
	l.reading()
	for n := range 3 {
		if why := l.sends(TagKeep, &frame.Frame{Bytes: untagged(60)}); why != frame.DropLinkDown {
			t.Errorf("nobody is connected, but the frame: %v", why)
		}
		c := l.connect()
		l.becomes(true)
		_ = c.Close()
		l.becomes(false)
		if i := l.Info(); i.Connections != uint64(n+1) || i.Ended[EndClosed] != uint64(n+1) || l.ReceiveErrors() != 0 {
			t.Errorf("%+v", i)
		}
	}
}

func TestStreamEndsAConnectionForAReason(t *testing.T) {
	for _, c := range []struct {
		sent []byte
		why  End
	}{
		{[]byte{0, 0, 0, 0}, EndTooShort},
		{framed(untagged(14)[:13]), EndTooShort},
		{append(binary.BigEndian.AppendUint32(nil, frame.MaxTaggedLen+1), 1), EndTooLong},
		{[]byte{0xff, 0xff, 0xff, 0xff, 0}, EndTooLong},
		{[]byte{0, 0}, EndTruncated},
		{framed(untagged(60))[:20], EndTruncated},
		{nil, EndClosed},
	} {
		l := listening(t)
		got := l.reading()
		for range 2 { // The next station is served as if nothing had been.
			conn := l.connect()
			l.becomes(true)
			write(t, conn, append(framed(untagged(60)), c.sent...))
			_ = conn.(*net.UnixConn).CloseWrite()
			same(t, <-got, untagged(60))
			hangsUp(t, conn)
			l.becomes(false)
		}
		var want [NumEnds]uint64
		want[c.why] = 2
		if i := l.Info(); i.Ended != want {
			t.Errorf("% x: ended %v, want two of %v", c.sent, i.Ended, c.why)
		}
		if n := l.ReceiveErrors(); (n != 0) != (c.why != EndClosed) {
			t.Errorf("%v: %d receive errors", c.why, n)
		}
	}
}

func TestStreamReaderThatStopsFillsItsOwnQueue(t *testing.T) {
	l := listening(t)
	c := l.connect()
	l.becomes(true)
	sent, f := 0, &frame.Frame{Bytes: untagged(1000)}
	number := func(n int) { binary.BigEndian.PutUint32(f.Bytes[20:], uint32(n)) }
	for why := frame.Keep; why == frame.Keep; {
		number(sent)
		if why = l.sends(TagKeep, f); why == frame.Keep {
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
		if got := binary.BigEndian.Uint32(next(t, c)[20:]); got != uint32(n) {
			t.Fatalf("got frame %d, want %d", got, n)
		}
	}
	number(sent)
	if why := l.sends(TagKeep, f); why != frame.Keep {
		t.Errorf("there is room again, but the frame: %v", why)
	}
	if got := binary.BigEndian.Uint32(next(t, c)[20:]); got != uint32(sent) {
		t.Errorf("got frame %d, want %d", got, sent)
	}
}

func TestStreamCountsFramesThatAConnectionTookAlong(t *testing.T) {
	l := listening(t)
	c := l.connect()
	l.becomes(true)
	l.reading()
	f := &frame.Frame{Bytes: untagged(1000)}
	for l.sends(TagKeep, f) == frame.Keep {
	}
	_ = c.Close()
	l.becomes(false)
	// What the socket had taken was on its way.
	if n := l.Info().Lost; n == 0 {
		t.Error("no frame is counted as lost")
	}
}

func TestRecordsCountsWhatWasNotWritten(t *testing.T) {
	b := framed(untagged(14), untagged(60), untagged(20))
	for n, want := range map[int]uint64{0: 3, 17: 3, 18: 2, 81: 2, 82: 1, len(b) - 1: 1, len(b): 0} {
		if got := records(b, n); got != want {
			t.Errorf("%d bytes written: %d left, want %d", n, got, want)
		}
	}
}

func TestStreamServesOneStationAtATime(t *testing.T) {
	l := listening(t)
	first := l.connect()
	l.becomes(true)
	hangsUp(t, l.connect())
	if i := l.Info(); i.Refused != 1 || i.Connections != 1 {
		t.Errorf("%+v", i)
	}
	write(t, first, framed(untagged(60)))
	l.receives(untagged(60))
}

func TestStreamDialsAgain(t *testing.T) {
	path := socketPath(t)
	l := started(t, StreamConfig{Dial: path, MTU: 1500}, path)
	l.reading()
	for l.Info().Failure == nil { // Nobody is there yet.
		time.Sleep(time.Millisecond)
	}
	for range 2 {
		server, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.becomes(true)
		if err := l.Info().Failure; err != nil {
			t.Errorf("connected, but it says %v", err)
		}
		_, _ = server.Close(), c.Close()
		l.becomes(false)
	}
}

// endsWithClose checks that Close ends a waiting ReadBatch, and that nothing of the
// port is left, its socket included.
func endsWithClose(t *testing.T, p Port, socket string) {
	t.Helper()
	done := make(chan error)
	go func() { done <- p.ReadBatch(newBatch()) }()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err != os.ErrClosed {
		t.Errorf("ReadBatch: %v", err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := p.Close(); err != os.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
}

func TestStreamCloseEndsAllAndRemovesTheSocket(t *testing.T) {
	for _, connected := range []bool{false, true} {
		l := listening(t)
		if connected {
			l.connect()
			l.becomes(true)
		}
		endsWithClose(t, l, l.path)
		if i := l.Info(); i.Ended != [NumEnds]uint64{} {
			t.Errorf("%+v", i)
		}
	}
	path := socketPath(t)
	l := started(t, StreamConfig{Dial: path}, path)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamSocketIsOpenToUserAndGroup(t *testing.T) {
	l := listening(t)
	st, err := os.Lstat(l.path)
	if err != nil || st.Mode() != os.ModeSocket|0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestStreamReplacesAStaleSocketOnly(t *testing.T) {
	l := listening(t)
	_, err := OpenStream(StreamConfig{Listen: l.path})
	refused(t, err, ErrBusy, l.path, "another program listens")
	l.connect()

	file := socketPath(t)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = OpenStream(StreamConfig{Listen: file})
	refused(t, err, ErrExists, file, "not a socket", "remove it")

	_, err = OpenStream(StreamConfig{Listen: "/nowhere/s"})
	refused(t, err, os.ErrNotExist, "make the directory")

	stale := socketPath(t)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	started(t, StreamConfig{Listen: stale, MTU: 1500}, stale).connect()
}

func TestStreamHasAnMTUAndNothingElseToChange(t *testing.T) {
	l := listening(t)
	if err := l.SetLink(LinkChange{MTU: new(9000)}); err != nil {
		t.Error(err)
	}
	if now, _ := l.Link(); now.MTU != 9000 {
		t.Errorf("%+v", now)
	}
	refused(t, l.SetLink(LinkChange{Up: new(false)}), ErrNotSupported, l.path, "discarding")
}

func TestStreamDoesNotAllocatePerFrame(t *testing.T) {
	l := listening(t)
	c := l.connect()
	l.becomes(true)
	b, f := newBatch(), &frame.Frame{Bytes: untagged(1000)}
	out, record := []Out{{Frame: f}}, framed(f.Bytes)
	echo := make([]byte, len(record))
	if n := testing.AllocsPerRun(200, func() {
		l.Transmit(out)
		_, _ = io.ReadFull(c, echo)
		_, _ = c.Write(record)
		_ = l.ReadBatch(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzStreamFraming feeds bytes as a hostile station sends them and compares
// with what the framing says in a few lines.
func FuzzStreamFraming(f *testing.F) {
	f.Add(framed(untagged(14), untagged(60), untagged(2000)))
	f.Add([]byte{0, 0, 0, 13, 1})
	f.Add([]byte{0, 1, 0, 18})
	f.Add(framed(untagged(60))[:30])
	s, err := OpenStream(StreamConfig{Dial: "/nowhere"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	b := newBatch()
	f.Fuzz(func(t *testing.T, data []byte) {
		s.in.Reset(bytes.NewReader(data))
		var why End
		for ok := true; ok; {
			b.N = 0
			why, ok = s.fill(b)
			for _, got := range b.Live() {
				if n := int(binary.BigEndian.Uint32(data)); !bytes.Equal(got.Bytes, data[4:4+n]) {
					t.Fatal("another frame than was sent")
				}
				data = data[4+len(got.Bytes):]
			}
		}
		want := EndTruncated
		switch {
		case len(data) == 0:
			want = EndClosed
		case len(data) < 4:
		case binary.BigEndian.Uint32(data) < 14:
			want = EndTooShort
		case binary.BigEndian.Uint32(data) > 65553:
			want = EndTooLong
		}
		if why != want {
			t.Fatalf("ended for %v, want %v, at % x", why, want, data[:min(8, len(data))])
		}
	})
}
