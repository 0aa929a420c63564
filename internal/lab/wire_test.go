package lab

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// bench is a wire between two cables, in a bubble of synctest.
type bench struct {
	*wire
	in, out *porttest.Cable
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newBench(m config.Impair) *bench {
	b := &bench{in: porttest.NewCable(4 * wireLen), out: porttest.NewCable(0)}
	until := time.Time{}
	if m.For > 0 {
		until = time.Now().Add(time.Duration(m.For))
	}
	b.wire = newWire(b.in, b.out, newDice(m, "w"), until)
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.running.Go(b.receive)
	b.running.Go(func() { b.deliver(ctx) })
	return b
}

// send sends frames numbered from first on.
func (b *bench) send(first, n int) {
	for i := range n {
		f := make([]byte, 60)
		binary.BigEndian.PutUint32(f[14:], uint32(first+i))
		b.in.Send(f)
	}
	synctest.Wait()
}

// taken returns the numbers of the frames that have come out.
func (b *bench) taken() (numbers []int) {
	synctest.Wait()
	for _, s := range b.out.Taken() {
		numbers = append(numbers, int(binary.BigEndian.Uint32(s.Bytes[14:])))
	}
	return numbers
}

// end takes the wire down, whose books must balance.
func (b *bench) end(t *testing.T, out int) {
	t.Helper()
	b.cancel()
	_ = b.in.Close()
	b.running.Wait()
	s := b.load()
	if s.Frames+s.Duplicated != uint64(out)+s.Lost+s.QueueFull+s.Refused {
		t.Errorf("%d came out, %+v", out, s)
	}
}

func TestWireDelaysAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(config.Impair{Delay: config.Duration(20 * time.Millisecond), Jitter: config.Duration(10 * time.Millisecond)})
		b.send(0, 100)
		time.Sleep(9 * time.Millisecond)
		if got := b.taken(); len(got) != 0 {
			t.Errorf("%d frames came too early", len(got))
		}
		time.Sleep(22 * time.Millisecond)
		got := b.taken()
		for i, n := range got {
			if i != n {
				t.Fatalf("frame %d is at place %d", n, i)
			}
		}
		if len(got) != 100 {
			t.Errorf("%d frames came, want 100", len(got))
		}
		b.end(t, len(got))
	})
}

func TestWireLosesAndDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := config.Impair{Loss: 30, Duplicate: 30, Seed: 3}
		b := newBench(m)
		var want []int
		for i, f := range rolls(m, "w", 500) {
			switch {
			case f.lost:
			case f.duplicated:
				want = append(want, i, i)
			default:
				want = append(want, i)
			}
		}
		b.send(0, 500)
		got := b.taken()
		if len(got) != len(want) {
			t.Fatalf("%d frames came, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("frame %d is at place %d, want %d", got[i], i, want[i])
			}
		}
		if s := b.load(); s.Lost == 0 || s.Duplicated == 0 {
			t.Errorf("%+v", s)
		}
		b.end(t, len(got))
	})
}

func TestWireCorruptsOneBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(config.Impair{Corrupt: 100})
		b.send(0, 1)
		sent, got := make([]byte, 60), b.out.Taken()[0].Bytes
		wrong := 0
		for i := range got {
			for x := got[i] ^ sent[i]; x != 0; x &= x - 1 {
				wrong++
			}
		}
		if wrong != 1 || !bytes.Equal(got[:14], sent[:14]) {
			t.Errorf("%x", got)
		}
		b.end(t, 1)
	})
}

func TestImpairmentEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(config.Impair{Loss: 100, For: config.Duration(time.Minute)})
		b.send(0, 10)
		time.Sleep(59 * time.Second)
		b.send(10, 10)
		if got := b.taken(); len(got) != 0 {
			t.Errorf("%v came", got)
		}
		time.Sleep(time.Second)
		b.send(20, 10)
		got := b.taken()
		if len(got) != 10 || got[0] != 20 {
			t.Errorf("%v came, want all from 20 on", got)
		}
		b.end(t, len(got))
	})
}

func TestWireHoldsSoManyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(config.Impair{Delay: config.Duration(time.Hour)})
		b.send(0, 1) // It is in the hands of who delivers it.
		b.send(1, 2*wireLen)
		if s := b.load(); s.QueueFull != wireLen {
			t.Errorf("%d frames found no room, want %d", s.QueueFull, wireLen)
		}
		time.Sleep(time.Hour)
		b.end(t, len(b.taken()))
	})
}

func TestWireCountsWhatTheFarEndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(config.Impair{Duplicate: 100})
		b.out.Refuse(frame.DropLinkDown)
		b.send(0, 5)
		if s := b.load(); s.Refused != 10 {
			t.Errorf("%+v", s)
		}
		b.end(t, 0)
	})
}
