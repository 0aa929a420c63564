package explain

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// ngMagic is the type of the block that a pcapng file begins with.
var ngMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

// longest is how long a frame of a capture can be: more than any that a switch
// takes, and little enough to be padded.
const longest = 1 << 17

// Captured returns frame n, from 1, of a capture in the form of pcap, also
// compressed by gzip, or pcapng. Of one that was not captured whole the rest is
// zeros. The error says how many frames there are if there is no such frame.
func Captured(r io.Reader, n int) (frame []byte, err error) {
	defer func() {
		// The decoder can panic on a file that lies about its lengths.
		if p := recover(); p != nil {
			err = fmt.Errorf("the capture is malformed: %v", p)
		}
	}()
	next, err := reader(bufio.NewReader(r))
	if err != nil {
		return nil, err
	}
	for i := 1; ; i++ {
		b, info, link, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("there is no frame %d: the capture has %d", n, i-1)
		case err != nil:
			return nil, fmt.Errorf("frame %d of the capture cannot be read: %w", i, err)
		case i < n:
			continue
		case link != layers.LinkTypeEthernet:
			return nil, fmt.Errorf("frame %d of the capture is not Ethernet but %v: capture on the link itself, not on any", i, link)
		case info.Length > longest:
			return nil, fmt.Errorf("frame %d of the capture is said to have %d bytes", i, info.Length)
		}
		return append(b, make([]byte, max(0, info.Length-len(b)))...), nil
	}
}

// reader returns what reads one frame after the other.
func reader(r *bufio.Reader) (func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error), error) {
	const neither = "neither pcap nor pcapng: %w"
	if begin, err := r.Peek(len(ngMagic)); err == nil && bytes.Equal(begin, ngMagic) {
		ng, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf(neither, err)
		}
		return func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
			b, info, err := ng.ReadPacketData()
			if err != nil {
				return nil, info, 0, err
			}
			of, err := ng.Interface(info.InterfaceIndex)
			return b, info, of.LinkType, err
		}, nil
	}
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf(neither, err)
	}
	return func() ([]byte, gopacket.CaptureInfo, layers.LinkType, error) {
		b, info, err := p.ReadPacketData()
		return b, info, p.LinkType(), err
	}, nil
}
