package vswitch

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
)

// vm is the station of a stream port.
type vm struct {
	*testing.T
	net.Conn
}

// plugVM adds the port and connects to it.
func plugVM(t *testing.T, r *rig, p config.Port) vm {
	t.Helper()
	p.Kind, p.Listen = config.KindStream, socketPath(t)
	if err := r.Add(p); err != nil {
		t.Fatal(err)
	}
	return dialVM(t, r, p.Name)
}

func dialVM(t *testing.T, r *rig, name string) vm {
	t.Helper()
	info, _, err := r.Port(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", info.Config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	eventually(t, "forwarding by "+name, func() bool { return stateOf(t, r, name) == config.StateForwarding })
	return vm{t, c}
}

func stateOf(t *testing.T, r *rig, name string) config.State {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live.Load().ports[r.ports[name].id].state
}

// learned is how many stations are known behind the port vm.
func learned(t *testing.T, r *rig) int {
	t.Helper()
	info, _, err := r.Port("vm")
	if err != nil {
		t.Fatal(err)
	}
	return info.Learned
}

func (v vm) send(f []byte) {
	v.Helper()
	if _, err := v.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(f))), f...)); err != nil {
		v.Fatal(err)
	}
}

func (v vm) gets(want []byte) {
	v.Helper()
	var n uint32
	err := binary.Read(v, binary.BigEndian, &n)
	got := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(v, got)
	}
	if err != nil || string(got) != string(want) {
		v.Fatalf("got % x, %v; want % x", got, err, want)
	}
}

func TestStreamPortForwardsWithTags(t *testing.T) {
	r := newRig(t, true, trunk("up", 10, 20))
	a := plugVM(t, r, access("a", 10))
	b := plugVM(t, r, trunk("b", 10))
	f := eth(sta(2), sta(1), 0x88, 0xb5)
	a.send(f)
	b.gets(tagged(f, ctag(0, false, 10)))
	back := eth(sta(1), sta(2), 0x88, 0xb5)
	b.send(tagged(back, ctag(0, false, 10)))
	a.gets(back)
	r.send("up", tagged(f, ctag(0, false, 10)))
	b.gets(tagged(f, ctag(0, false, 10)))
	r.balanced()
}

func TestStreamPortCompletesChecksums(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "tap"})
	v := plugVM(t, r, config.Port{Name: "vm"})
	f := eth(sta(2), sta(1), 0x88, 0xb5, 0x12, 0x34, 0, 7)
	r.cables["tap"].SendOffload(f, frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 14, CsumOffset: 2})
	want := eth(sta(2), sta(1), 0x88, 0xb5, 0x12, 0x34, 0xed, 0xc4) // ^(0x1234 + 7)
	v.gets(want)
}

func TestStreamPortForgetsItsStationsWithTheConnection(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	v := plugVM(t, r, config.Port{Name: "vm"})
	v.send(eth(frame.Broadcast, sta(9), 0x88, 0xb5))
	eventually(t, "learning", func() bool { return learned(t, r) == 1 })
	_ = v.Close()
	eventually(t, "link down", func() bool { return stateOf(t, r, "vm") == config.StateDiscarding })
	if n := learned(t, r); n != 0 {
		t.Errorf("%d stations still known", n)
	}
	r.cables["a"].Taken()
	r.dropped("a", eth(sta(9), sta(1)), frame.DropNoMember)
	dialVM(t, r, "vm").send(eth(frame.Broadcast, sta(9), 0x88, 0xb5))
	eventually(t, "learning again", func() bool { return learned(t, r) == 1 })
}

func TestStreamPortWhoseReaderStopsHurtsNobody(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"}, config.Port{Name: "b"})
	plugVM(t, r, config.Port{Name: "vm"})
	f := eth(frame.Broadcast, sta(1), make([]byte, 1000)...)
	for r.drops("vm", frame.DropQueueFull) == 0 {
		r.send("a", f)
	}
	r.cables["b"].Taken()
	r.flooded("a", f, "b")
	r.balanced()
}

func TestStreamPortKeepsToItsMTU(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	v := plugVM(t, r, config.Port{Name: "vm", MTU: 1000})
	long := eth(frame.Broadcast, sta(1), make([]byte, 1002)...)
	r.send("a", long)
	if n := r.drops("vm", frame.DropOversize); n != 0 {
		t.Errorf("%d frames of just the MTU dropped", n)
	}
	v.gets(long)
	r.send("a", append(long, 0))
	if n := r.drops("vm", frame.DropOversize); n != 1 {
		t.Errorf("%d longer frames dropped, want 1", n)
	}
	r.set("vm", func(p *config.Port) { p.MTU = 1001 })
	r.send("a", append(long, 0))
	v.gets(append(long, 0))
	info, _, err := r.Port("vm")
	if err != nil || info.Link.MTU != 1001 || info.Config.MTU != 1001 || info.Socket.Connections != 1 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestStreamPortCannotChangeItsSocket(t *testing.T) {
	r := newRig(t, false)
	plugVM(t, r, config.Port{Name: "vm"})
	err := r.Set("vm", func(p config.Port) (config.Port, error) { p.Listen += "2"; return p, nil })
	if !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestRemovedStreamPortLeavesNoSocket(t *testing.T) {
	r := newRig(t, false)
	v := plugVM(t, r, config.Port{Name: "vm"})
	info, _, _ := r.Port("vm")
	if err := r.Remove("vm"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
	if _, err := os.Lstat(info.Config.Listen); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
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

func TestDgramPortForwardsAndForgets(t *testing.T) {
	r := newRig(t, true, trunk("up", 10))
	vm, own := access("vm", 10), socketPath(t)
	vm.Kind, vm.Listen, vm.Dial = config.KindDgram, own, own+"vm"
	if err := r.Add(vm); err != nil {
		t.Fatal(err)
	}
	station, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: vm.Dial, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer station.Close()
	_ = station.SetDeadline(time.Now().Add(10 * time.Second))
	eventually(t, "forwarding", func() bool { return stateOf(t, r, "vm") == config.StateForwarding })
	say := func(f []byte) {
		if _, err := station.WriteTo(f, &net.UnixAddr{Name: own, Net: "unixgram"}); err != nil {
			t.Fatal(err)
		}
	}
	say(eth(frame.Broadcast, sta(1), 0x88, 0xb5))
	eventually(t, "learning", func() bool { return learned(t, r) == 1 })
	f := eth(sta(1), sta(2), 0x88, 0xb5)
	r.send("up", tagged(f, ctag(0, false, 10)))
	got := make([]byte, 100)
	if n, err := station.Read(got); err != nil || string(got[:n]) != string(f) {
		t.Errorf("got % x, %v; want % x", got[:n], err, f)
	}
	say(nil)
	say(f[:13])
	eventually(t, "two short frames", func() bool { return r.drops("vm", frame.DropTooShort) == 2 })
	r.cables["up"].Taken()
	r.balanced()
	_ = station.Close()
	eventually(t, "link down", func() bool { return stateOf(t, r, "vm") == config.StateDiscarding })
	if n := learned(t, r); n != 0 {
		t.Errorf("%d stations still known", n)
	}
}
