package main

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize  = 64     // messages of one sendmmsg or recvmmsg
	frameSize  = 60     // without FCS: the shortest of Ethernet
	opaqueType = 0x88b5 // EtherType for local experiments: IEEE 802, 9.2.4
	smallSize  = 18     // payload that makes a UDP datagram fill such a frame
	udpPort    = 5300
	// receiveRoom bounds the datagrams that wait for the sink.
	receiveRoom = 8 << 20 // bytes
)

// batch is what one sendmmsg or recvmmsg takes.
type batch struct {
	messages []unix.Mmsghdr
	vectors  []unix.Iovec
	keep     [][]byte // what the kernel has only addresses of
}

// newBatch has a message with room or payload of each size.
func newBatch(sizes []int) *batch {
	b := &batch{messages: make([]unix.Mmsghdr, len(sizes)), vectors: make([]unix.Iovec, len(sizes))}
	for i, size := range sizes {
		data := make([]byte, size)
		b.keep = append(b.keep, data)
		b.vectors[i].Base = unsafe.SliceData(data)
		b.vectors[i].SetLen(size)
		b.messages[i].Hdr.Iov = &b.vectors[i]
		b.messages[i].Hdr.SetIovlen(1)
	}
	return b
}

func (b *batch) transfer(call uintptr, fd int, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(call, uintptr(fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(b.messages))), uintptr(len(b.messages)), flags, 0, 0)
	return int(n), errno
}

// equal returns a whole batch of one size.
func equal(size int) []int {
	sizes := make([]int, batchSize)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// blast sends the batch over and over. A frame that a full queue refuses is
// counted as refused, and not sent again.
func (l *load) blast(fd int, b *batch) {
	sent, refused := add(&l.sent), add(&l.refused)
	l.send(func() error {
		for l.sending.Load() {
			n, errno := b.transfer(unix.SYS_SENDMMSG, fd, 0)
			switch {
			case errno == 0:
				sent.n.Add(uint64(n))
				if n < len(b.messages) { // The next one was refused, which only a first one's error tells.
					refused.n.Add(1)
				}
			case errno == unix.ENOBUFS:
				refused.n.Add(1)
			case !waits(errno):
				return fmt.Errorf("send a batch: %w", errno)
			}
		}
		return nil
	})
}

// opaque sends the shortest frames of no protocol that anybody could join or
// offload. Who receives them is the receiving link's counter.
func (l *load) opaque(from, to *host) error {
	fd, err := l.packetSocket(from)
	if err != nil {
		return err
	}
	l.blast(fd, from.frames(to, batchSize))
	return nil
}

// packetSocket opens a socket for whole frames at the host's link. It receives
// nothing.
func (l *load) packetSocket(h *host) (int, error) {
	fd, err := l.socket(h, unix.AF_PACKET, unix.SOCK_RAW) // Protocol 0: it receives nothing.
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: h.index}); err != nil {
		return -1, fmt.Errorf("bind to link %d: %w", h.index, err)
	}
	// Without it the queueing discipline is measured too.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return -1, fmt.Errorf("bypass the queueing discipline: %w", err)
	}
	return fd, nil
}

// frames are the n frames from a host to another that opaque sends.
func (h *host) frames(to *host, n int) *batch {
	b := newBatch(equal(frameSize)[:n])
	for _, f := range b.keep {
		copy(f, to.mac)
		copy(f[6:], h.mac)
		f[12], f[13] = opaqueType>>8, opaqueType&0xff
	}
	return b
}

// datagrams sends UDP datagrams with payloads of those sizes, in that order, in
// as many flows, each with a source address of its own; all to one socket.
func (l *load) datagrams(from, to *host, sizes []int, flows int) error {
	sink, err := l.socket(to, unix.AF_INET, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	// Root of a user namespace gets what net.core.rmem_max allows.
	if err := unix.SetsockoptInt(sink, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveRoom); err != nil {
		if err := unix.SetsockoptInt(sink, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveRoom); err != nil {
			return fmt.Errorf("grow the receive buffer: %w", err)
		}
	}
	if err := unix.Bind(sink, address(to.addr, udpPort)); err != nil {
		return fmt.Errorf("bind to UDP port %d: %w", udpPort, err)
	}
	source, err := l.socket(from, unix.AF_INET, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	if err := unix.Connect(source, address(to.addr, udpPort)); err != nil {
		return fmt.Errorf("connect by UDP: %w", err)
	}
	b := newBatch(sizes)
	if flows > 1 {
		// The addresses are nobody's, so that the link needs no more of them.
		if err := unix.SetsockoptInt(source, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
			return fmt.Errorf("send from other addresses: %w", err)
		}
		b.spread(from, flows)
	}
	l.blast(source, b)
	l.swallow(sink)
	return nil
}

// spread has message i leave from the address of flow i modulo flows (IP_PKTINFO).
func (b *batch) spread(from *host, flows int) {
	for i := range b.messages {
		a := from.addr.As4()
		a[2], a[3] = 1, byte(1+i%flows)
		control := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a})
		b.keep = append(b.keep, control)
		b.messages[i].Hdr.Control = unsafe.SliceData(control)
		b.messages[i].Hdr.SetControllen(len(control))
	}
}

// swallow counts the datagrams that reach a socket.
func (l *load) swallow(fd int) {
	got, octets := add(&l.delivered), add(&l.octets)
	b := newBatch(equal(2048))
	l.receive(func() error {
		for {
			n, errno := b.transfer(unix.SYS_RECVMMSG, fd, unix.MSG_WAITFORONE)
			if errno != 0 {
				if !waits(errno) {
					return fmt.Errorf("receive datagrams: %w", errno)
				}
				if !l.receiving.Load() {
					return nil
				}
				continue
			}
			bytes := uint64(0)
			for i := range n {
				bytes += uint64(b.messages[i].Len)
			}
			got.n.Add(uint64(n))
			octets.n.Add(bytes)
		}
	})
}
