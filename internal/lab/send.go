package lab

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Send puts one frame on the host's interface as it is, past the host's own
// IPv4.
func (h *Host) Send(frame []byte) error {
	err := h.NS.Do(func() error {
		ifi, err := net.InterfaceByName(h.Interface)
		if err != nil {
			return err
		}
		// Protocol 0: the socket receives nothing (packet(7)).
		s, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		return unix.Sendto(s, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifi.Index})
	})
	if err != nil {
		return fmt.Errorf("host %s: send a frame by %s: %w", h.Name, h.Interface, err)
	}
	return nil
}
