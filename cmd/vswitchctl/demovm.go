package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/qemu"
)

// booting bounds how long the demo waits for its virtual machine, which takes 4 s
// on an idle CPU.
const booting = time.Minute

// machineRule makes a port of the TAP that QEMU makes.
var machineRule = config.AutoAttach{
	Match: config.Match{Name: "vm", Kind: "tun"},
	Port:  config.Port{Kind: config.KindNetdev, Access: 10},
}

var machineAddr = netip.MustParsePrefix("10.0.0.5/24")

// machine is the demo's virtual machine.
type machine struct {
	*qemu.Guest
	began time.Time
	ready chan struct{} // closed when it answers
	ended chan struct{} // closed when QEMU has ended, and said is complete
	said  []string      // on its console, and by QEMU
}

// machineImage returns what it boots from, which is nothing that the machine must
// have installed but a kernel that is there. The error says what to do.
func machineImage() (*qemu.Image, error) {
	if err := qemu.Find(); err != nil {
		return nil, fmt.Errorf("no qemu: %w; Debian and Ubuntu have it in the package qemu-system-x86", err)
	}
	dirs := []string{"/"}
	cache, _ := os.UserCacheDir() // Without home directory there is none.
	if dir := cmp.Or(os.Getenv("VSWITCH_VM_KERNEL"), filepath.Join(cache, "vswitchd/linux")); filepath.IsAbs(dir) {
		dirs = append([]string{dir}, dirs...)
	}
	kernel, err := qemu.FindKernel(dirs...)
	if err != nil {
		return nil, fmt.Errorf("no kernel for qemu: %w; get Debian's with: make vm-kernel", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("no program for qemu: %w", err)
	}
	image, err := qemu.NewImage(kernel, self, "virtio_pci", "virtio_net")
	if err != nil {
		return nil, fmt.Errorf("no image for qemu: %w", err)
	}
	return image, nil
}

// boot starts the virtual machine, and does not wait for it.
func boot(image *qemu.Image) (*machine, error) {
	mac := frame.MACFromUint64(0x525400000005)
	attach := qemuArgs(&control.Port{Name: "vm", Kind: config.KindNetdev, Ifname: "vm", MTU: config.DefaultMTU}, mac)
	cmd := image.Command(attach, mac.String())
	cmd.Args = append(cmd.Args, "-serial", "stdio")
	console, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	m := &machine{began: time.Now(), ready: make(chan struct{}), ended: make(chan struct{})}
	go m.listen(console)
	var err error
	if m.Guest, err = qemu.Start(cmd, nil); err != nil {
		_ = w.Close() // It never fails.
		return nil, err
	}
	go func() {
		<-m.Ended()
		_ = w.Close()
	}()
	return m, nil
}

func (m *machine) listen(console io.Reader) {
	defer close(m.ended)
	for lines := bufio.NewScanner(console); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == guestReady {
			close(m.ready)
			break
		}
		if len(m.said) < 10 { // What comes first is the cause.
			m.said = append(m.said, line)
		}
	}
	_, _ = io.Copy(io.Discard, console) // Nobody may wait for a reader.
}

// show has a host talk to the virtual machine once that answers.
func (m *machine) show(ctx context.Context, out io.Writer, from *lab.Host) error {
	limit := time.NewTimer(booting)
	defer limit.Stop()
	select {
	case <-m.ready:
	case <-m.ended:
		return fmt.Errorf("vm: it has ended:\n%s", strings.Join(m.said, "\n"))
	case <-limit.C:
		m.Kill()
		<-m.ended
		return fmt.Errorf("vm: it has not booted in %v:\n%s", booting, strings.Join(m.said, "\n"))
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(out, "\n  vm has booted in %.1f s\n", time.Since(m.began).Seconds())
	if err := ping(out, from, &lab.Host{Name: "vm", Addr: machineAddr}, true); err != nil {
		return fmt.Errorf("%w; what a port for QEMU's TAP needs is checked by: vswitchctl doctor", err)
	}
	text, err := banner(from)
	if err != nil {
		return fmt.Errorf("%s: ask vm by TCP: %w", from.Name, err)
	}
	fmt.Fprintf(out, "  TCP   %s -> vm   it says: %s\n", from.Name, text)
	return nil
}

// banner returns what the virtual machine says to a host by TCP.
func banner(from *lab.Host) (string, error) {
	var c net.Conn
	err := from.NS.Do(func() (err error) {
		c, err = net.DialTimeout("tcp4", fmt.Sprint(machineAddr.Addr(), ":", guestPort), 2*time.Second)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // It is only read.
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}
