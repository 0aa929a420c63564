package port

import (
	"bytes"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// patience bounds every wait for something that must come.
const patience = 10 * time.Second

func named(ifname string) TAPConfig {
	return TAPConfig{Ifname: ifname, Up: true, Owner: -1, Group: -1}
}

// open opens a TAP that is closed with the test.
func open(t testing.TB, cfg TAPConfig) *TAP {
	t.Helper()
	nettest.Need(t)
	tap, err := OpenTAP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

func linkOf(t testing.TB, tap *TAP) Link {
	t.Helper()
	l, err := tap.Link()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func exists(ifname string) bool {
	_, err := query(OwnNSID, ifname)
	return err == nil
}

func newBatch() *frame.Batch { return frame.NewBatch(make([]byte, frame.BatchSize*frame.SlotLen)) }

// refused checks that err is an *Error of the kind and says all the words.
func refused(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	if !errors.Is(err, kind) {
		t.Errorf("%v: is not %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// rawTUN opens a device that is no concern of OpenTAP.
func rawTUN(t *testing.T, name string, flags uint16) int {
	t.Helper()
	nettest.Need(t)
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := setIff(fd, name, flags); err != nil {
		t.Fatal(err)
	}
	return fd
}

func isClosed(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == unix.EBADF
}

// container starts a process in a network namespace of its own.
func container(t *testing.T) *exec.Cmd {
	t.Helper()
	nettest.Need(t)
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// ipLink does what `ip link set` does, in the calling thread's namespace.
func ipLink(t *testing.T, ifname string, set func(netlink.Link) error) {
	t.Helper()
	l, err := netlink.LinkByName(ifname)
	if err == nil {
		err = set(l)
	}
	if err != nil {
		t.Error(err)
	}
}

var (
	stationMAC = frame.MAC{0x02, 0, 0, 0, 0, 1}
	otherMAC   = frame.MAC{0x02, 0, 0, 0, 0, 2}
)

// untagged is a frame of an EtherType that no stack answers (802 local
// experimental), tagged the same with a C-TAG.
func untagged(n int) []byte {
	b := append(append([]byte{}, otherMAC[:]...), stationMAC[:]...)
	b = append(b, 0x88, 0xb5)
	for len(b) < n {
		b = append(b, byte(len(b)))
	}
	return b
}

func tagged(n int, tci frame.TCI) []byte {
	b := untagged(n - frame.TagLen)
	tag := []byte{0x81, 0x00, byte(tci >> 8), byte(tci)}
	return bytes.Join([][]byte{b[:12], tag, b[12:]}, nil)
}

// inject sends a frame out of a link of the tests' own namespace.
func inject(t *testing.T, index int, b []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		t.Fatal(err)
	}
}

func netlinkDel(l netlink.Link) error { return netlink.LinkDel(l) }

func isNoBufs(err error) bool { return errors.Is(err, unix.ENOBUFS) }

// receiveAll reads the one batch that waits.
func receiveAll(t *testing.T, tap *TAP) []frame.Frame {
	t.Helper()
	b := newBatch()
	if err := tap.ReadBatch(b); err != nil {
		t.Fatal(err)
	}
	return b.Live()
}

func pidOf(cmd *exec.Cmd) string { return strconv.Itoa(cmd.Process.Pid) }

// someFile is a descriptor that can be waited for and is no TAP.
func someFile(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// attached opens a TAP whose link is moved to a namespace with a station on it.
func attached(t testing.TB) (*TAP, *nettest.Station, *netns.NS) {
	t.Helper()
	ns := nettest.New(t)
	cfg := named("eth0")
	cfg.Netns, cfg.MAC = ns.Path(), &otherMAC
	return open(t, cfg), nettest.NewStation(t, ns, "eth0"), ns
}

func same(t testing.TB, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// duct is a TAP in name only, with the other end of its descriptor: what
// Transmit writes can be read there with its header.
func duct(t *testing.T) (*TAP, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	return wrapped(t, fds[0]), fds[1]
}

func wrapped(t *testing.T, fd int) *TAP {
	t.Helper()
	tap, err := wrap(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

// works checks that frames pass both ways.
func works(t *testing.T, tap *TAP, st *nettest.Station) {
	t.Helper()
	if why := transmit(tap, untagged(60), TagKeep, 0); why != frame.Keep {
		t.Fatal(why)
	}
	got, err := st.Recv(patience)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, untagged(60))
	if err := st.Send(untagged(61)); err != nil {
		t.Fatal(err)
	}
	same(t, receive(t, tap, 1)[0], untagged(61))
}
