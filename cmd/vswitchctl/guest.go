package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/internal/qemu"
)

// guestPort is where the demo's virtual machine says by TCP what it is.
const guestPort = 7777

// guestReady is the line by which it says on its console that it does.
const guestReady = "ready"

// isGuest tells whether this is the first and only program of a virtual machine.
func isGuest() bool { return os.Getpid() == 1 && os.Args[0] == "/init" }

// guest is all that the demo's virtual machine does. It returns when that fails.
func guest() error {
	if err := qemu.SetUp(); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(machineAddr.String())
	if err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	if err := errors.Join(netlink.AddrAdd(eth0, addr), netlink.LinkSetUp(eth0)); err != nil {
		return fmt.Errorf("eth0: %w", err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: guestPort})
	if err != nil {
		return err
	}
	fmt.Println(guestReady)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		fmt.Fprintf(c, "Linux %s", strings.TrimSpace(string(release)))
		_ = c.Close() // The other end says what did not come.
	}
}
