package port

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// withAndWithoutRings runs a test with the pool as it is, and with none in it.
func withAndWithoutRings(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	makeRings()
	t.Run("rings", func(t *testing.T) {
		r := takeRing()
		if r == nil {
			nettest.Lack(t, "the kernel has no io_uring for this process")
		}
		giveRing(r)
		f(t)
	})
	t.Run("none", func(t *testing.T) {
		var taken []*ring
		for r := takeRing(); r != nil; r = takeRing() {
			taken = append(taken, r)
		}
		defer func() {
			for _, r := range taken {
				giveRing(r)
			}
		}()
		f(t)
	})
}

// burst makes n numbered copies, tagged on the way out by turns, in place or not.
func burst(n int) (out []Out, want [][]byte) {
	for i := range n {
		b := make([]byte, frame.VnetHdrLen+60)
		copy(b[frame.VnetHdrLen:], untagged(60))
		binary.BigEndian.PutUint32(b[frame.VnetHdrLen+20:], uint32(i))
		f := &frame.Frame{Bytes: b[frame.VnetHdrLen:]}
		if i%2 == 0 {
			f.Headroom = frame.VnetHdrLen
		}
		o := Out{Frame: f, Tag: []TagAction{TagKeep, TagKeep, TagPush}[i%3], TCI: 7}
		sent := bytes.Clone(f.Bytes)
		if o.Tag == TagPush {
			sent = slices.Concat(sent[:12], []byte{0x81, 0, 0, 7}, sent[12:])
		}
		out, want = append(out, o), append(want, sent)
	}
	return out, want
}

func TestBurstIsTransmittedInOrder(t *testing.T) {
	withAndWithoutRings(t, func(t *testing.T) {
		t.Helper()
		tap, st, _ := attached(t)
		for _, n := range []int{1, ringWrites - 1, ringWrites, ringSize, ringSize + 1, 200} {
			out, want := burst(n)
			tap.Transmit(out)
			for i := range want {
				if out[i].Reason != frame.Keep {
					t.Fatalf("%d of %d: %v", i, n, out[i].Reason)
				}
				got, err := st.Recv(patience)
				if err != nil {
					t.Fatal(err)
				}
				same(t, got, want[i])
			}
		}
	})
}

// Each copy of a burst has its own reason: here some are too long for the kernel.
func TestBurstHasAReasonForEachCopy(t *testing.T) {
	withAndWithoutRings(t, func(t *testing.T) {
		t.Helper()
		tap, _, _ := attached(t)
		out, _ := burst(ringSize + 20)
		for i := range out {
			if i%5 == 0 {
				out[i] = Out{Frame: &frame.Frame{Bytes: untagged(60), Offload: frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 1000}}}
			}
		}
		tap.Transmit(out)
		for i := range out {
			want := frame.Keep
			if i%5 == 0 {
				want = frame.DropTransmitError
			}
			if out[i].Reason != want {
				t.Errorf("copy %d: %v, want %v", i, out[i].Reason, want)
			}
		}
	})
}

func TestBurstToALinkThatIsDown(t *testing.T) {
	withAndWithoutRings(t, func(t *testing.T) {
		t.Helper()
		tap := open(t, named("burst0"))
		if err := tap.SetLink(LinkChange{Up: new(false)}); err != nil {
			t.Fatal(err)
		}
		out, _ := burst(20)
		tap.Transmit(out)
		for i := range out {
			if out[i].Reason != frame.DropLinkDown {
				t.Errorf("copy %d: %v", i, out[i].Reason)
			}
		}
	})
}

func TestBurstIsReceivedInOrder(t *testing.T) {
	withAndWithoutRings(t, func(t *testing.T) {
		t.Helper()
		tap, st, _ := attached(t)
		const n = 5*frame.BatchSize + 7
		for i := range n {
			if err := st.Send(untagged(60 + i)); err != nil {
				t.Fatal(err)
			}
		}
		for i, b := range receive(t, tap, n) {
			same(t, b, untagged(60+i))
		}
		if n := tap.ReceiveErrors(); n != 0 {
			t.Errorf("%d receive errors", n)
		}
	})
}

// A ring that the kernel refuses to serve says so for each operation, and can be
// used again.
func TestRingThatIsRefusedFailsEachOperation(t *testing.T) {
	r, err := newRing()
	if err != nil {
		nettest.Lack(t, "the kernel has no io_uring for this process")
	}
	defer r.close()
	fd := r.fd
	r.fd = -1
	b := make([]byte, 10)
	for round := range 2 {
		for range 3 {
			r.add(opRead, fd, unsafe.Pointer(&b[0]), len(b))
		}
		n := 0
		r.submit(func(i int, res int32) {
			if i != n || res != -int32(unix.EBADF) {
				t.Errorf("round %d: operation %d: %d", round, i, res)
			}
			n++
		})
		if n != 3 {
			t.Errorf("round %d: %d results", round, n)
		}
	}
	r.fd = fd
	r.add(opRead, 1<<30, unsafe.Pointer(&b[0]), len(b)) // No such descriptor.
	r.submit(func(_ int, res int32) {
		if res != -int32(unix.EBADF) {
			t.Errorf("result %d", res)
		}
	})
}
