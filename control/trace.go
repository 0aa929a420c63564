package control

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// TraceRequest is the body of POST /v1/trace: what would become of a frame?
type TraceRequest struct {
	In    string     `json:"in"`    // the port that it comes in by
	Frame FrameBytes `json:"frame"` // without FCS
	// Config is the configuration to ask, as if it were applied; nil is the one
	// that is running.
	Config *config.Config `json:"config,omitempty"`
}

// FrameBytes are a frame from its destination address on; in JSON, hexadecimal
// digits.
type FrameBytes []byte

// MarshalText implements encoding.TextMarshaler.
func (b FrameBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *FrameBytes) UnmarshalText(text []byte) error {
	got, err := hex.AppendDecode(nil, text)
	switch {
	case err != nil:
		return fmt.Errorf("want hexadecimal digits, two for each byte: %w", err)
	case len(got) > frame.MaxTaggedLen:
		return fmt.Errorf("%d bytes are no frame: the longest has %d", len(got), frame.MaxTaggedLen)
	}
	*b = got
	return nil
}

// Trace is the answer to POST /v1/trace: nothing was sent, learned or counted.
type Trace struct {
	In   string    `json:"in"`
	VLAN frame.VID `json:"vlan,omitempty"` // that the frame was classified to
	// Steps are the stages that the frame gets through, in order: parse, ingress,
	// lookup, egress. One with a reason is the last.
	Steps []TraceStep `json:"steps"`
	// Copies has the port of a known destination, or of a flood every port.
	Copies []TraceCopy `json:"copies,omitempty"`
	// Learning is what the FDB would make of the source: learned, moved, refreshed,
	// refused by a limit, or pinned by a static entry; absent: nothing.
	Learning  string `json:"learning,omitempty"`
	Delivered bool   `json:"delivered"`
	Reason    string `json:"reason,omitempty"` // of the drop
	Verdict   string `json:"verdict"`          // in words
	Fix       string `json:"fix,omitempty"`    // what to do if it should be another
}

// TraceStep is one stage of the forwarding process.
type TraceStep struct {
	Stage  string `json:"stage"`
	Text   string `json:"text"`
	Reason string `json:"reason,omitempty"` // of a drop at this stage
}

// TraceCopy is what one egress port makes of the frame.
type TraceCopy struct {
	Port   string    `json:"port"`
	Sent   bool      `json:"sent"`
	Reason string    `json:"reason,omitempty"` // unless it is sent
	Text   string    `json:"text"`
	Tag    *TraceTag `json:"tag,omitempty"`  // of a copy with C-TAG
	Work   string    `json:"work,omitempty"` // offload work that the switch does, such as "csum tso4"
	MTU    int       `json:"mtu,omitempty"`  // that the copy needs
	Link   TraceLink `json:"link"`           // of the port
}

// TraceTag is a C-TAG.
type TraceTag struct {
	VLAN frame.VID `json:"vlan"`
	PCP  uint8     `json:"pcp"`
	DEI  bool      `json:"dei"`
}

// TraceLink is the link of an egress port, as far as it has a say.
type TraceLink struct {
	Up  bool `json:"up"`
	MTU int  `json:"mtu"`
}

func (s *Server) trace(_ *http.Request, body []byte) (any, error) {
	in, f, text, err := decodeTrace(body)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return traced(s.sw.View(), in, f)
	}
	c, err := config.Parse("config", text)
	if err != nil {
		return nil, invalid("%v", err)
	}
	v, err := s.sw.Candidate(c)
	if err != nil {
		return nil, err
	}
	return traced(v, in, f)
}

func decodeTrace(body []byte) (in string, f FrameBytes, c json.RawMessage, err error) {
	err = decode(body, fields{"in": &in, "frame": &f, "config": &c})
	switch {
	case err != nil:
	case in == "":
		err = invalid("in: the key is missing; name the port that the frame comes in by")
	case f == nil:
		err = invalid("frame: the key is missing; write the frame in hexadecimal digits")
	}
	return in, f, c, err
}

// Evaluate answers a request with a configuration as on a switch that just
// starts, without a daemon.
func (r TraceRequest) Evaluate() (Trace, error) {
	v, err := vswitch.NewView(r.Config)
	if err != nil {
		return Trace{}, errorOf(err)
	}
	t, err := traced(v, r.In, r.Frame)
	if err != nil {
		return Trace{}, errorOf(err)
	}
	return *t, nil
}

// traced asks v and puts the answer into words.
func traced(v *vswitch.View, in string, f FrameBytes) (*Trace, error) {
	j, err := v.Trace(in, &frame.Frame{Bytes: f})
	if err != nil {
		return nil, err
	}
	t := &Trace{In: in, VLAN: j.Verdict.VID, Delivered: j.Delivered()}
	if why := j.Dropped(); why != frame.Keep {
		t.Reason = why.String()
	}
	if j.Learns {
		t.Learning = [...]string{
			fdb.Refreshed: "refreshed", fdb.Learned: "learned", fdb.Moved: "moved", fdb.Refused: "refused", fdb.Pinned: "pinned",
		}[j.Learning]
	}
	tell(t, journey{j})
	return t, nil
}
