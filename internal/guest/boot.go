package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/qemu"
)

// Patience is how long anything may take in a guest that ought to be done soon.
const Patience = time.Minute

// Image is what a guest boots from.
type Image struct{ *qemu.Image }

// NewImage makes an image of a kernel and of the program at path init, which calls
// Main: it is static, and the only one that the guest runs.
func NewImage(k *qemu.Kernel, init string) (*Image, error) {
	i, err := qemu.NewImage(k, init, "virtio_pci", "virtio_net", "8021q")
	return &Image{i}, err
}

// Machine is what a virtual machine differs by from others.
type Machine struct {
	Attach    []string   // arguments of QEMU that attach eth0, its device being the last of them
	MAC       string     // of eth0
	Inherited []*os.File // that QEMU has from descriptor 3 on
	NS        *netns.NS  // that QEMU runs in; nil for the caller's own
	Console   io.Writer  // for what QEMU and the guest's kernel say
}

// Guest is a virtual machine that runs until End or Kill, or as long as the
// process that has booted it. Its methods are for one goroutine, but for Kill.
type Guest struct {
	*qemu.Guest
	in  *json.Encoder // commands, to the guest's second serial port
	out *json.Decoder // replies, from there
}

// Boot starts a virtual machine and returns once it obeys.
func (i *Image) Boot(m Machine) (*Guest, error) {
	cmd := i.Command(m.Attach, m.MAC)
	cmd.Args = append(cmd.Args, "-serial", "file:/dev/stderr", "-serial", "stdio")
	cmd.ExtraFiles = m.Inherited
	cmd.Stderr = m.Console
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	started, err := qemu.Start(cmd, m.NS)
	if err != nil {
		return nil, err
	}
	g := &Guest{Guest: started, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
	if _, err := g.answer(); err != nil {
		g.Kill()
		return nil, fmt.Errorf("the guest does not boot: %w", err)
	}
	return g, nil
}

// Run has the guest obey a command and returns its output.
func (g *Guest) Run(args ...any) (string, error) {
	err := g.send(args...)
	if err != nil {
		return "", err
	}
	output, err := g.answer()
	if err != nil {
		return "", fmt.Errorf("guest: %v: %w", args, err)
	}
	return output, nil
}

// send gives the guest a command.
func (g *Guest) send(args ...any) error {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = fmt.Sprint(a)
	}
	return g.in.Encode(words)
}

// answer waits for a command's end. A guest that does not answer is killed.
func (g *Guest) answer() (string, error) {
	limit := time.AfterFunc(Patience, g.Kill)
	var r reply
	err := g.out.Decode(&r)
	if !limit.Stop() {
		err = fmt.Errorf("no answer in %v", Patience)
	}
	if r.Error != "" {
		err = errors.New(r.Error)
	}
	return r.Output, err
}

// End has the guest end itself, and waits for that.
func (g *Guest) End() error {
	if err := g.send("end"); err != nil {
		return err
	}
	select {
	case <-g.Ended():
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("the guest has not ended in %v", Patience)
	}
}
