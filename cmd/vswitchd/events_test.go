package main

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// watching is a vswitchctl events.
type watching struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	said  strings.Builder // to standard error
}

// watch starts one and returns once it is told of what happens, which it finds
// out by a change.
func (b *bench) watch(args ...string) *watching {
	b.t.Helper()
	w := &watching{t: b.t, lines: make(chan string, 1000)}
	w.cmd = exec.Command(filepath.Join(programs, "vswitchctl"), append([]string{"--socket", b.socket(), "events"}, args...)...)
	w.cmd.Stderr = &w.said
	out, err := w.cmd.StdoutPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	go func() {
		defer close(w.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.lines <- lines.Text()
		}
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		b.ctl("fdb", "set", "--ageing", "300")
		select {
		case <-w.lines:
			return w
		case <-time.After(100 * time.Millisecond):
		}
	}
	b.t.Fatalf("nothing is told: %s", w.said.String())
	return nil
}

// wants reads until there is a line that ends with these words.
func (w *watching) wants(words string) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	for seen := ""; ; {
		select {
		case line, ok := <-w.lines:
			if !ok {
				w.t.Fatalf("it has ended without %q: %s%s", words, seen, w.said.String())
			}
			if strings.HasSuffix(line, " "+words) {
				return
			}
			seen += line + "\n"
		case <-deadline:
			w.t.Fatalf("not told %q but\n%s", words, seen)
		}
	}
}

// end waits for the exit code.
func (w *watching) end() int {
	w.t.Helper()
	for range w.lines { // Nobody wants to know the rest.
	}
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode()
}

func testEventsAreToldAsTheyHappen(t *testing.T) {
	b := newBench(t, twoPorts)
	d := b.start()
	w, other := b.watch(), b.watch("-o", "json")

	ns := nettest.New(t)
	station := frame.MAC{2, 0, 0, 0, 0, 1}
	hello := append(append(frame.Broadcast[:], station[:]...), make([]byte, 48)...)
	for _, port := range []struct{ name, told string }{{"p3", "p3"}, {"p4", "p3 -> p4"}} {
		b.ctl("port", "add", port.name, "--access", "10", "--netns", ns.PID())
		w.wants("port added " + port.name)
		if err := nettest.NewStation(t, ns, port.name).Send(hello); err != nil {
			t.Fatal(err)
		}
		w.wants("02:00:00:00:00:01 vlan 10 " + port.told)
	}
	b.ctl("fdb", "add", "02:00:00:00:00:02", "--vlan", "10", "--port", "p1")
	w.wants("fdb added 02:00:00:00:00:02 vlan 10 p1 static")
	b.ctl("port", "set", "p4", "--mtu", "1300")
	w.wants("link mtu p4 1500 -> 1300")
	var link netlink.Link
	change := func(f func() error) {
		t.Helper()
		if err := ns.Do(f); err != nil {
			t.Fatal(err)
		}
	}
	change(func() (err error) {
		if link, err = netlink.LinkByName("p4"); err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
	w.wants("fdb flushed 02:00:00:00:00:01 vlan 10 p4")
	w.wants("link down p4")
	change(func() error { return netlink.LinkSetName(link, "web0") })
	w.wants("link renamed p4 p4 -> web0")
	change(func() error { return netlink.LinkDel(link) })
	w.wants("port removed p4")
	b.ctl("config", "save")
	w.wants("config saved")
	b.ctl("port", "del", "p1")
	w.wants("fdb removed 02:00:00:00:00:02 vlan 10 p1 static")
	w.wants("port removed p1")

	if err := w.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := w.end(); code != 0 || w.said.String() != "" {
		t.Errorf("interrupted: exit %d: %s", code, w.said.String())
	}
	line := <-other.lines
	var e control.Event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type == "" || e.Time == nil {
		t.Errorf("%s: %v", line, err)
	}
	d.stop()
	wantExit(t, other.end(), 3, other.said.String(), "the daemon has ended")
}
