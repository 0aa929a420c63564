package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/control"
)

// daemon is a vswitchd under test, with the vswitchctl built beside it.
type daemon struct {
	dir string // of the programs and of sockets
	cmd *exec.Cmd
}

// newDaemon builds and starts one that is VLAN aware and has no port, but a rule for
// TAPs called auto0 and so on.
func newDaemon(t *testing.T) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "vsw") // A socket's path must be short.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &daemon{dir: dir}
	config := "vlan_aware: true\nmetrics: {listen: none}\nauto_attach:\n- match: {name: auto*, kind: tun}\n  port: {kind: netdev, access: 10}\n"
	if err := os.WriteFile(d.path("c.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "build", "-o", dir, "github.com/vswitchd/vswitchd/cmd/...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.start(t)
	t.Cleanup(func() {
		_ = d.cmd.Process.Signal(os.Interrupt)
		if err := d.cmd.Wait(); err != nil {
			t.Errorf("vswitchd: %v", err)
		}
	})
	return d
}

// start starts the daemon and returns once it answers.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.cmd = exec.Command(d.path("vswitchd"), "--config", d.path("c.yaml"), "--socket", d.path("s"))
	d.cmd.Stdout, d.cmd.Stderr = t.Output(), t.Output()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := d.ctl("status"); return err })
}

// restart kills the daemon and starts it again.
func (d *daemon) restart(t *testing.T) {
	t.Helper()
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait() // It says that the daemon was killed.
	d.start(t)
}

func (d *daemon) path(name string) string { return filepath.Join(d.dir, name) }

// ctl runs vswitchctl.
func (d *daemon) ctl(args ...string) ([]byte, error) {
	out, err := exec.Command(d.path("vswitchctl"), append([]string{"--socket", d.path("s")}, args...)...).Output()
	if e := (*exec.ExitError)(nil); errors.As(err, &e) {
		err = fmt.Errorf("vswitchctl %q: %w: %s", args, err, e.Stderr)
	}
	return out, err
}

// do is ctl that must succeed.
func (d *daemon) do(t *testing.T, args ...string) {
	t.Helper()
	if _, err := d.ctl(args...); err != nil {
		t.Fatal(err)
	}
}

// linkIs returns an error unless `vswitchctl port show` has the port's link up,
// or not, as wanted.
func (d *daemon) linkIs(up bool, name string) error {
	out, err := d.ctl("port", "show", name, "-o", "json")
	if err != nil {
		return err
	}
	var ports []control.Port
	if err := json.Unmarshal(out, &ports); err != nil || len(ports) != 1 {
		return fmt.Errorf("want one port, have %s: %w", out, err)
	}
	if ports[0].Up != up {
		return fmt.Errorf("want up to be %v, have %s", up, out)
	}
	return nil
}

// superFrames tells whether the port has transmitted frames that were longer in the
// mean than its station's MTU of 1500 lets frames be on a wire.
func (d *daemon) superFrames(name string) (bool, error) {
	out, err := d.ctl("port", "show", name, "-o", "json")
	if err != nil {
		return false, err
	}
	var ports []control.Port
	if err := json.Unmarshal(out, &ports); err != nil || len(ports) != 1 {
		return false, fmt.Errorf("want one port, have %s: %w", out, err)
	}
	sent := ports[0].Stats.Transmit
	return sent.Bytes/max(1, sent.Frames) > 1514, nil
}

// unbalanced says what is wrong with the books.
func (d *daemon) unbalanced() error {
	out, err := d.ctl("stats", "-o", "json")
	if err != nil {
		return err
	}
	var stats control.Stats
	if err := json.Unmarshal(out, &stats); err != nil {
		return err
	}
	var received, settled, copies, sent uint64
	for _, p := range append(stats.Ports, stats.Departed) {
		received, settled = received+p.Receive.Frames, settled+p.Relayed+total(p.DroppedIngress)
		copies, sent = copies+p.Copies, sent+p.Transmit.Frames+total(p.DroppedEgress)
	}
	if received == 0 || received != settled || copies != sent {
		return fmt.Errorf("%d frames received, %d relayed or dropped; %d copies made, %d transmitted or dropped: %s", received, settled, copies, sent, out)
	}
	return nil
}

func total(counts map[string]uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// eventually waits until wrong returns nil.
func eventually(t *testing.T, wrong func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := wrong()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("for %v: %v", patience, err)
		}
	}
}
