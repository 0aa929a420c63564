package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/internal/guest"
	"github.com/vswitchd/vswitchd/internal/qemu"
)

// What a guest serves by TCP: RFC 863 takes all that comes, RFC 864 sends all it
// can.
const (
	discardPort = 9
	chargenPort = 19
)

// guestTAP is the TAP that QEMU opens.
const guestTAP = "vm0"

// guestMain is this program as all of a virtual machine's user space.
func guestMain() {
	guest.Main(func() error {
		return errors.Join(
			serveTCP(discardPort, net.Conn.Read),
			serveTCP(chargenPort, net.Conn.Write))
	}, nil)
}

// serveTCP has every connection to a port do something over and over.
func serveTCP(port int, do func(net.Conn, []byte) (int, error)) error {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // Nobody closes it.
			}
			go func() {
				for data := make([]byte, bulkWrite); ; {
					if _, err := do(conn, data); err != nil {
						_ = conn.Close() // The other end has ended it.
						return
					}
				}
			}()
		}
	}()
	return nil
}

// hypervisor is how guests are run.
type hypervisor struct {
	image *guest.Image
	vhost bool
}

// newHypervisor makes an image in dir of the kernel that test/vm/kernel.sh has
// unpacked and of this program.
func newHypervisor(dir, kernel string) (*hypervisor, error) {
	if err := qemu.Find(); err != nil {
		return nil, err
	}
	k, err := qemu.FindKernel(kernel)
	if err != nil {
		return nil, fmt.Errorf("%w: test/vm/kernel.sh fetches a kernel", err)
	}
	program := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "github.com/vswitchd/vswitchd/test/perf")
	build.Env = append(plainEnviron(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest's program: %w: %s", err, out)
	}
	image, err := guest.NewImage(k, program)
	if err != nil {
		return nil, err
	}
	image.Accelerator = accelerator()
	return &hypervisor{image: image, vhost: opens("/dev/vhost-net")}, nil
}

var virtualizes = regexp.MustCompile(`(?m)^flags\b.*\b(vmx|svm)\b`)

// accelerator is "kvm" where the CPUs virtualize and this user may have it. /dev/kvm
// alone does not tell: KVM for guests that know of it (PVM) has it too, and boots
// no others.
func accelerator() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil && virtualizes.Match(text) && opens("/dev/kvm") {
		return "kvm"
	}
	return "tcg"
}

func opens(device string) bool {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// describe says how guests are run, for the page.
func (h *hypervisor) describe() string {
	how := "under KVM"
	if h.image.Accelerator != "kvm" {
		how = "under emulation (no KVM here), which bounds what it sends and receives by any switch"
	}
	if h.vhost {
		return how + ", with vhost-net"
	}
	return how + ", without vhost-net"
}

// addTAP makes the TAP of the guest, persistent, in the calling thread's namespace.
func addTAP() error {
	tap := &netlink.Tuntap{
		LinkAttrs: netlink.LinkAttrs{Name: guestTAP}, Mode: netlink.TUNTAP_MODE_TAP,
		Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR,
	}
	if err := netlink.LinkAdd(tap); err != nil {
		return fmt.Errorf("make a TAP: %w", err)
	}
	return nil
}

// bridgeTopology is the kernel's bridge with a veth pair and the guest's TAP.
func (h *hypervisor) bridgeTopology() *topology {
	return &topology{name: "bridge VM", scene: guests, build: func(nw *network) error {
		return h.build(nw, buildBridge)
	}}
}

// guestTopology has ports of kind netdev at the same links.
func (v *variant) guestTopology(h *hypervisor) *topology {
	return &topology{name: v.name + " VM", scene: guests, links: "veth pair, TAP of QEMU", build: func(nw *network) error {
		return h.build(nw, v.buildNetdevs)
	}}
}

// build makes the guest's TAP, has it connected, and boots the guest.
func (h *hypervisor) build(nw *network, connect func(nw *network, others ...string) error) error {
	if err := nw.core.Do(addTAP); err != nil {
		return err
	}
	if err := connect(nw, guestTAP); err != nil {
		return err
	}
	return h.boot(nw)
}

// boot makes a guest at its TAP the network's last station.
func (h *hypervisor) boot(nw *network) error {
	backend := "tap,id=n0,ifname=" + guestTAP + ",script=no,downscript=no"
	if h.vhost {
		backend += ",vhost=on"
	}
	station := &host{ns: nw.core, addr: netip.AddrFrom4([4]byte{10, 99, 0, 200}), mac: net.HardwareAddr{0x52, 0x54, 0, 0, 1, 200}}
	g, err := h.image.Boot(guest.Machine{
		Attach: []string{"-netdev", backend, "-device", "virtio-net-pci,netdev=n0"},
		MAC:    station.mac.String(), NS: nw.core, Console: io.Discard,
	})
	if err != nil {
		return err
	}
	nw.guest, nw.guestStation = g, station
	if _, err := g.Run("link", eth0, 1500, station.prefix()); err != nil {
		return err
	}
	return nw.core.Do(func() error {
		link, err := netlink.LinkByName(guestTAP)
		if err == nil {
			station.index = link.Attrs().Index
		}
		return err
	})
}
