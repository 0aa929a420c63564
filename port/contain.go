package port

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/frame"
)

// Containment: a write to a TAP runs the station's network stack, so that the
// station decides what it costs. One that loads its ingress with ten thousand
// filters makes each write a hundred times dearer, at the cost of every port whose
// worker has a frame for it. Such a port gets a queue of its own, with tail drop,
// and a goroutine that writes from it for a bounded share of the time.

const (
	// What a copy may cost in CPU time, in the mean: so much and as much more per
	// byte. On a virtual machine a write that wakes a process on an idle CPU was seen
	// to cost 13 to 25 µs, in the midst of others 2 µs; behind 3,000 filters 47 µs,
	// behind 10,000 160 µs.
	dearCopy = 40 * time.Microsecond
	dearByte = time.Nanosecond

	// share bounds a contained port to one in so many parts of one CPU.
	share = 40
	// slice is for how much CPU time a contained port may be ahead of that: as long
	// as that others may have to wait, where there is one CPU for all.
	slice = 100 * time.Microsecond
	// probation is for how long a port must have been cheap, or silent, to be let
	// out.
	probation = 3 * time.Second
	// remainder is up to how many bytes of the queue are written at one go, while the
	// workers wait, when the port is let out: one super-frame, or a millisecond of
	// small frames.
	remainder = 80 << 10
)

// Cost is what copies have cost.
type Cost struct {
	Copies, Bytes int
	CPU           time.Duration
}

// Add sums two costs.
func (c *Cost) Add(o Cost) {
	c.Copies += o.Copies
	c.Bytes += o.Bytes
	c.CPU += o.CPU
}

// Dear reports whether that is too much for what it was.
func (c *Cost) Dear() bool {
	return c.CPU > time.Duration(c.Copies)*dearCopy+time.Duration(c.Bytes)*dearByte
}

// Measure is t.Transmit and says what that cost. It makes some more system calls,
// so that it is for samples.
func (t *TAP) Measure(out []Out) Cost {
	runtime.LockOSThread() // The clock is the thread's.
	defer runtime.UnlockOSThread()
	begin := threadTime()
	t.Transmit(out)
	c := Cost{Copies: len(out), CPU: threadTime() - begin}
	for i := range out {
		c.Bytes += out[i].Len()
	}
	return c
}

// threadTime returns the CPU time of the calling thread. To wait for a CPU, as
// beside many processes, costs none.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // There is such a clock.
	return time.Duration(ts.Nano())
}

// Contained transmits to a TAP by a queue. A frame counts as transmitted once it
// is in there; Lost counts those that the kernel did not take afterwards.
type Contained struct {
	tap    *TAP
	q      outQueue
	direct atomic.Bool // written with q.mu held: the queue is empty for good
	lost   atomic.Uint64
	pace   time.Duration // so many parts of a CPU: share, or 1 on the way out
	cancel context.CancelFunc
	done   chan struct{}
}

// Contain begins to contain t. Once t has been cheap for some seconds its queue is
// written at full pace; when that is nearly empty, and t cheap all the same, frames
// go to it at once again and released is called, at most once and not after Close.
func (t *TAP) Contain(released func()) *Contained {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Contained{tap: t, q: newOutQueue(), pace: share, cancel: cancel, done: make(chan struct{})}
	c.q.open = true
	go func() {
		defer close(c.done)
		if c.write(ctx) {
			released()
		}
	}()
	return c
}

// Close ends the writing. It does not close the TAP.
func (c *Contained) Close() {
	c.cancel()
	<-c.done
}

// Lost returns how many frames were queued but not taken by the kernel.
func (c *Contained) Lost() uint64 { return c.lost.Load() }

// Offloads is described at Transmitter.
func (c *Contained) Offloads() frame.Offloads { return c.tap.Offloads() }

// Transmit is described at Transmitter. Frames of one worker stay in order: it
// was through with those that it wrote itself before it came here, and direct is
// set once all that are in the queue are written.
func (c *Contained) Transmit(out []Out) {
	if c.direct.Load() {
		c.tap.Transmit(out)
		return
	}
	c.q.mu.Lock()
	if c.direct.Load() {
		c.q.mu.Unlock()
		c.tap.Transmit(out)
		return
	}
	for i := range out {
		out[i].Reason = c.q.addOffload(&out[i])
	}
	c.q.mu.Unlock()
	c.q.wakeUp()
}

// write writes from the queue until ctx ends or, which it reports, the port needs
// no containing any more.
func (c *Contained) write(ctx context.Context) (released bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	look := time.NewTicker(probation / 3)
	defer look.Stop()
	dear, since := time.Now(), time.Now()
	var cost Cost
	for {
		select {
		case <-ctx.Done():
			c.lost.Add(c.q.finish())
			return false
		case <-c.q.wake:
			cost.Add(c.writeAll(ctx, c.q.take()))
		case <-look.C:
		}
		if elapsed := time.Since(since); elapsed >= probation/3 {
			// A few frames cost more each, as they find everything asleep, and matter less.
			if cost.Dear() && cost.CPU > elapsed/share/2 {
				dear, c.pace = time.Now(), share
			}
			since, cost = time.Now(), Cost{}
			if time.Since(dear) > probation {
				c.pace = 1
			}
		}
		if c.pace == 1 && c.leave() {
			return true
		}
	}
}

// leave ends the queueing if little is left in the queue.
func (c *Contained) leave() bool {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	if len(c.q.fill) > remainder {
		return false
	}
	for b := c.q.fill; len(b) > 0; {
		b = c.writeNext(b)
	}
	c.q.fill = c.q.fill[:0]
	c.direct.Store(true)
	return true
}

// writeAll writes the frames in b and returns what that has cost. It takes its
// time, and on the way out does so again from where the port proves dear.
func (c *Contained) writeAll(ctx context.Context, b []byte) (cost Cost) {
	begin := threadTime()
	for len(b) > 0 {
		if ctx.Err() != nil {
			c.lost.Add(records(b, 0))
			break
		}
		cost.Copies++
		cost.Bytes += len(b)
		b = c.writeNext(b)
		cost.Bytes -= len(b)
		if used := threadTime() - begin; used > slice || len(b) == 0 {
			cost.CPU += used
			if cost.Dear() {
				c.pace = share
			}
			pause(ctx, used*(c.pace-1))
			begin = threadTime()
		}
	}
	return cost
}

// writeNext writes the first frame in b and returns the others.
func (c *Contained) writeNext(b []byte) []byte {
	end := lengthLen + int(binary.BigEndian.Uint32(b))
	if !c.tap.writeSlowly(b[lengthLen:end]) {
		c.lost.Add(1)
	}
	return b[end:]
}

// writeSlowly writes one frame that is in one piece, offload header in front. It
// tells the runtime, which lets others run meanwhile if it takes long.
func (t *TAP) writeSlowly(b []byte) bool {
	for {
		n, err := unix.Write(t.fd, b)
		if err != unix.EINTR {
			return n == len(b)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// addOffload is add with the frame's offload header in front of it.
func (q *outQueue) addOffload(o *Out) frame.DropReason {
	var front [frontRoom]byte
	head, rest := o.parts(&front)
	n := head + len(rest)
	switch {
	case !q.open:
		return frame.DropPortGone
	case len(q.fill)+lengthLen+n > cap(q.fill):
		return frame.DropQueueFull
	}
	q.fill = binary.BigEndian.AppendUint32(q.fill, uint32(n))
	q.fill = append(q.fill, front[:head]...)
	q.fill = append(q.fill, rest...)
	return frame.Keep
}
