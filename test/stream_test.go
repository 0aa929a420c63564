package test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

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
			attach := func(s *vswitch.Switch) error { return s.Add(vm) }
			answers(t, attach, append([]string{vm.Kind + "_client.py"}, append(args, vm.Listen)...))
		})
	}
}

// Its TAP is nobody's that this switch knows of: a rule takes it.
func TestStationWithATAPOfItsOwnMakingIsAttachedByARule(t *testing.T) {
	attach := func(s *vswitch.Switch) error {
		return s.AutoAttach([]config.AutoAttach{{Match: config.Match{Name: "vm*"}, Port: config.Port{Access: 10}}})
	}
	t.Cleanup(func() {
		if t.Skipped() {
			return
		}
		if tap, err := netlink.LinkByName("vm"); err != nil || netlink.LinkDel(tap) != nil {
			t.Errorf("the TAP is not left: %v", err)
		}
	})
	answers(t, attach, []string{"tun_client.py", "vm"})
}

// answers has a client, the station at the port vm, answer one in a namespace.
func answers(t *testing.T, attach func(*vswitch.Switch) error, args []string) {
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
	host := nettest.Port(t, config.Port{Name: "host", Netns: ns.Path(), Ifname: "eth0", Access: 10})
	if err := errors.Join(s.Add(host), attach(s)); err != nil {
		t.Fatal(err)
	}
	client := exec.Command(python, append(append([]string{"-B"}, args...), "02:00:00:00:00:02", "10.0.0.2")...)
	client.Stderr = os.Stderr
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Process.Kill(); _ = client.Wait() })
	conversation(t, s, nettest.NewStation(t, ns, "eth0"))
}

// conversation asks the station behind vm for its address, and pings it.
func conversation(t *testing.T, s *vswitch.Switch, host *nettest.Station) {
	t.Helper()
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
		if err == nil && info.State == config.StateForwarding {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the station did not connect: %v", err)
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
