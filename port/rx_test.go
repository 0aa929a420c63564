package port

import (
	"bytes"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// receive reads batches until n frames have come.
func receive(t *testing.T, tap *TAP, n int) [][]byte {
	t.Helper()
	b, got := newBatch(), [][]byte{}
	for len(got) < n {
		if err := tap.ReadBatch(b); err != nil {
			t.Fatal(err)
		}
		for _, f := range b.Live() {
			if f.Offload != (frame.Offload{}) {
				t.Errorf("offload %+v although none was negotiated", f.Offload)
			}
			got = append(got, bytes.Clone(f.Bytes))
		}
	}
	return got
}

func TestReadBatchReturnsTheBytesThatWereSent(t *testing.T) {
	tap, st, _ := attached(t)
	for _, b := range [][]byte{untagged(14), untagged(60), untagged(1514), tagged(64, 0xa005), tagged(1518, 0)} {
		if err := st.Send(b); err != nil {
			t.Fatal(err)
		}
		same(t, receive(t, tap, 1)[0], b)
	}
}

func TestReadBatchDrainsInOrder(t *testing.T) {
	tap, st, _ := attached(t)
	const n = 2*frame.BatchSize + 1
	for i := range n {
		if err := st.Send(untagged(20 + i)); err != nil {
			t.Fatal(err)
		}
	}
	b, got := newBatch(), 0
	for _, want := range []int{frame.BatchSize, frame.BatchSize, 1} {
		if err := tap.ReadBatch(b); err != nil || b.N != want {
			t.Fatalf("%d frames, %v; want %d", b.N, err, want)
		}
		for _, f := range b.Live() {
			same(t, f.Bytes, untagged(20+got))
			got++
		}
	}
}

func TestShortReadIsCountedAndSkipped(t *testing.T) {
	tap, end := duct(t)
	for _, b := range [][]byte{make([]byte, 9), append(make([]byte, 10), untagged(60)...)} {
		if _, err := unix.Write(end, b); err != nil {
			t.Fatal(err)
		}
	}
	same(t, receive(t, tap, 1)[0], untagged(60))
	if n := tap.ReceiveErrors(); n != 1 {
		t.Errorf("%d receive errors, want 1", n)
	}
}

// A descriptor that answers every read with an error must not end the port.
func TestReadErrorsBackOff(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]) })
	tap := wrapped(t, fds[1]) // EBADF: it is open for writing only
	got := make(chan error)
	start := time.Now()
	go func() { got <- tap.ReadBatch(newBatch()) }()
	for tap.ReceiveErrors() < 6 {
		unix.Nanosleep(&unix.Timespec{Nsec: 1e5}, nil)
	}
	// A slow machine only makes it longer.
	if took := time.Since(start); took < (1+2+4+8+16)*minBackoff {
		t.Errorf("six errors within %v", took)
	}
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; err != os.ErrClosed {
		t.Error(err)
	}
}

func TestCloseEndsTheBackOff(t *testing.T) {
	tap, _ := duct(t)
	slept := make(chan bool)
	go func() { slept <- tap.sleep(time.Hour) }()
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if <-slept {
		t.Error("slept for an hour")
	}
}

func TestGarbageOfAStation(t *testing.T) {
	tap, st, _ := attached(t)
	b := newBatch()
	for n := 14; n < 200; n += 7 {
		junk := bytes.Repeat([]byte{byte(n * 37)}, n)
		if err := st.Send(junk); err != nil {
			t.Fatal(err)
		}
		if err := tap.ReadBatch(b); err != nil || b.N != 1 {
			t.Fatal(b.N, err)
		}
		same(t, b.Frames[0].Bytes, junk)
	}
	works(t, tap, st)
}

func TestReadBatchAllocatesNothing(t *testing.T) {
	tap, st, _ := attached(t)
	b, raw := newBatch(), untagged(60)
	ask, sent := make(chan bool), make(chan error)
	defer close(ask)
	go func() {
		for range ask {
			sent <- st.Send(raw)
		}
	}()
	n := testing.AllocsPerRun(200, func() {
		ask <- true // so that some reads find nothing and wait
		for b.N = 0; b.N == 0; {
			if err := tap.ReadBatch(b); err != nil {
				t.Error(err)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
