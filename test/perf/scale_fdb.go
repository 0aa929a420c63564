package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

const (
	// probeEvery is the time between the frames whose delay is measured.
	probeEvery = 100 * time.Microsecond
	// learnTime bounds how long the switch may take to learn or forget all.
	learnTime = time.Minute
	// macOffset and dataOffset are where a frame has its source address and,
	// behind the EtherType, its payload.
	macOffset, dataOffset = 6, 14
)

// addresses has n stations, all of them behind p0 but a pair that talks from p1 to
// p2 while the others are forgotten.
func (s *scaling) addresses(n int) ([]quantity, error) {
	n -= 2
	v := *s.v
	v.config = append([]string{"fdb: {capacity: " + strconv.Itoa(config.MaxCapacity) + "}"}, v.config...)
	s.v = &v
	if _, err := s.start(3); err != nil {
		return nil, err
	}
	var learned, flushed, aged []float64
	if err := timed(&learned, func() error { return s.learn(n) }); err != nil {
		return nil, err
	}
	quiet, err := s.whileForwarding(func() error { time.Sleep(s.method.window); return nil })
	if err != nil {
		return nil, err
	}
	flush, err := s.whileForwarding(func() error {
		return timed(&flushed, func() error {
			_, err := s.client.FlushFDB(s.ctx, control.FDBFlush{Port: "p0"})
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if err := s.learn(n); err != nil {
		return nil, err
	}
	// All are older than the ageing time is going to be, and one sweep forgets them.
	time.Sleep((config.MinAgeing + 1) * time.Second)
	ageing, err := s.whileForwarding(func() error { return s.age(n, &aged) })
	return []quantity{
		{"learning all", "ms", learned[0]},
		{"flush of the port", "ms", flushed[0]},
		{"ageing sweep", "ms", aged[0]},
		{"longest delay of other frames", "ms", quiet},
		{"longest during the flush", "ms", flush},
		{"longest during the sweep", "ms", ageing},
	}, err
}

// learn returns once the switch knows n stations behind p0, beside p1's and p2's.
func (s *scaling) learn(n int) error {
	h, err := s.host(0)
	if err != nil {
		return err
	}
	l := newLoad()
	defer func() { _ = l.end() }() // It has no threads that could fail.
	fd, err := l.packetSocket(h)
	if err != nil {
		return err
	}
	b := h.frames(h, batchSize)
	for at := 0; at < n; {
		for i, f := range b.keep {
			binary.BigEndian.PutUint32(f[macOffset+2:], uint32((at+i)%n))
			f[macOffset+1] = 1
		}
		switch sent, errno := b.transfer(unix.SYS_SENDMMSG, fd, 0); {
		case errno == 0:
			at += sent
		case errno == unix.ENOBUFS: // The TAP's queue is full.
			time.Sleep(probeEvery)
		case !waits(errno):
			return fmt.Errorf("send a batch: %w", errno)
		}
	}
	return s.awaitStations(func(known int) bool { return known >= n })
}

func (s *scaling) awaitStations(enough func(known int) bool) error {
	for end := time.Now().Add(learnTime); ; time.Sleep(time.Millisecond) {
		status, err := s.client.Status(s.ctx)
		if err != nil {
			return err
		}
		if enough(status.FDB.Dynamic) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("the switch knows %d stations after %v", status.FDB.Dynamic, learnTime)
		}
	}
}

// age shortens the ageing time and appends how long the next sweep took: from
// the last answer that nothing is gone to the first that nearly all are.
func (s *scaling) age(n int, took *[]float64) error {
	if _, err := s.client.SetFDB(s.ctx, control.FDBSettings{Ageing: new(config.MinAgeing)}); err != nil {
		return err
	}
	began := time.Now()
	err := s.awaitStations(func(known int) bool {
		if known >= n {
			began = time.Now()
		}
		return known <= 2
	})
	*took = append(*took, time.Since(began).Seconds()*1e3)
	return err
}

// whileForwarding returns the longest time in ms that a frame took from p1 to
// p2 while f ran.
func (s *scaling) whileForwarding(f func() error) (longest float64, err error) {
	from, err := s.host(1)
	if err != nil {
		return 0, err
	}
	to, err := s.host(2)
	if err != nil {
		return 0, err
	}
	l := newLoad()
	defer func() {
		if e := l.end(); err == nil {
			err = e
		}
	}()
	var worst atomic.Int64
	if err := l.probe(from, to, &worst); err != nil {
		return 0, err
	}
	l.begin()
	if err := f(); err != nil {
		return 0, err
	}
	time.Sleep(patience)
	l.stopSending()
	time.Sleep(patience)
	if sent, got := total(l.sent), total(l.delivered); got < sent {
		s.note("%d of %d frames between other ports were lost while addresses were forgotten", sent-got, sent)
	}
	return time.Duration(worst.Load()).Seconds() * 1e3, nil
}

// probe sends a frame every probeEvery, with the time in it, and keeps the
// longest that one took until the receiving link had it.
func (l *load) probe(from, to *host, worst *atomic.Int64) error {
	source, err := l.packetSocket(from)
	if err != nil {
		return err
	}
	sink, err := l.packetSocket(to)
	if err != nil {
		return err
	}
	// The switch gets to know the receiver before the first frame to it.
	hello := to.frames(from, 1)
	if _, errno := hello.transfer(unix.SYS_SENDMMSG, sink, 0); errno != 0 {
		return fmt.Errorf("send a frame: %w", errno)
	}
	// As of now it receives, in network byte order.
	const protocol = opaqueType&0xff<<8 | opaqueType>>8
	if err := unix.Bind(sink, &unix.SockaddrLinklayer{Ifindex: to.index, Protocol: protocol}); err != nil {
		return fmt.Errorf("receive frames: %w", err)
	}
	if err := unix.SetsockoptInt(sink, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("have frames stamped: %w", err)
	}
	sent, got := add(&l.sent), add(&l.delivered)
	b := from.frames(to, 1)
	l.send(func() error {
		for l.sending.Load() {
			binary.NativeEndian.PutUint64(b.keep[0][dataOffset:], uint64(time.Now().UnixNano()))
			if _, errno := b.transfer(unix.SYS_SENDMMSG, source, 0); errno != 0 {
				return fmt.Errorf("send a frame: %w", errno)
			}
			sent.n.Add(1)
			time.Sleep(probeEvery)
		}
		return nil
	})
	l.receive(func() error {
		data, control := make([]byte, frameSize), make([]byte, 64)
		for l.receiving.Load() {
			n, stamps, _, _, err := unix.Recvmsg(sink, data, control, 0)
			errno, _ := err.(unix.Errno)
			switch {
			case err != nil && waits(errno):
				continue
			case err != nil:
				return fmt.Errorf("receive a frame: %w", err)
			case n < frameSize || stamps < unix.CmsgSpace(0)+16:
				return fmt.Errorf("a frame of %d bytes came with %d of its time", n, stamps)
			}
			got.n.Add(1)
			at := int64(binary.NativeEndian.Uint64(control[unix.CmsgSpace(0):]))*1e9 + int64(binary.NativeEndian.Uint64(control[unix.CmsgSpace(0)+8:]))
			took := at - int64(binary.NativeEndian.Uint64(data[dataOffset:]))
			worst.Store(max(worst.Load(), took))
		}
		return nil
	})
	return nil
}
