package test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// The defaults keep the tests brief; make soak has the figures of the promises.
var (
	soakCycles = flag.Int("soak.cycles", 60, "how many ports come and go")
	soakKills  = flag.Int("soak.kills", 5, "how often the daemon is killed")
	soakErrnos = flag.Int("soak.errnos", 1, "how many errors each system call is made to return")
	soakPause  = flag.Duration("soak.pause", time.Second, "how long the daemon is stopped")
)

// programs is the directory of vswitchd and vswitchctl after build.
var programs string

func build(t *testing.T) {
	t.Helper()
	if programs = os.Getenv("VSWITCH_BIN"); programs != "" {
		return
	}
	programs = t.TempDir()
	out, err := exec.Command("go", "build", "-o", programs, "github.com/vswitchd/vswitchd/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestSoak does to a daemon, as it is built, what may happen to one in years.
func TestSoak(t *testing.T) {
	nettest.Need(t)
	build(t)
	t.Run("PortsComeAndGo", testPortsComeAndGo)
	t.Run("DeletedLinkCostsItsOwnPort", testDeletedLinkCostsItsOwnPort)
	t.Run("DeletedNetdevCostsItsOwnPort", testDeletedNetdevCostsItsOwnPort)
	t.Run("EndedNamespaceCostsItsOwnPort", testEndedNamespaceCostsItsOwnPort)
	t.Run("StoppedDaemonForgetsNobody", testStoppedDaemonForgetsNobody)
	t.Run("KilledDaemonComesBackAsItWas", testKilledDaemonComesBackAsItWas)
	t.Run("KilledDaemonCostsNoTransfer", testKilledDaemonCostsNoTransfer)
	t.Run("RuntimeDirectoryThatTakesNothing", testRuntimeDirectoryThatTakesNothing)
	t.Run("NoDescriptorLeft", testNoDescriptorLeft)
	t.Run("OtherUserIsRefused", testOtherUserIsRefused)
	t.Run("ClientsThatStarve", testClientsThatStarve)
	t.Run("FailingSystemCalls", testFailingSystemCalls)
}

// rig is a daemon in the namespace of the test process, which logs to a file,
// and a pair of stations between whose ports no frame may be lost.
type rig struct {
	*control.Client
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended

	from, to *nettest.Station
}

var (
	steadyFrom = frame.MAC{2, 0xaa, 0, 0, 0, 1}
	steadyTo   = frame.MAC{2, 0xaa, 0, 0, 0, 2}
)

// newRig starts a daemon, by the command if one is given.
func newRig(t *testing.T, by ...string) *rig {
	t.Helper()
	dir := filepath.Dir(socketPath(t))
	r := &rig{t: t, dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.write("vlan_aware: false\nmetrics: {listen: '127.0.0.1:0'}\n")
	r.launch(by...)
	r.ready()
	r.from, r.to = r.station("from"), r.station("to")
	r.to.From = steadyFrom[:]
	if err := r.to.Send(numbered(frame.Broadcast, steadyTo, 0)); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) file() string { return filepath.Join(r.dir, "c.yaml") }

func (r *rig) socket() string { return filepath.Join(r.dir, "run", "s") }

func (r *rig) write(yaml string) {
	r.t.Helper()
	if err := os.WriteFile(r.file(), []byte(yaml), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// launch starts the daemon and does not wait.
func (r *rig) launch(by ...string) {
	r.t.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	args := append(by, filepath.Join(programs, "vswitchd"), "--config", r.file(), "--socket", r.socket())
	cmd, gone := exec.Command(args[0], args[1:]...), make(chan struct{})
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(gone)
		_ = cmd.Wait()
	}()
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
	})
	r.cmd, r.gone = cmd, gone
	// It may have a mount namespace of its own.
	r.Client = control.NewClient(fmt.Sprintf("/proc/%d/root%s", cmd.Process.Pid, r.socket()))
}

// ready waits until the daemon that was launched answers.
func (r *rig) ready() {
	r.t.Helper()
	eventually(r.t, func() error {
		select {
		case <-r.gone:
			r.t.Fatalf("the daemon has ended:\n%s", r.log())
		default:
		}
		s, err := r.Status(r.t.Context())
		if err == nil && s.PID != r.cmd.Process.Pid {
			err = fmt.Errorf("process %d answers, want %d", s.PID, r.cmd.Process.Pid)
		}
		return err
	})
}

func (r *rig) signal(s unix.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) log() string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// wantLog waits for a line that has all of the parts.
func (r *rig) wantLog(parts ...string) {
	r.t.Helper()
	eventually(r.t, func() error {
		log := r.log()
	lines:
		for line := range strings.Lines(log) {
			for _, p := range parts {
				if !strings.Contains(line, p) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("no line of the log has all of %q:\n%s", parts, log)
	})
}

// plug adds a port whose link is eth0 of a namespace of its own.
func (r *rig) plug(name string) *netns.NS {
	r.t.Helper()
	ns := nettest.New(r.t)
	if _, err := r.AddPort(r.t.Context(), nettest.Port(r.t, config.Port{Name: name, Netns: ns.PID(), Ifname: "eth0"})); err != nil {
		r.t.Fatal(err)
	}
	return ns
}

// station is plug with a station on the link.
func (r *rig) station(name string) *nettest.Station {
	r.t.Helper()
	return nettest.NewStation(r.t, r.plug(name), "eth0")
}

// undisturbed fails the test if a numbered frame of the steady pair is lost,
// doubled or out of order while the fault is there.
func (r *rig) undisturbed(fault func()) {
	r.t.Helper()
	c, s := newCrew(r.t), &sequence{from: r.from, to: r.to, src: steadyFrom, dst: steadyTo}
	c.start("send in sequence", func() error { return s.send(c.stop) })
	c.start("receive in sequence", s.receive)
	eventually(r.t, func() error {
		if n := s.sent.Load(); n < 100 {
			return fmt.Errorf("%d frames sent", n)
		}
		return nil
	})
	fault()
	c.end()
	r.t.Logf("%d frames in sequence meanwhile", s.sent.Load())
}

// aftermath is what holds after every fault: the daemon lives and answers, the
// books balance, and a pair of ports that is new loses nothing.
func (r *rig) aftermath() {
	r.t.Helper()
	var slowest time.Duration
	for range 10 {
		asked := time.Now()
		if s, err := r.Status(r.t.Context()); err != nil || s.PID != r.cmd.Process.Pid {
			r.t.Fatalf("process %d: %+v, %v:\n%s", r.cmd.Process.Pid, s, err, r.log())
		}
		slowest = max(slowest, time.Since(asked))
	}
	r.t.Logf("soak: control answered within %v, of 100ms", slowest.Round(10*time.Microsecond))
	if slowest > 5*time.Second {
		r.t.Error("control is slow")
	}
	eventually(r.t, r.unbalanced)

	a, b := r.station("fresh1"), r.station("fresh2")
	aMAC, bMAC := frame.MAC{2, 0xbb, 0, 0, 0, 1}, frame.MAC{2, 0xbb, 0, 0, 0, 2}
	a.From, b.From = bMAC[:], aMAC[:]
	for i := range uint32(1000) {
		for _, p := range []struct {
			from, to *nettest.Station
			f        []byte
		}{{a, b, numbered(bMAC, aMAC, i)}, {b, a, numbered(aMAC, bMAC, i)}} {
			if err := p.from.Send(p.f); err != nil {
				r.t.Fatal(err)
			}
			if got, err := p.to.Recv(10 * time.Second); err != nil || !bytes.Equal(got, p.f) {
				r.t.Fatalf("frame %d of a fresh pair: %x, %v", i, got, err)
			}
		}
	}
	for _, name := range []string{"fresh1", "fresh2"} {
		if _, err := r.RemovePort(r.t.Context(), name); err != nil {
			r.t.Fatal(err)
		}
	}
}

// unbalanced says what is wrong with the books.
func (r *rig) unbalanced() (err error) {
	s, err := r.Stats(r.t.Context())
	if err != nil {
		return err
	}
	var sum control.PortStats
	dropped := [2]uint64{}
	for _, p := range append(s.Ports, s.Departed) {
		sum.Receive.Frames += p.Receive.Frames
		sum.Relayed += p.Relayed
		sum.Copies += p.Copies
		sum.Transmit.Frames += p.Transmit.Frames
		dropped[0] += p.Receive.Dropped
		dropped[1] += p.Transmit.Dropped
	}
	if in := sum.Relayed + dropped[0]; in != sum.Receive.Frames {
		err = fmt.Errorf("%d frames received, %d relayed or dropped", sum.Receive.Frames, in)
	}
	if out := sum.Transmit.Frames + dropped[1]; out != sum.Copies {
		err = errors.Join(err, fmt.Errorf("%d copies made, %d transmitted or dropped", sum.Copies, out))
	}
	return err
}
