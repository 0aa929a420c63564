package explain

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// frameWriter is what both kinds of writers do.
type frameWriter interface {
	WritePacket(gopacket.CaptureInfo, []byte) error
}

// capture makes a file with two frames, the second of which was cut.
func capture(t testing.TB, open func(io.Writer) (frameWriter, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		bytes string
		whole int
	}{{strings.Repeat("one.", 20), 80}, {strings.Repeat("two.", 16), 1514}} {
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f.bytes), Length: f.whole}, []byte(f.bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if ng, ok := w.(*pcapgo.NgWriter); ok {
		if err := ng.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func asPcap(link layers.LinkType) func(io.Writer) (frameWriter, error) {
	return func(w io.Writer) (frameWriter, error) {
		p := pcapgo.NewWriter(w)
		return p, p.WriteFileHeader(65536, link)
	}
}

func asPcapNg(w io.Writer) (frameWriter, error) {
	return pcapgo.NewNgWriter(w, layers.LinkTypeEthernet)
}

func TestCapturedFrame(t *testing.T) {
	for name, file := range map[string][]byte{"pcap": capture(t, asPcap(layers.LinkTypeEthernet)), "pcapng": capture(t, asPcapNg)} {
		first, err := Captured(bytes.NewReader(file), 1)
		if err != nil || string(first) != strings.Repeat("one.", 20) {
			t.Errorf("%s: frame 1 is %q, %v", name, first, err)
		}
		second, err := Captured(bytes.NewReader(file), 2)
		if want := strings.Repeat("two.", 16) + strings.Repeat("\x00", 1450); err != nil || string(second) != want {
			t.Errorf("%s: frame 2 is %q, %v", name, second, err)
		}
		if _, err := Captured(bytes.NewReader(file), 3); err == nil || !strings.Contains(err.Error(), "no frame 3: the capture has 2") {
			t.Errorf("%s: frame 3: %v", name, err)
		}
	}
}

func TestCaptureOfAnotherKindIsRefused(t *testing.T) {
	for part, file := range map[string][]byte{
		"not Ethernet":            capture(t, asPcap(layers.LinkTypeLinuxSLL)),
		"neither pcap nor pcapng": []byte("# vswitchd\nvlan_aware: true\n"),
		"EOF":                     nil,
	} {
		if _, err := Captured(bytes.NewReader(file), 1); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one with %q", err, part)
		}
	}
}

// What pcapgo makes of lengths that lie is memory that it asks for and does not
// touch: affordable once in a process, not in a fuzz target.
func TestCutCaptureHasNoLastFrame(t *testing.T) {
	for name, file := range map[string][]byte{"pcap": capture(t, asPcap(layers.LinkTypeEthernet)), "pcapng": capture(t, asPcapNg)} {
		for n := range len(file) - 8 {
			if b, err := Captured(bytes.NewReader(file[:n]), 2); err == nil {
				t.Fatalf("%s: frame 2 of the first %d of %d bytes is %q", name, n, len(file), b)
			}
		}
	}
}
