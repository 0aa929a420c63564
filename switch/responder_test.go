package vswitch

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// responder makes p a responder with the addresses.
func responder(p config.Port, ips ...string) config.Port {
	p.Kind = config.KindResponder
	for _, ip := range ips {
		p.IP = append(p.IP, netip.MustParsePrefix(ip))
	}
	return p
}

// arp asks who has 10.0.0.254, which is at answered.
func arp(src frame.MAC) []byte {
	return eth(frame.Broadcast, src, slices.Concat([]byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, src[:], []byte{10, 0, 0, 1}, make([]byte, 6), []byte{10, 0, 0, 254})...)
}

func arpAnswer(mac, to frame.MAC) []byte {
	return slices.Concat(to[:], mac[:], []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 2}, mac[:], []byte{10, 0, 0, 254}, to[:], []byte{10, 0, 0, 1})
}

// awaits fails unless the port sends the frame next, some time.
func (r *rig) awaits(t *testing.T, name string, want []byte) {
	t.Helper()
	var got [][]byte
	eventually(t, "a frame by "+name, func() bool {
		for _, s := range r.cables[name].Taken() {
			got = append(got, s.Bytes)
		}
		return len(got) > 0
	})
	if !slices.EqualFunc(got, [][]byte{want}, bytes.Equal) {
		t.Errorf("port %s sent %s, want %s", name, dump(got), dump([][]byte{want}))
	}
}

func TestResponderAnswersInTheVLANOfTheQuestion(t *testing.T) {
	r := newRig(t, true, access("a", 10), access("b", 20), trunk("t", 10, 20))
	p := responder(trunk("probe", 10, 20), "10.0.0.254/24")
	p.MAC = new(sta(254))
	if err := r.Add(p); err != nil {
		t.Fatal(err)
	}
	r.send("a", arp(sta(1)))
	r.awaits(t, "a", arpAnswer(sta(254), sta(1)))
	r.cables["t"].Taken()
	tag := ctag(5, false, 20)
	r.send("t", tagged(arp(sta(2)), tag))
	r.awaits(t, "t", tagged(arpAnswer(sta(254), sta(2)), tag))
	r.cables["b"].Taken()
	r.send("b", arp(sta(3)))
	r.awaits(t, "b", arpAnswer(sta(254), sta(3)))
	var info PortInfo
	eventually(t, "counting", func() bool {
		info, _, _ = r.Port("probe")
		return info.Stats.Copies == 3
	})
	if info.Learned != 2 || info.Stats.Receive.Frames != 3 || info.Link.MAC != sta(254) {
		t.Errorf("%+v", info)
	}
	r.balanced()
}

func TestResponderIsGivenCompleteChecksums(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	p := responder(config.Port{Name: "probe", MAC: new(sta(254))}, "10.0.0.254/24")
	if err := r.Add(p); err != nil {
		t.Fatal(err)
	}
	echo := eth(sta(254), sta(1), 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 1, 0x25, 0xd1, 10, 0, 0, 1, 10, 0, 0, 254, 8, 0, 0, 0, 0, 1, 0, 2)
	r.cables["a"].SendOffload(echo, frame.Offload{Flags: frame.FlagNeedsCsum, CsumStart: 34, CsumOffset: 2})
	r.awaits(t, "a", eth(sta(1), sta(254), 8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 1, 0x25, 0xd1, 10, 0, 0, 254, 10, 0, 0, 1, 0, 0, 0xff, 0xfc, 0, 1, 0, 2))
}

func TestResponderChangesAndGoesAsAnyPort(t *testing.T) {
	r := newRig(t, false, config.Port{Name: "a"})
	if err := r.Add(responder(config.Port{Name: "probe"}, "10.0.0.254/24")); err != nil {
		t.Fatal(err)
	}
	r.set("probe", func(p *config.Port) { p.MAC, p.MTU = new(sta(254)), 9000 })
	r.send("a", arp(sta(1)))
	r.awaits(t, "a", arpAnswer(sta(254), sta(1)))
	err := r.Set("probe", func(p config.Port) (config.Port, error) { p.IP = p.IP[:0:0]; return p, nil })
	if _, ok := errors.AsType[config.Problems](err); !ok {
		t.Errorf("without addresses: %v", err)
	}
	err = r.Set("probe", func(p config.Port) (config.Port, error) { return responder(p, "10.0.0.253/24"), nil })
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("with other addresses: %v", err)
	}
	r.set("probe", func(p *config.Port) { p.State = config.StateDiscarding })
	r.dropped("a", arp(sta(1)), frame.DropNoMember)
	if err := r.Remove("probe"); err != nil {
		t.Error(err)
	}
	r.balanced()
}

// ping sends an echo request with n bytes from the calling thread's namespace, and
// waits for the answer.
func ping(ip string, n int) error {
	to := netip.MustParseAddr(ip)
	family, protocol, request, reply := unix.AF_INET, unix.IPPROTO_ICMP, byte(8), byte(0)
	var sa unix.Sockaddr = &unix.SockaddrInet4{}
	if to.Is4() {
		sa.(*unix.SockaddrInet4).Addr = to.As4()
	} else {
		family, protocol, request, reply = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128, 129
		sa = &unix.SockaddrInet6{Addr: to.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	m := append([]byte{request, 0, 0, 0, 0x12, 0x34, 0, byte(n)}, bytes.Repeat([]byte{0x5a, 1, 7}, n)[:n]...)
	if to.Is4() { // Of ICMPv6 the kernel makes the checksum, and checks it.
		sum := ^frame.Sum(m)
		m[2], m[3] = byte(sum>>8), byte(sum)
	}
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}), unix.Connect(fd, sa))
	if err == nil {
		_, err = unix.Write(fd, m)
	}
	for b := make([]byte, 1<<16); err == nil; {
		var got int
		if got, err = unix.Read(fd, b); err != nil {
			break
		}
		answer := b[:got]
		if to.Is4() {
			answer = answer[20:]
		}
		if answer[0] == reply && bytes.Equal(answer[4:], m[4:]) {
			return nil
		}
	}
	return fmt.Errorf("ping %s with %d bytes: %w", ip, n, err)
}

func TestKernelPingsTheResponder(t *testing.T) {
	s := realSwitch(t, true)
	if err := s.Add(responder(access("probe", 10), "10.0.0.254/24", "fd00::fe/64")); err != nil {
		t.Fatal(err)
	}
	h := plugHost(t, s, config.Port{Name: "a", Trunk: config.VIDsOf(20), Native: 10, IP: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}})
	err := h.ns.Do(func() error {
		if err := errors.Join(ping("10.0.0.254", 0), ping("10.0.0.254", 57), ping("10.0.0.254", 1472)); err != nil {
			return err
		}
		if err := addIPv6("fd00::1", unix.IFA_F_NODAD); err != nil {
			return err
		}
		return errors.Join(ping("fd00::fe", 0), ping("fd00::fe", 57), ping("fd00::fe", 1452))
	})
	check(t, err)
	// ARP, ND and six pings, and as much of the kernel's own as it likes.
	eventually(t, "counting", func() bool {
		info, _, _ := s.Port("probe")
		return info.Stats.Receive.Frames >= 8 && info.Learned == 1
	})
}

var errNoIPv6 = errors.New("there is no IPv6")

// check fails the test for the error, or skips it if the kernel cannot do it.
func check(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, errNoIPv6) {
		nettest.Lack(t, err.Error())
	}
	if err != nil {
		t.Error(err)
	}
}

// addIPv6 turns IPv6 on for eth0 and gives it the address.
func addIPv6(ip string, flags int) error {
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0); err != nil {
		return fmt.Errorf("%w: %w", errNoIPv6, err)
	}
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(64, 128)}, Flags: flags})
}

func TestKernelSeesThatTheResponderHasItsAddress(t *testing.T) {
	s := realSwitch(t, false)
	if err := s.Add(responder(config.Port{Name: "probe"}, "fd00::fe/64")); err != nil {
		t.Fatal(err)
	}
	h := plugHost(t, s, config.Port{Name: "a"})
	err := h.ns.Do(func() error {
		if err := addIPv6("fd00::fe", 0); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			var addresses []netlink.Addr
			addresses, err = netlink.AddrList(l, netlink.FAMILY_V6)
			for _, a := range addresses {
				if a.IP.String() == "fd00::fe" && a.Flags&unix.IFA_F_DADFAILED != 0 {
					return nil
				}
			}
		}
		return errors.Join(err, errors.New("the address is not known to be a duplicate"))
	})
	check(t, err)
}
