package control

import (
	"fmt"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// journey puts a vswitch.Journey into words.
type journey struct{ *vswitch.Journey }

// tell fills in the steps, the copies and the verdict.
func tell(t *Trace, j journey) {
	words := [...]func() string{
		vswitch.StageParse: j.parsed, vswitch.StageIngress: j.admitted, vswitch.StageLookup: j.found, vswitch.StageEgress: j.left,
	}
	cause := advice{}
	for stage := vswitch.StageParse; stage <= j.Verdict.Stage; stage++ {
		step := TraceStep{Stage: stage.String()}
		if why := j.Verdict.Reason; stage == j.Verdict.Stage && why != frame.Keep {
			cause = j.dropped(why)
			step.Text, step.Reason = cause.because, why.String()
		} else {
			step.Text = words[stage]()
		}
		t.Steps = append(t.Steps, step)
	}
	for i := range j.Copies {
		t.Copies = append(t.Copies, j.copyInWords(&j.Copies[i]))
	}
	if why := j.Dropped(); why != frame.Keep {
		if j.Verdict.Reason == frame.Keep {
			cause = j.firstRefused()
		}
		t.Verdict, t.Fix = fmt.Sprintf("dropped: %v: %s", why, cause.because), cause.fix
		return
	}
	t.Verdict = j.sent()
	if but := j.but(); but.because != "" {
		t.Verdict += ", but " + but.because
		t.Fix = but.fix
	}
}

func (j journey) parsed() string {
	f := j.Frame
	if !f.Tagged {
		return fmt.Sprintf("%d bytes, without C-TAG", len(f.Bytes))
	}
	return fmt.Sprintf("%d bytes, C-TAG with VLAN %d PCP %d%s", len(f.Bytes), f.TCI.VID(), f.TCI.PCP(), deiText(f.TCI))
}

func deiText(t frame.TCI) string {
	if t.DEI() {
		return " DEI"
	}
	return ""
}

// admitted is about a frame that passed ingress.
func (j journey) admitted() string {
	return fmt.Sprintf("port %s admits it%s; %s", j.In.Name, j.classified(), j.learning())
}

func (j journey) classified() string {
	switch {
	case !j.VLANAware:
		return ""
	case j.Frame.Tagged && j.Frame.TCI.VID() != frame.VIDPriority:
		return fmt.Sprintf(" to VLAN %d, that of its tag", j.Verdict.VID)
	case j.Frame.Tagged:
		return fmt.Sprintf(" to VLAN %d, its PVID, as the tag has VLAN 0", j.Verdict.VID)
	}
	return fmt.Sprintf(" to VLAN %d, its PVID", j.Verdict.VID)
}

func (j journey) learning() string {
	src := j.Frame.Src
	switch {
	case src.IsZero():
		return fmt.Sprintf("%v is not learned: it is no station's address", src)
	case !j.Learns:
		return fmt.Sprintf("%v is not learned: learning is off", src)
	}
	switch j.Learning {
	case fdb.Learned:
		return fmt.Sprintf("%v is new here and would be learned", src)
	case fdb.Moved:
		return fmt.Sprintf("%v would move here from %s, where it was heard %d s ago", src, j.Source.Port, j.Source.Age)
	case fdb.Refreshed:
		return fmt.Sprintf("%v is known here, heard %d s ago", src, j.Source.Age)
	case fdb.Pinned:
		return fmt.Sprintf("%v stays %s", src, j.entry(j.Source))
	}
	return j.refusal().because
}

// entry says what an FDB entry is, as "a static entry of db in VLAN 10".
func (j journey) entry(e *vswitch.FDBEntry) string {
	in := j.inVLAN(e.VID)
	switch e.Kind {
	case fdb.Blackhole:
		return "a blackhole entry" + in
	case fdb.Static:
		return "a static entry of " + e.Port + in
	}
	return fmt.Sprintf("a station at %s%s, heard %d s ago", e.Port, in, e.Age)
}

func (j journey) inVLAN(v frame.VID) string {
	if !j.VLANAware {
		return ""
	}
	return fmt.Sprintf(" in VLAN %d", v)
}

// found is about a frame that passed the lookup of its destination.
func (j journey) found() string {
	switch {
	case j.Destination != nil:
		return fmt.Sprintf("%v is %s", j.Frame.Dst, j.entry(j.Destination))
	case j.Verdict.Cause == vswitch.CauseUnknownUnicast:
		return fmt.Sprintf("%v is not known%s, so the frame is to be flooded%s", j.Frame.Dst, j.inVLAN(j.Verdict.VID), j.elsewhere())
	}
	return fmt.Sprintf("%v is a %v address, so the frame is to be flooded%s", j.Frame.Dst, j.Verdict.Cause, j.inVLAN(j.Verdict.VID))
}

// elsewhere says where else the destination is known.
func (j journey) elsewhere() string {
	if len(j.Elsewhere) == 0 {
		return ""
	}
	return "; it is " + j.entry(&j.Elsewhere[0])
}

// left is about a frame that at least one port may have.
func (j journey) left() string {
	if j.Verdict.Cause == vswitch.CauseNone {
		return fmt.Sprintf("port %s may have it", j.Copies[0].Port.Name)
	}
	sent := 0
	for _, c := range j.Copies {
		if c.Reason == frame.Keep {
			sent++
		}
	}
	return fmt.Sprintf("flooded to %d of %d ports", sent, len(j.Copies))
}

func (j journey) copyInWords(c *vswitch.Copy) TraceCopy {
	if c.Port == nil {
		return TraceCopy{Port: "-", Reason: c.Reason.String(), Text: "the port has just been removed"}
	}
	out := TraceCopy{
		Port: c.Port.Name, Sent: c.Reason == frame.Keep, MTU: c.MTU, Link: TraceLink{c.Port.Link.Up, c.Port.Link.MTU},
		Work: c.Work.String(),
	}
	if !out.Sent {
		out.Reason, out.Text = c.Reason.String(), j.refused(c).because
		return out
	}
	out.Text = rendered(c)
	if c.Tagged {
		out.Tag = &TraceTag{c.TCI.VID(), c.TCI.PCP(), c.TCI.DEI()}
	}
	if out.Work != "" {
		out.Text += "; the switch does its offload work: " + out.Work
	}
	return out
}

// rendered says what the port sends.
func rendered(c *vswitch.Copy) string {
	if !c.Tagged {
		return "untagged"
	}
	return fmt.Sprintf("tagged VLAN %d PCP %d%s", c.TCI.VID(), c.TCI.PCP(), deiText(c.TCI))
}

// mostNamed is how many ports a verdict names.
const mostNamed = 8

// sent is the verdict on a frame that is delivered.
func (j journey) sent() string {
	var to []string
	for i := range j.Copies {
		if c := &j.Copies[i]; c.Reason == frame.Keep {
			to = append(to, c.Port.Name+" "+rendered(c))
		}
	}
	if n := len(to) - mostNamed; n > 0 {
		to = append(to[:mostNamed], fmt.Sprintf("%d more", n))
	}
	text := "delivered to "
	if j.Verdict.Cause != vswitch.CauseNone {
		text = "flooded to "
	}
	return text + strings.Join(to, ", ")
}

// but names what may be wrong with a frame that is delivered: some port refuses
// it, its sender gets no answer, or who it is for is in another VLAN.
func (j journey) but() advice {
	switch {
	case j.Learns && j.Learning == fdb.Refused:
		return j.refusal()
	case j.Learns && j.Learning == fdb.Pinned && j.Source.Port != j.In.Name:
		return advice{
			fmt.Sprintf("%v is %s: answers do not come here", j.Frame.Src, j.entry(j.Source)),
			fmt.Sprintf("if the address is not forged: vswitchctl fdb add %v --port %s%s", j.Frame.Src, j.In.Name, j.vlanFlag()),
		}
	case len(j.Elsewhere) > 0:
		e := &j.Elsewhere[0]
		return advice{fmt.Sprintf("%v is %s", e.MAC, j.entry(e)), j.oneVLAN(e)}
	}
	return j.firstRefused()
}

// firstRefused is about the first port that refuses a copy that it should have
// had.
func (j journey) firstRefused() advice {
	for i := range j.Copies {
		if c := &j.Copies[i]; c.Reason != frame.Keep && c.Reason.Direction() == frame.Egress {
			return j.refused(c)
		}
	}
	return advice{}
}

// refusal is about a source that a limit keeps from being learned.
func (j journey) refusal() advice {
	p := j.In
	if p.Config.Limit != nil && p.Learned >= *p.Config.Limit {
		return advice{
			fmt.Sprintf("%v is not learned: port %s is at its limit of %d addresses, and what is for it is flooded", j.Frame.Src, p.Name, *p.Config.Limit),
			fmt.Sprintf("see who they are: vswitchctl fdb list --port %s; or vswitchctl port set %s --limit N", p.Name, p.Name),
		}
	}
	return advice{
		fmt.Sprintf("%v is not learned: the FDB is full, and what is for it is flooded", j.Frame.Src),
		"see the limits in vswitchctl status, and who fills it: vswitchctl fdb list",
	}
}

// member reports whether a port is in the frame's VLAN.
func (j journey) member(p *vswitch.ViewedPort) bool {
	return !j.VLANAware || p.Config.VLANs().Member.Contains(j.Verdict.VID)
}

// vlanFlag is how an FDB entry's VLAN is given to vswitchctl.
func (j journey) vlanFlag() string {
	if !j.VLANAware {
		return ""
	}
	return fmt.Sprintf(" --vlan %d", j.Verdict.VID)
}

// oneVLAN says how to get the ingress port into the VLAN of its destination.
func (j journey) oneVLAN(e *vswitch.FDBEntry) string {
	if j.In.Config.Access != 0 {
		return fmt.Sprintf("put them into one VLAN: vswitchctl port set %s --access %d; or route between the two", j.In.Name, e.VID)
	}
	return fmt.Sprintf("put them into one VLAN: send with VLAN %d; or route between the two", e.VID)
}

// join says how to make a port a member of a VLAN.
func join(p *vswitch.ViewedPort, v frame.VID) string {
	c := &p.Config
	set := "vswitchctl port set " + p.Name
	switch {
	case c.Access != 0:
		return fmt.Sprintf("%s --access %d; or, for both with tags: %s --trunk %v", set, v, set, config.VIDsOf(c.Access, v))
	case len(c.Trunk) > 0:
		return fmt.Sprintf("%s --trunk %v", set, c.Trunk.Union(config.VIDsOf(v)))
	case c.PVID != 0 || len(c.Tagged) > 0 || len(c.Untagged) > 0:
		return fmt.Sprintf("%s --tagged %v", set, c.Tagged.Union(config.VIDsOf(v)))
	}
	return fmt.Sprintf("%s --access %d; or --trunk %d for frames with tags", set, v, v)
}
