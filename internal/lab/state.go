package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
)

// State is what a lab that is up tells about itself.
type State struct {
	PID     int         `json:"pid"`
	Socket  string      `json:"socket"` // the control socket of its switch
	Started time.Time   `json:"started"`
	Hosts   []HostState `json:"hosts"`
}

// HostState is one host.
type HostState struct {
	Name   string         `json:"name"`
	PID    string         `json:"pid"` // names its network namespace, as netns.NS.PID
	Ifname string         `json:"ifname"`
	IP     []netip.Prefix `json:"ip,omitempty"`
	Impair *ImpairState   `json:"impair,omitempty"`
}

// ImpairState is what goes wrong on the link of a host. Directions are the
// switch's: it receives from the host.
type ImpairState struct {
	config.Impair
	// Ends is when nothing goes wrong any more; nil is never.
	Ends     *time.Time `json:"ends,omitempty"`
	Receive  WireStats  `json:"receive"`
	Transmit WireStats  `json:"transmit"`
}

// State returns that of the lab, whose switch is controlled at the socket.
func (l *Lab) State(socket string) *State {
	s := &State{PID: os.Getpid(), Socket: socket, Started: l.Started, Hosts: []HostState{}}
	for i, h := range l.Hosts {
		c := l.Config.Hosts[i]
		state := HostState{Name: h.Name, PID: h.NS.PID(), Ifname: h.Interface, IP: c.IP}
		if k := l.links[h.Name]; k != nil {
			state.Impair = &ImpairState{Impair: c.Impair, Receive: k.receive.load(), Transmit: k.transmit.load()}
			if !k.until.IsZero() {
				state.Impair.Ends = &k.until
			}
		}
		s.Hosts = append(s.Hosts, state)
	}
	return s
}

// Host returns the host of that name, or nil.
func (s *State) Host(name string) *HostState {
	for i := range s.Hosts {
		if s.Hosts[i].Name == name {
			return &s.Hosts[i]
		}
	}
	return nil
}

// Names are those of the hosts.
func (s *State) Names() []string {
	names := make([]string, len(s.Hosts))
	for i := range s.Hosts {
		names[i] = s.Hosts[i].Name
	}
	return names
}

const stateSocket = "lab.sock"

// Serve tells whoever connects to a socket in the directory what state returns,
// until it is closed.
func (d *Dir) Serve(state func() *State) (io.Closer, error) {
	l, err := net.Listen("unix", d.file(stateSocket))
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(time.Second)) // It fails only if the next does.
			_ = json.NewEncoder(c).Encode(state())         // Who hangs up does not want to know.
			_ = c.Close()
		}
	}()
	return l, nil
}

// ErrDown says that no lab of the name is up.
var ErrDown = errors.New("it is not up")

// Query asks the lab whose directory is at path. The error is ErrDown if there is
// none, also if one was killed.
func Query(path string) (*State, error) {
	c, err := net.Dial("unix", filepath.Join(path, stateSocket))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return nil, ErrDown
	case err != nil:
		return nil, err
	}
	s := &State{}
	err = errors.Join(c.SetDeadline(time.Now().Add(10*time.Second)), json.NewDecoder(c).Decode(s), c.Close())
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		return nil, ErrDown // It has just ended.
	}
	if err != nil {
		return nil, fmt.Errorf("read its state: %w", err)
	}
	return s, nil
}

// ending bounds how long a lab may take to end: 20 ms a host, and whoever writes a
// file of a thousand has patience.
const ending = 60 * time.Second

// Down ends the lab whose directory is at path, and waits for that, or clears away
// what one that was killed has left.
func Down(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return ErrDown
	}
	s, err := Query(path)
	if err == nil {
		err = end(s.PID)
	}
	if err != nil && !errors.Is(err, ErrDown) {
		return err
	}
	d, err := Acquire(path)
	if err != nil {
		return err
	}
	return d.Remove()
}

// end asks the process to end, and waits for it.
func end(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0)
	}
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	for until := time.Now().Add(ending); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(until).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d does not end within %v; end it with: kill -9 %d, and take the lab down again", pid, ending, pid)
		default:
			return nil
		}
	}
}
