package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// The clients are written after QEMU's documentation, not after this switch.
func TestStationInAnotherLanguageAnswersThroughASocket(t *testing.T) {
	for _, kind := range []string{config.KindStream, config.KindDgram} {
		t.Run(kind, func(t *testing.T) {
			vm, args := config.Port{Name: "vm", Kind: kind, Listen: socketPath(t), Access: 10}, []string(nil)
			if kind == config.KindDgram {
				vm.Dial = vm.Listen + "vm"
				args = append(args, vm.Dial)
			}
			answers(t, vm, append(args, vm.Listen, "02:00:00:00:00:02", "10.0.0.2"))
		})
	}
}

// answers has the client of the port's kind answer a station in a namespace.
func answers(t *testing.T, vm config.Port, args []string) {
	t.Helper()
	nettest.Need(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	s, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ns := nettest.New(t)
	for _, p := range []config.Port{{Name: "host", Netns: ns.Path(), Ifname: "eth0", Access: 10}, vm} {
		if err := s.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	client := exec.Command(python, append([]string{"-B", vm.Kind + "_client.py"}, args...)...)
	client.Stderr = os.Stderr
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Process.Kill(); _ = client.Wait() })
	host := nettest.NewStation(t, ns, "eth0")
	me, it := frame.MAC{2, 0, 0, 0, 0, 1}, frame.MAC{2, 0, 0, 0, 0, 2}

	mine, its := append(me[:], 10, 0, 0, 1), append(it[:], 10, 0, 0, 2)
	arp := []byte{0x08, 0x06, 0, 1, 8, 0, 6, 4, 0}
	ask := bytes.Join([][]byte{frame.Broadcast[:], me[:], arp, {1}, mine, make([]byte, 6), its[6:]}, nil)
	answer := bytes.Join([][]byte{me[:], it[:], arp, {2}, its, mine}, nil)
	exchange(t, s, host, ask, answer)

	ip := []byte{0x08, 0x00, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0}
	ping := bytes.Join([][]byte{it[:], me[:], ip, mine[6:], its[6:], {8, 0, 0xf7, 0xfd, 0, 1, 0, 1}}, nil)
	pong := bytes.Join([][]byte{me[:], it[:], ip, its[6:], mine[6:], {0, 0, 0xff, 0xfd, 0, 1, 0, 1}}, nil)
	exchange(t, s, host, ping, pong)
}

// exchange sends a frame, once the station behind vm is there, and waits for
// its answer.
func exchange(t *testing.T, s *vswitch.Switch, host *nettest.Station, ask, answer []byte) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		info, _, err := s.Port("vm")
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the station did not connect: %v", err)
		}
		if info.State == config.StateForwarding {
			break
		}
	}
	if err := host.Send(ask); err != nil {
		t.Fatal(err)
	}
	for {
		got, err := host.Recv(10 * time.Second)
		if err != nil {
			t.Fatalf("no answer % x: %v", answer, err)
		}
		if bytes.Equal(got, answer) {
			return
		}
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
