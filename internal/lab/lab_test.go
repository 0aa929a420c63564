package lab

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// up makes the lab that a file describes. Its hosts are as they come: with IPv6.
func up(t *testing.T, file string) *Lab {
	t.Helper()
	nettest.Need(t)
	c, err := config.ParseLab("test.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	l, err := Up(t.Context(), c, socketDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// socketDir is a directory whose path is short.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func addr(l *Lab, host string) netip.Addr { return l.Host(host).Addr.Addr() }

func wantPing(t *testing.T, l *Lab, from, to string) time.Duration {
	t.Helper()
	rtt, err := l.Host(from).Ping(addr(l, to), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return rtt
}

func wantNoPing(t *testing.T, l *Lab, from, to string) {
	t.Helper()
	if _, err := l.Host(from).Ping(addr(l, to), 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s reached %s, or %v", from, to, err)
	}
}

func TestHostsReachTheirVLANByPerfectAndImpairedLinks(t *testing.T) {
	l := up(t, `
switch: {vlan_aware: true}
hosts:
- {name: web, ip: [10.0.0.1/24], access: 10}
- {name: slow, ip: [10.0.0.2/24], access: 10, mtu: 1400, mac: 02:00:00:00:00:02, impair: {delay: 20ms}}
- {name: cam, ip: [10.0.0.3/24], access: 20, impair: {delay: 1ms}}
`)
	wantPing(t, l, "web", "slow")
	if rtt := wantPing(t, l, "slow", "web"); rtt < 40*time.Millisecond {
		t.Errorf("a round trip takes %v, want 40ms or more", rtt)
	}
	wantNoPing(t, l, "web", "cam")
	wantNoPing(t, l, "cam", "slow")
	s := l.State("socket").Host("slow")
	if s.Impair == nil || s.Impair.Receive.Frames == 0 || s.Impair.Transmit.Frames == 0 || s.Ifname != config.HostIfname {
		t.Errorf("%+v", s)
	}
	if info, _, err := l.Switch.Port("slow"); err != nil || info.Config.MTU != 1400 || info.Config.Kind != config.KindStream {
		t.Errorf("%+v, %v", info.Config, err)
	}
}

func TestLossEndsByItself(t *testing.T) {
	l := up(t, `
switch: {vlan_aware: false}
hosts:
- {name: a, ip: [10.0.0.1/24]}
- {name: b, ip: [10.0.0.2/24], impair: {loss: 100%, for: 1s}}
`)
	wantNoPing(t, l, "a", "b")
	if s := l.State("").Host("b"); s.Impair.Transmit.Lost == 0 || s.Impair.Ends == nil {
		t.Errorf("%+v", s.Impair)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := l.Host("a").Ping(addr(l, "b"), 200*time.Millisecond)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// What is wrong in a frame is for the station to find: neither the switch nor an
// offload makes it right.
func TestCorruptFramesAreNotAnswered(t *testing.T) {
	l := up(t, `
switch: {vlan_aware: false}
hosts:
- {name: a, ip: [10.0.0.1/24], impair: {delay: 1ms}}
- {name: b, ip: [10.0.0.2/24]}
- {name: c, ip: [10.0.0.3/24], impair: {corrupt: 100%}}
`)
	wantPing(t, l, "a", "b")
	wantNoPing(t, l, "b", "c")
	if s := l.State("").Host("c"); s.Impair.Transmit.Corrupted == 0 {
		t.Errorf("%+v", s.Impair)
	}
}

// A transport that repairs all that can go wrong has the last word.
func TestTCPGetsThroughAnImpairedLink(t *testing.T) {
	l := up(t, `
switch: {vlan_aware: false}
hosts:
- {name: a, ip: [10.0.0.1/24]}
- {name: b, ip: [10.0.0.2/24], impair: {loss: 1%, duplicate: 2%, corrupt: 1%, delay: 1ms, jitter: 1ms, seed: 7}}
`)
	const size = 1 << 20
	var listener net.Listener
	err := l.Host("b").NS.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "10.0.0.2:80")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan [sha256.Size]byte, 1)
	go func() {
		h := sha256.New()
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(h, c) // The sum tells.
			_ = c.Close()
		}
		got <- [sha256.Size]byte(h.Sum(nil))
	}()
	var c net.Conn
	err = l.Host("a").NS.Do(func() (err error) {
		d := net.Dialer{Timeout: time.Minute}
		c, err = d.Dial("tcp4", "10.0.0.2:80")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, size)
	_, _ = rand.Read(sent)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Write(sent); err != nil {
		t.Error(err)
	}
	_ = c.Close()
	if <-got != sha256.Sum256(sent) {
		t.Error("what was received is not what was sent")
	}
	if s := l.State("").Host("b").Impair.Transmit; s.Lost == 0 || s.Duplicated == 0 || s.Corrupted == 0 {
		t.Errorf("nothing went wrong: %+v", s)
	}
}

func TestLabThatCannotBeLeavesNothing(t *testing.T) {
	nettest.Need(t)
	c, err := config.ParseLab("test.yaml", []byte("switch: {vlan_aware: false}\nhosts:\n- {name: a, ip: [10.0.0.1/24]}\n- {name: b, impair: {loss: 1}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir := socketDir(t)
	if err := os.WriteFile(filepath.Join(dir, "b.link"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := Up(t.Context(), c, dir); err == nil || l != nil {
		t.Errorf("a lab without a socket for b: %v", err)
	}
}

func TestOneLabOfANameIsUp(t *testing.T) {
	path := filepath.Join(socketDir(t), "labs", "x")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Query(path); !errors.Is(err, ErrDown) {
		t.Errorf("before: %v", err)
	}
	if err := Down(path); !errors.Is(err, ErrDown) {
		t.Errorf("down before: %v", err)
	}
	d, err := Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Serve(func() *State { return &State{PID: 1 << 30, Socket: d.Socket()} })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Acquire(path); !errors.Is(err, ErrUp) {
		t.Errorf("a second lab: %v", err)
	}
	if s, err := Query(path); err != nil || s.Socket != filepath.Join(path, "control.sock") {
		t.Errorf("%+v, %v", s, err)
	}
	if err := d.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the directory is still there")
	}
}

func TestKilledLabIsClearedAway(t *testing.T) {
	for what, again := range map[string]func(path string) error{
		"down": Down,
		"up": func(path string) error {
			d, err := Acquire(path)
			if err != nil {
				return err
			}
			entries, err := os.ReadDir(path)
			if len(entries) > 0 {
				err = fmt.Errorf("left: %v", entries)
			}
			return errors.Join(err, d.Remove())
		},
	} {
		path := filepath.Join(socketDir(t), "x")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{stateSocket, "control.sock", "control.sock.lock", "web.link"} {
			if err := os.WriteFile(filepath.Join(path, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := again(path); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s leaves the directory", what)
		}
	}
}

func TestDirectoryOfSomebodyElseIsRefused(t *testing.T) {
	path := filepath.Join(socketDir(t), "x")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(path); err == nil {
		t.Error("a directory that others may read is taken")
	}
}
