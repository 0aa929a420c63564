package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/explain"
)

// shortest is the length of a frame that nobody has said the length of: the
// least on Ethernet, without FCS.
const shortest = 60

// frameFlags describe a frame in one of three ways.
type frameFlags struct {
	src, dst, etherType string
	vlan, pcp           uint16
	length              int
	hex, pcap           string
}

func newTrace(o *options) *cobra.Command {
	var flags frameFlags
	c := &cobra.Command{
		Use:   "trace --in PORT (--src MAC --dst MAC | --hex BYTES | --pcap FILE:N)",
		Short: "Tell what would become of a frame, and why; sends and changes nothing",
		Example: `  vswitchctl trace --in web --src 02:00:00:00:00:01 --dst 02:00:00:00:00:02
  vswitchctl trace --in up --src 02:00:00:00:00:01 --dst ff:ff:ff:ff:ff:ff --vlan 20 --length 9014
  vswitchctl trace --in web --pcap capture.pcapng:17 --config next.yaml`,
	}
	f := c.Flags()
	f.SortFlags = false
	in := f.String("in", "", "`PORT` that the frame comes in by")
	f.StringVar(&flags.src, "src", "", "source `MAC` address")
	f.StringVar(&flags.dst, "dst", "", "destination `MAC` address")
	f.Uint16Var(&flags.vlan, "vlan", 0, "`VLAN` of the frame's tag; 0 is a priority tag; default: no tag")
	f.Uint16Var(&flags.pcp, "pcp", 0, "priority of the frame's tag, 0 to 7")
	// The default is for local experiments (IEEE 802, 9.2.4): a payload of zeros is no
	// other protocol's.
	f.StringVar(&flags.etherType, "ethertype", "0x88b5", "EtherType in hexadecimal `DIGITS`")
	f.IntVar(&flags.length, "length", shortest, "length of the frame in `BYTES`, header and tag included, FCS not")
	f.StringVar(&flags.hex, "hex", "", "the frame's `BYTES` in hexadecimal digits, from the destination address on")
	f.StringVar(&flags.pcap, "pcap", "", "frame N of a capture, pcap or pcapng: `FILE:N`")
	candidate := f.String("config", "", "ask the configuration in `FILE` as if it were applied, not the running one")
	complete(c, "in", func(c *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return o.portNames(c, nil, word)
	})
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *in == "" {
			return &usageError{"--in is missing", "name the port that the frame comes in by; see: vswitchctl port list"}
		}
		b, err := flags.frame(c)
		if err != nil {
			return err
		}
		request := control.TraceRequest{In: *in, Frame: b}
		if c.Flags().Changed("config") {
			if request.Config, err = load(*candidate); err != nil {
				return err
			}
		}
		told, err := o.trace(c, request)
		if err != nil {
			return err
		}
		return o.print(c, told, func(w io.Writer) { writeTrace(w, b, &told) })
	}
	return takes(c, 0, 0)
}

// trace asks the daemon. A configuration can be asked without one.
func (o *options) trace(c *cobra.Command, r control.TraceRequest) (control.Trace, error) {
	ctx, cancel := within(c)
	defer cancel()
	told, err := o.client().Trace(ctx, r)
	if r.Config == nil || !errors.Is(err, control.ErrUnreachable) {
		return told, err
	}
	fmt.Fprintf(c.ErrOrStderr(), "note: %v: each link is taken to be up, and nothing to be learned\n", err)
	return r.Evaluate()
}

// frame returns the frame that the flags describe.
func (f *frameFlags) frame(c *cobra.Command) ([]byte, error) {
	set := c.Flags().Changed
	made := set("src") || set("dst")
	switch {
	case made && !set("hex") && !set("pcap"):
		return f.make(set("vlan") || set("pcp"))
	case set("hex") && !made && !set("pcap"):
		return parseHex(f.hex)
	case set("pcap") && !made && !set("hex"):
		return readCaptured(f.pcap)
	}
	return nil, &usageError{c.CommandPath() + ": say in one way what the frame is", "give --src and --dst, or --hex, or --pcap"}
}

// make puts a frame together, with a tag if it is tagged.
func (f *frameFlags) make(tagged bool) ([]byte, error) {
	dst, err := parseMAC(f.dst)
	if err != nil {
		return nil, fmt.Errorf("--dst: %w", err)
	}
	src, err := parseMAC(f.src)
	if err != nil {
		return nil, fmt.Errorf("--src: %w", err)
	}
	etherType, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(f.etherType), "0x"), 16, 16)
	b := append(dst[:], src[:]...)
	switch {
	case err != nil:
		return nil, usagef("--ethertype %q: want up to four hexadecimal digits such as 0x0806", f.etherType)
	case f.vlan > uint16(frame.VIDReserved):
		return nil, usagef("--vlan %d: a tag has a VLAN from 0 to %d", f.vlan, frame.VIDReserved)
	case f.pcp > 7:
		return nil, usagef("--pcp %d: a tag has a priority from 0 to 7", f.pcp)
	case f.length < frame.TaggedLen || f.length > frame.MaxTaggedLen:
		return nil, usagef("--length %d: want %d to %d bytes", f.length, frame.TaggedLen, frame.MaxTaggedLen)
	case tagged:
		b = binary.BigEndian.AppendUint16(b, frame.TypeCTag)
		b = binary.BigEndian.AppendUint16(b, uint16(frame.MakeTCI(uint8(f.pcp), false, frame.VID(f.vlan))))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(etherType))
	return append(b, make([]byte, f.length-len(b))...), nil
}

// parseHex reads hexadecimal digits; bytes may have blanks, colons or hyphens
// between them.
func parseHex(text string) ([]byte, error) {
	var b []byte
	half, high := -1, byte(0) // where a byte has begun, and its first digit
	for i, c := range text {
		if strings.ContainsRune(" \t\n:-", c) && half < 0 {
			continue
		}
		digit, err := strconv.ParseUint(string(c), 16, 8)
		switch {
		case err != nil && half >= 0:
			return nil, usagef("--hex: the byte at offset %d has one digit: there is %q behind it", half, c)
		case err != nil:
			return nil, usagef("--hex: %q at offset %d is no hexadecimal digit", c, i)
		case half < 0:
			half, high = i, byte(digit)
		default:
			b, half = append(b, high<<4|byte(digit)), -1
		}
	}
	switch {
	case half >= 0:
		return nil, usagef("--hex: the number of digits is odd: the byte at offset %d has one", half)
	case len(b) > frame.MaxTaggedLen:
		return nil, usagef("--hex: %d bytes are no frame: the longest has %d", len(b), frame.MaxTaggedLen)
	}
	return b, nil
}

// readCaptured reads the frame that FILE:N names.
func readCaptured(where string) ([]byte, error) {
	at := strings.LastIndex(where, ":")
	n, err := strconv.Atoi(where[at+1:])
	if at < 1 || err != nil || n < 1 {
		return nil, &usageError{fmt.Sprintf("--pcap %q: does not say which frame", where), "write FILE:N, with the first frame as 1"}
	}
	file, err := os.Open(where[:at])
	if err != nil {
		return nil, fmt.Errorf("--pcap: %w", err)
	}
	defer file.Close()
	b, err := explain.Captured(file, n)
	if err != nil {
		return nil, usagef("--pcap %s: %v", where[:at], err)
	}
	if len(b) > frame.MaxTaggedLen {
		return nil, usagef("--pcap %s: frame %d has %d bytes, and the longest that a port takes has %d", where[:at], n, len(b), frame.MaxTaggedLen)
	}
	return b, nil
}

func writeTrace(w io.Writer, b []byte, t *control.Trace) {
	line := func(name, text string) { fmt.Fprintf(w, "%-8s %s\n", name+":", text) }
	line("frame", explain.Frame(bytes.Clone(b)))
	for _, s := range t.Steps {
		line(s.Stage, s.Text)
	}
	for _, c := range t.Copies {
		if c.Sent {
			fmt.Fprintf(w, "  %s\tyes\t%s\n", c.Port, c.Text)
			continue
		}
		fmt.Fprintf(w, "  %s\tno\t%s: %s\n", c.Port, c.Reason, c.Text)
	}
	verdict := t.Verdict
	if t.Fix != "" {
		verdict += "; what to do: " + t.Fix
	}
	line("verdict", verdict)
}
