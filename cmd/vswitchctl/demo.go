package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/explain"
	"github.com/vswitchd/vswitchd/internal/lab"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

//go:embed demo.yaml
var demoFile string

const picture = `
     VLAN 10                                    VLAN 20
  web 10.0.0.1 --+                        +-- cam 10.0.0.3
                 +----[   switch   ]------+
   db 10.0.0.2 --+                        +-- nvr 10.0.0.4

  Four hosts, each a network namespace with one TAP of the switch in it as eth0.
`

const machinePicture = `
     VLAN 10                                    VLAN 20
  web 10.0.0.1 --+                        +-- cam 10.0.0.3
   db 10.0.0.2 --+----[   switch   ]------+
   vm 10.0.0.5 --+                        +-- nvr 10.0.0.4

  Four hosts, each a network namespace with one TAP of the switch in it as eth0, and
  vm, a virtual machine of QEMU, whose TAP a rule of auto_attach makes a port.
`

func newDemo() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show hosts in namespaces talking through a switch",
		Long: "Show hosts in namespaces talking through a switch, and a virtual machine if there\n" +
			"are QEMU and a kernel to boot: in $VSWITCH_VM_KERNEL/boot, a directory of which make\n" +
			"vm-kernel makes one, or /boot. It needs no daemon and leaves nothing behind.\n" +
			"Anybody may run it who can open /dev/net/tun and make namespaces.",
		RunE: func(c *cobra.Command, _ []string) error {
			return isolated(func() error {
				out := &written{to: c.OutOrStdout()}
				return errors.Join(demo(c.Context(), out), out.err)
			})
		},
	}
	return takes(c, 0, 0)
}

// exited is the exit code of this program's second process, which has said why.
type exited int

func (exited) Error() string { return "" }

// written keeps the first error of writing.
type written struct {
	to  io.Writer
	err error
}

func (w *written) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// demo runs in a namespace of its own, which ends with the process and takes
// hosts, links and switch along, however that happens.
func demo(ctx context.Context, out io.Writer) (err error) {
	c, err := config.ParseLab("demo.yaml", []byte(demoFile))
	if err != nil {
		return err
	}
	image, imageErr := machineImage()
	if imageErr != nil {
		fmt.Fprintf(out, "%s\n  A virtual machine would join them, but: %v.\n\n", picture, imageErr)
	} else {
		defer image.Close()
		fmt.Fprintf(out, "%s\n", machinePicture)
		c.Switch.AutoAttach = []config.AutoAttach{machineRule}
	}
	l, err := lab.Up(ctx, c, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	var vm *machine
	if imageErr == nil {
		if vm, err = boot(image); err != nil {
			return err
		}
		defer vm.Kill()
	}
	var failed error
	for _, p := range []struct {
		from, to string
		across   bool
	}{{"web", "db", true}, {"cam", "nvr", true}, {"web", "cam", false}} {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed = errors.Join(failed, ping(out, l.Host(p.from), l.Host(p.to), p.across))
	}
	failed = errors.Join(failed, hop(ctx, out, l.Switch, l.Host("web")))
	if vm != nil {
		failed = errors.Join(failed, vm.show(ctx, out, l.Host("web")))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := summary(out, l.Switch); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	fmt.Fprintln(out, "\nAll as it should be; nothing is left behind. To make hosts of your own, see:\nvswitchctl lab up --help. To keep a switch running, see README.md.")
	return nil
}

// ping says what came of it, and returns an error if that is not what across
// says should.
func ping(out io.Writer, from, to *lab.Host, across bool) error {
	timeout := 2 * time.Second
	if !across {
		timeout = 500 * time.Millisecond
	}
	rtt, err := from.Ping(to.Addr.Addr(), timeout)
	switch {
	case err == nil && across:
		fmt.Fprintf(out, "  ping  %s -> %-4s reply in %.2f ms\n", from.Name, to.Name, float64(rtt)/1e6)
		return nil
	case err == nil:
		return fmt.Errorf("%s reached %s in another VLAN", from.Name, to.Name)
	case across:
		return err
	}
	fmt.Fprintf(out, "  ping  %s -> %-4s no reply, as it must be: they are in different VLANs\n", from.Name, to.Name)
	return nil
}

// hop has a host try to get into VLAN 20 by tagging a frame itself, and
// explains what the switch made of it.
func hop(ctx context.Context, out io.Writer, s *vswitch.Switch, h *lab.Host) error {
	before, _, err := s.Port(h.Name)
	if err != nil {
		return err
	}
	mac := before.Link.MAC
	tci := frame.MakeTCI(0, false, 20)
	f := append(append(frame.Broadcast[:len(frame.Broadcast):len(frame.Broadcast)], mac[:]...), 0x81, 0, byte(tci>>8), byte(tci), 0x08, 0x06)
	f = append(f, 0, 1, 8, 0, 6, 4, 0, 1)                                        // ARP request, Ethernet and IPv4 (RFC 826)
	f = append(append(f, mac[:]...), 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 3) // who has cam
	if err := h.Send(f); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n  %s now tags a frame itself to get into VLAN 20:\n    %s\n", h.Name, explain.Frame(f))
	for range 100 {
		after, _, err := s.Port(h.Name)
		if err != nil {
			return err
		}
		if why := frame.DropFrameType; after.Stats.Dropped[why] > before.Stats.Dropped[why] {
			fmt.Fprintf(out, "  dropped at port %s, reason %s:\n    %s\n", h.Name, why, why.Text())
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("the tagged frame was not dropped")
}

func summary(out io.Writer, s *vswitch.Switch) error {
	entries, err := s.FDB(vswitch.FDBFilter{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "\n  What the switch has learned:")
	for _, e := range entries {
		fmt.Fprintf(out, "    %s  VLAN %d  port %s\n", e.MAC, e.VID, e.Port)
	}
	fmt.Fprintln(out, "\n  What it has counted:")
	fmt.Fprintf(out, "    %-5s %9s %12s %8s %8s\n", "port", "received", "transmitted", "flooded", "dropped")
	ports := s.Ports()
	for _, p := range ports {
		flooded := uint64(0)
		for _, n := range p.Stats.Flooded {
			flooded += n
		}
		fmt.Fprintf(out, "    %-5s %9d %12d %8d %8d\n", p.Config.Name, p.Stats.Receive.Frames, p.Stats.Transmit.Frames, flooded,
			p.Stats.DroppedAt(frame.Ingress)+p.Stats.DroppedAt(frame.Egress))
	}
	fmt.Fprintln(out, "\n  What it has dropped:")
	for _, p := range ports {
		for why, n := range p.Stats.Dropped {
			if r := frame.DropReason(why); n > 0 {
				fmt.Fprintf(out, "    %-5s %d %s: %s\n", p.Config.Name, n, r, r.Text())
			}
		}
	}
	return nil
}
