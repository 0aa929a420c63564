// Package explain says in words what is in a frame. It is for people, off the
// data path, and the only importer of gopacket, whose decoders panic on crafted
// frames.
package explain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// MaxLen is the most bytes that Frame returns.
const MaxLen = 300

// maxHeaders bounds the work on tags behind tags and IP in IP in IP.
const maxHeaders = 8

var errTooManyHeaders = errors.New("too many headers")

// Frame describes b, a frame without FCS, in one line of printable ASCII,
// whatever b holds. The line begins with the source and destination addresses
// and goes on with each header that it knows; a length at its end is that of
// what lies behind them, in bytes.
func Frame(b []byte) string {
	// All is made afresh, because decoders leave fields of the frame before as
	// they were. The list is short, because other decoders are worse.
	x := &explanation{}
	p := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet,
		told{&x.eth, x, x.sayEthernet},
		told{&x.tag, x, x.sayTag},
		told{&x.arp, x, x.sayARP},
		told{&x.ip4, x, x.sayIPv4},
		told{&x.ip6, x, x.sayIPv6},
		told{&x.icmp4, x, x.sayICMPv4},
		told{&x.icmp6, x, x.sayICMPv6},
		told{&x.tcp, x, x.sayTCP},
		told{&x.udp, x, x.sayUDP})
	p.IgnoreUnsupported = true
	// A panic of a decoder comes back as an error, since IgnorePanic is not set.
	var decoded []gopacket.LayerType
	err := p.DecodeLayers(b, &decoded)
	switch {
	case x.last == nil:
		return fmt.Sprintf("truncated frame, %d bytes", len(b))
	case errors.Is(err, errTooManyHeaders):
		x.say("more headers")
	case err != nil && p.Truncated:
		x.say("truncated %s", x.last.NextLayerType())
	case err != nil:
		x.say("malformed %s", x.last.NextLayerType())
	default:
		x.sayRest()
		if p.Truncated {
			x.say("truncated")
		}
	}
	line := strings.Join(x.words, ", ")
	if len(line) > MaxLen {
		line = line[:MaxLen-len("...")] + "..."
	}
	return line
}

// explanation is the work on one frame.
type explanation struct {
	words     []string
	last      gopacket.DecodingLayer // the header decoded last
	etherType layers.EthernetType    // the Length/Type field seen last

	eth   layers.Ethernet
	tag   layers.Dot1Q
	arp   layers.ARP
	ip4   layers.IPv4
	ip6   layers.IPv6
	icmp4 layers.ICMPv4
	icmp6 layers.ICMPv6
	tcp   layers.TCP
	udp   layers.UDP
}

func (x *explanation) say(format string, args ...any) {
	x.words = append(x.words, fmt.Sprintf(format, args...))
}

// told is a header that is described as soon as it is decoded: the next tag
// behind a tag is decoded into the same struct.
type told struct {
	gopacket.DecodingLayer
	x   *explanation
	say func()
}

// DecodeFromBytes decodes the header and describes it.
func (t told) DecodeFromBytes(b []byte, df gopacket.DecodeFeedback) error {
	if len(t.x.words) >= maxHeaders {
		return errTooManyHeaders
	}
	if err := t.DecodingLayer.DecodeFromBytes(b, df); err != nil {
		return err
	}
	t.x.last = t.DecodingLayer
	t.say()
	return nil
}
