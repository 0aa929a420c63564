// Gvisor-switch joins TAPs by the switch of gvisor-tap-vsock, in one process:
// its fastest way in, as no socket is between. Its arguments are their names.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/tap"
	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// device is a TAP as a connection whose every read and write is one frame,
// which is what the protocol called BESS expects.
type device struct{ *os.File }

func (device) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (device) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (device) SetDeadline(time.Time) error      { return nil }
func (device) SetReadDeadline(time.Time) error  { return nil }
func (device) SetWriteDeadline(time.Time) error { return nil }

// gateway takes the place of the module's router and discards what it gets.
type gateway struct{}

func (gateway) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) {}
func (gateway) LinkAddress() tcpip.LinkAddress                                        { return "\x02\x00\x00\x00\x00\xfe" }
func (gateway) IP() string                                                            { return "10.99.255.254" }

func open(name string) (device, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return device{}, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return device{}, err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return device{}, err
	}
	return device{os.NewFile(uintptr(fd), name)}, nil
}

func main() {
	ended := make(chan error)
	sw := tap.NewSwitch(false)
	sw.Connect(gateway{})
	for _, name := range os.Args[1:] {
		d, err := open(name)
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: open TAP %s: %v\n", name, err)
			os.Exit(1)
		}
		go func() { ended <- sw.Accept(context.Background(), d, types.BessProtocol) }()
	}
	fmt.Fprintln(os.Stderr, "error: a port has ended:", <-ended)
	os.Exit(1)
}
