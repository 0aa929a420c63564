package port

import (
	"encoding/binary"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// Room for some thousand events that wait for a slow report.
	monitorBuffer = 4 << 20

	// After so many events in a row the TAPs they name are looked at.
	monitorBurst = 256

	// struct rtgenmsg and its padding (linux/rtnetlink.h).
	rtGenMsgLen = 4
)

// linkKey names a link in the kernel's events. Index 0 stands for all links of
// the namespace.
type linkKey struct{ nsid, index int }

// listen opens a socket that hears of the links of all network namespaces that
// have an id in this one.
func listen() (int, error) {
	const op, name = "watch links", "rtnetlink"
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, failed(op, name, "socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, monitorBuffer) != nil {
		// Without CAP_NET_ADMIN as much as rmem_max allows; overruns are
		// dealt with.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, monitorBuffer)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LISTEN_ALL_NSID, 1)
	if err == unix.EPERM {
		err = &Error{
			Op: op, Name: name, Why: "no permission to hear of other network namespaces",
			Fix: "run as root or with CAP_NET_BROADCAST", Err: ErrPermission,
		}
	}
	if err == nil {
		groups := uint32(1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_NSID-1))
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		_ = unix.Close(fd) // The error at hand says more.
		return -1, err
	}
	return fd, nil
}

// receive waits for events and returns which links they are about, with true if
// one said that the link was down, how often some were lost, and whether it has
// seen that there are no more. While the Monitor is stale it does not wait. Its
// errors are os.ErrDeadlineExceeded and that of a closed file.
func (m *Monitor) receive() (events map[linkKey]bool, lost int, drained bool, err error) {
	events = map[linkKey]bool{}
	err = m.conn.Read(func(fd uintptr) bool {
		for range monitorBurst {
			n, oobn, _, from, err := unix.Recvmsg(int(fd), m.buf, m.oob, 0)
			if err == unix.EAGAIN {
				drained = true
				return len(events)+lost > 0 || m.stale
			}
			if err == unix.EINTR {
				continue
			}
			// ENOBUFS: the kernel had more events than there was room for.
			if err != nil || !note(events, m.buf[:n], m.oob[:oobn], from) {
				m.resyncs.Add(1)
				lost++
			}
		}
		return true
	})
	return events, lost, drained, err
}

// note adds the links that a message is about. It returns false if it makes no
// sense, as one that was cut off.
func note(events map[linkKey]bool, b, oob []byte, from unix.Sockaddr) bool {
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return true // Not from the kernel.
	}
	nsid, ok := senderNSID(oob)
	if !ok {
		return false
	}
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return false
	}
	for _, msg := range msgs {
		switch msg.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if len(msg.Data) < unix.SizeofIfInfomsg {
				return false
			}
			head := nl.DeserializeIfInfomsg(msg.Data)
			key := linkKey{nsid, int(head.Index)}
			events[key] = events[key] || !isUp(head.Flags)
		case unix.RTM_DELNSID:
			// The namespace ends. Of its links nothing more is heard: the id
			// under which they were reported is gone first. Ids that others
			// have for it are none of ours.
			if nsid == OwnNSID && !noteEnd(events, msg.Data) {
				return false
			}
		}
	}
	return true
}

func noteEnd(events map[linkKey]bool, b []byte) bool {
	if len(b) < rtGenMsgLen {
		return false
	}
	return eachAttr(b[rtGenMsgLen:], func(kind uint16, v []byte) error {
		if kind == unix.NETNSA_NSID {
			events[linkKey{int(int32(number(v))), 0}] = false
		}
		return nil
	}) == nil
}

// senderNSID returns the id of the namespace that a message came from: the
// kernel sends it along unless it is the own one.
func senderNSID(oob []byte) (nsid int, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, false
	}
	for _, msg := range msgs {
		if msg.Header.Level == unix.SOL_NETLINK && msg.Header.Type == unix.NETLINK_LISTEN_ALL_NSID && len(msg.Data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(msg.Data))), true
		}
	}
	return OwnNSID, true
}
