package port

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// transmit sends one copy and returns its reason.
func transmit(tap *TAP, b []byte, tag TagAction, tci frame.TCI) frame.DropReason {
	out := []Out{{Frame: &frame.Frame{Bytes: b}, Tag: tag, TCI: tci}}
	tap.Transmit(out)
	return out[0].Reason
}

var renderings = []struct {
	name     string
	in, want []byte
	tag      TagAction
	tci      frame.TCI
}{
	{"keep untagged", untagged(60), untagged(60), TagKeep, 0},
	{"keep tagged", tagged(64, 7), tagged(64, 7), TagKeep, 9},
	{"push", untagged(60), tagged(64, 0xe00a), TagPush, 0xe00a},
	{"push on a short frame", untagged(16), tagged(20, 10), TagPush, 10},
	{"pop", tagged(64, 7), untagged(60), TagPop, 9},
	{"pop to a header alone", tagged(18, 7), untagged(14), TagPop, 0},
	{"replace", tagged(64, 7), tagged(64, 0x7fff), TagReplace, 0x7fff},
}

func TestTransmitRendersTheTag(t *testing.T) {
	tap, st, _ := attached(t)
	for _, r := range renderings {
		t.Run(r.name, func(t *testing.T) {
			in := bytes.Clone(r.in)
			if why := transmit(tap, in, r.tag, r.tci); why != frame.Keep {
				t.Fatal(why)
			}
			got, err := st.Recv(patience)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, r.want)
			same(t, in, r.in) // the frame itself is not changed
		})
	}
}

func TestTransmitShiftsTheOffloadHeader(t *testing.T) {
	tap, end := duct(t)
	o := frame.Offload{Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, HdrLen: 58, GSOSize: 1448, CsumStart: 38, CsumOffset: 16}
	for _, r := range renderings {
		out := []Out{{Frame: &frame.Frame{Bytes: r.in, Offload: o}, Tag: r.tag, TCI: r.tci}}
		tap.Transmit(out)
		if out[0].Reason != frame.Keep {
			t.Fatal(out[0].Reason)
		}
		got := make([]byte, 200)
		n, err := unix.Read(end, got)
		if err != nil {
			t.Fatal(err)
		}
		growth := len(r.want) - len(r.in)
		want := []byte{1, 1}
		for _, v := range []int{58 + growth, 1448, 38 + growth, 16} {
			want = binary.NativeEndian.AppendUint16(want, uint16(v))
		}
		same(t, got[:n], append(want, r.want...))
	}
}

func TestTransmitSetsTheReasonOfEach(t *testing.T) {
	tap, _ := duct(t)
	out := make([]Out, 10_000) // more than a socket holds
	for i := range out {
		out[i] = Out{Frame: &frame.Frame{Bytes: untagged(60)}, Reason: frame.NumDropReasons}
	}
	tap.Transmit(out)
	if first, last := out[0].Reason, out[len(out)-1].Reason; first != frame.Keep || last != frame.DropQueueFull {
		t.Errorf("first %v, last %v", first, last)
	}
}

func TestPartOfAFrameIsNotTransmitted(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	room, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	tap := wrapped(t, fds[1])
	if why := transmit(tap, untagged(2*room), TagKeep, 0); why != frame.DropTransmitError {
		t.Errorf("%v, want %v", why, frame.DropTransmitError)
	}
}

func TestTransmitReasons(t *testing.T) {
	for errno, want := range map[unix.Errno]frame.DropReason{
		0: frame.Keep, unix.EIO: frame.DropLinkDown,
		unix.EAGAIN: frame.DropQueueFull, unix.ENOBUFS: frame.DropQueueFull, unix.ENOMEM: frame.DropQueueFull,
		unix.EBADFD: frame.DropPortGone, unix.EBADF: frame.DropPortGone,
		unix.EINVAL: frame.DropTransmitError, unix.EPIPE: frame.DropTransmitError,
	} {
		if got := reasonOf(errno); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
}

func TestTransmitOfARefusedHeader(t *testing.T) {
	tap, st, _ := attached(t)
	// The kernel wants the checksum inside the frame (EINVAL).
	bad := frame.Frame{Bytes: untagged(60), Offload: frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 60, CsumOffset: 16}}
	out := []Out{{Frame: &bad}}
	tap.Transmit(out)
	if out[0].Reason != frame.DropTransmitError {
		t.Error(out[0].Reason)
	}
	works(t, tap, st)
}

func TestTransmitAllocatesNothing(t *testing.T) {
	tap, _, _ := attached(t)
	var out []Out
	for _, r := range renderings {
		out = append(out, Out{Frame: &frame.Frame{Bytes: r.in}, Tag: r.tag, TCI: r.tci})
	}
	if n := testing.AllocsPerRun(200, func() { tap.Transmit(out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTransmitIsConcurrent(t *testing.T) {
	tap, st, _ := attached(t)
	const senders, each = 4, 50
	errs := make(chan error, senders)
	for i := range senders {
		go func() {
			b := untagged(60)
			b[20] = byte(i)
			for range each {
				if why := transmit(tap, b, TagKeep, 0); why != frame.Keep {
					errs <- fmt.Errorf("sender %d: %v", i, why)
					return
				}
			}
			errs <- nil
		}()
	}
	var got [senders]int
	for range senders {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for range senders * each {
		b, err := st.Recv(patience)
		if err != nil {
			t.Fatal(err)
		}
		got[b[20]]++
	}
	if got != [senders]int{each, each, each, each} {
		t.Error(got)
	}
}
