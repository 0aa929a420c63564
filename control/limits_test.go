package control

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// patience is how long a test waits for what must happen far sooner.
const patience = 20 * time.Second

// serveWithin serves an empty switch with limits and returns a connection to it.
func serveWithin(t *testing.T, l limits) (*Server, *net.UnixConn) {
	t.Helper()
	path := socketPath(t)
	s := newServer(newSwitch(t, nil), Daemon{}, slog.New(slog.DiscardHandler), l)
	listener := listenAt(t, path)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		_ = s.http.Close()
		<-served
	})
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestLimitsAreAsPromised(t *testing.T) {
	l := defaultLimits
	if l.read <= 0 || l.read > 10*time.Second || l.write <= 0 || l.write > time.Minute || l.header <= 0 || l.header > 64<<10 {
		t.Errorf("%+v", l)
	}
}

func TestClientThatIsSlowToAskIsCutOff(t *testing.T) {
	for name, begin := range map[string]string{
		"nothing":         "",
		"half a header":   "GET /v1/status HT",
		"half a body":     "POST /v1/fdb/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{",
		"no next request": "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, c := serveWithin(t, limits{read: 50 * time.Millisecond, write: patience, header: 8 << 10})
			if _, err := io.WriteString(c, begin); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Errorf("not cut off: %v", err)
			}
		})
	}
}

func TestClientThatDoesNotReadItsAnswerIsCutOff(t *testing.T) {
	s, c := serveWithin(t, limits{read: patience, write: 50 * time.Millisecond, header: 8 << 10})
	for i := range 10_000 { // More than a socket's buffers hold.
		if err := s.sw.AddFDB(frame.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, 10, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(c, "GET /v1/fdb HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// No event is asked for, so poll(2) returns only when the server hangs up.
	var n int
	_ = raw.Control(func(fd uintptr) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, int(patience.Milliseconds()))
	})
	if err != nil || n != 1 {
		t.Errorf("not cut off: %d, %v", n, err)
	}
}

func TestHeaderOverTheLimitIsRefused(t *testing.T) {
	_, c := serveWithin(t, defaultLimits)
	// net/http reads no more than it grants, so the rest may not go out.
	go io.WriteString(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 431" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestBodyOverTheLimitIsRefused(t *testing.T) {
	r := newRig(t)
	status, answer := r.ask("POST", "/v1/fdb/flush", strings.Repeat(" ", MaxRequest+1))
	if status != http.StatusRequestEntityTooLarge || !strings.Contains(answer, "larger than") {
		t.Errorf("%d %s", status, answer)
	}
	must(r.FlushFDB(t.Context(), FDBFlush{}))(t)
}

func TestHalfOpenConnectionsKeepNobodyOut(t *testing.T) {
	r := newRig(t)
	var last net.Conn
	for i := range 2 * MaxConnections {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		// Some say nothing, some begin a header, some begin a body.
		begin := []string{"", "GET /v1/status HT", "POST /v1/fdb/flush HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{"}[i%3]
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		last = c
	}
	must(r.Status(t.Context()))(t)

	// The youngest of them was not cut off to make that possible.
	if _, err := io.WriteString(last, "TP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 15)
	if _, err := io.ReadFull(last, answer); err != nil || string(answer) != "HTTP/1.1 200 OK" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestBusyConnectionsAreNotCutOff(t *testing.T) {
	cs := &connections{}
	var all []*connection
	for range MaxConnections {
		c := &connection{UnixConn: new(net.UnixConn), from: cs}
		if !cs.admit(c) {
			t.Fatal("refused below the limit")
		}
		all = append(all, c)
		if !c.begin() {
			t.Fatal("an open connection cannot begin")
		}
	}
	if cs.admit(&connection{UnixConn: new(net.UnixConn), from: cs}) {
		t.Error("admitted although all are busy")
	}
	all[3].end()
	if !cs.admit(&connection{UnixConn: new(net.UnixConn), from: cs}) {
		t.Error("refused although one is idle")
	}
	if all[3].begin() {
		t.Error("a request is carried out on the connection that was cut off")
	}
	if !all[4].begin() {
		t.Error("another connection was cut off")
	}
}

func TestProcessWithMostConnectionsMakesRoom(t *testing.T) {
	cs := &connections{}
	admit := func(pid int) *connection {
		c := &connection{UnixConn: new(net.UnixConn), from: cs, pid: pid}
		if !cs.admit(c) {
			t.Fatal("refused although some are idle")
		}
		return c
	}
	quiet := admit(1)
	for range 3 * MaxConnections {
		admit(2)
	}
	if !quiet.begin() {
		t.Error("the only connection of a process had to make room for those of another")
	}
}

func TestErrorOfAcceptDoesNotEndTheServer(t *testing.T) {
	// Without listen(2), accept(2) fails with EINVAL, which net takes to be the end.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	bare := must(net.FileListener(f))(t)
	l := &connections{UnixListener: bare.(*net.UnixListener)}
	_, err = l.Accept()
	if e, ok := err.(interface{ Temporary() bool }); !ok || !e.Temporary() { // What net/http asks.
		t.Errorf("%v: net/http would not try again", err)
	}
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want net.ErrClosed", err)
	}
}
