package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/internal/guest"
	"github.com/vswitchd/vswitchd/internal/lab"
	"github.com/vswitchd/vswitchd/internal/netns"
)

// eth0 is the name of every host's link.
const eth0 = "eth0"

// bringUp bounds how long a switch may take until its hosts reach each other.
const bringUp = 15 * time.Second

// host is one station of the switch that is measured: a namespace with one link.
type host struct {
	ns    *netns.NS
	addr  netip.Addr
	mac   net.HardwareAddr
	index int // of the link, once the network is up
}

// network is a switch with its hosts. The switch runs in a namespace of its
// own, so that several can run at once.
type network struct {
	topology string
	hosts    []*host
	core     *netns.NS
	guest    *guest.Guest
	// guestStation is the guest as others see it; its link is the TAP.
	guestStation *host
	dir          string // for the switch's files
	procs        []*exec.Cmd
	switches     []int // those of procs whose CPU time is the switch's
	// dropped is what the switch itself has counted as dropped and no link
	// shows; nil if it has no such counter.
	dropped func() (uint64, error)
}

// newNetwork makes the namespaces of a switch with n hosts, has build connect
// them, and returns once every host has reached the next one.
func newNetwork(t *topology, n int) (nw *network, err error) {
	nw = &network{topology: t.name}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s with %d hosts: %w", t.name, n, err)
			nw.close()
		}
	}()
	// The path of a unix socket is short, so this is not below a deep $TMPDIR.
	if nw.dir, err = os.MkdirTemp("", "perf"); err != nil {
		return nw, err
	}
	if nw.core, err = namespace(); err != nil {
		return nw, err
	}
	for i := range n {
		ns, err := namespace()
		if err != nil {
			return nw, err
		}
		nw.hosts = append(nw.hosts, &host{
			ns: ns, addr: netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)}),
			mac: net.HardwareAddr{2, 0, 0, 0, 1, byte(i + 1)},
		})
	}
	if err := t.build(nw); err != nil {
		return nw, err
	}
	return nw, nw.settle()
}

// namespace makes one without IPv6, whose own chatter would be in the counts.
func namespace() (*netns.NS, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		for _, which := range []string{"all", "default"} {
			err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
			if err != nil && !errors.Is(err, os.ErrNotExist) { // A kernel without IPv6 is as good.
				return err
			}
		}
		return nil
	})
	return ns, err
}

// close ends the processes that the network started, and its namespaces.
func (nw *network) close() {
	for _, p := range nw.procs {
		_ = p.Process.Signal(unix.SIGTERM) // It fails only if the process has ended.
	}
	for _, p := range nw.procs {
		kill := time.AfterFunc(5*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Wait() // However it ended.
		kill.Stop()
	}
	if nw.guest != nil {
		nw.guest.Kill()
	}
	for _, h := range nw.hosts {
		h.ns.Close()
	}
	if nw.core != nil {
		nw.core.Close()
	}
	_ = os.RemoveAll(nw.dir)
}

// spawn starts a program in the switch's namespace with env added to the
// environment. It gets the kernel's SIGKILL if this process dies.
func (nw *network) spawn(env []string, path string, args ...string) error {
	log, err := os.Create(nw.log(path))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Env = append(plainEnviron(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	// Held open: vde_switch takes the end of its input for a command to end.
	if _, err := cmd.StdinPipe(); err != nil {
		return err
	}
	// Pdeathsig watches the thread that starts the child: main holds on to it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := nw.core.Do(cmd.Start); err != nil {
		return err
	}
	nw.procs = append(nw.procs, cmd)
	return nil
}

// spawnSwitch is spawn of a process whose CPU time is the switch's.
func (nw *network) spawnSwitch(env []string, path string, args ...string) error {
	if err := nw.spawn(env, path, args...); err != nil {
		return err
	}
	nw.switches = append(nw.switches, nw.procs[len(nw.procs)-1].Process.Pid)
	return nil
}

func (nw *network) log(program string) string {
	return filepath.Join(nw.dir, filepath.Base(program)+".log")
}

// run runs a program in the switch's namespace to its end.
func (nw *network) run(env []string, path string, args ...string) error {
	return nw.core.Do(func() error {
		cmd := exec.Command(path, args...)
		cmd.Env = append(plainEnviron(), env...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// prefix is the host's address with the length of the one subnet.
func (h *host) prefix() netip.Prefix { return netip.PrefixFrom(h.addr, 16) }

// adopt makes the link of that name in the switch's namespace host i's eth0. It
// waits for a link that a switch is still making.
func (nw *network) adopt(i int, name string) error {
	h := nw.hosts[i]
	to, err := unix.Open(h.ns.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(to)
	err = nw.core.Do(func() error {
		link, err := awaitLink(name)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetDown(link), netlink.LinkSetNsFd(link, to))
	})
	if err != nil {
		return fmt.Errorf("give %s to a host: %w", name, err)
	}
	return h.ns.Do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(h.prefix().String())
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetName(link, eth0), netlink.LinkSetHardwareAddr(link, h.mac),
			netlink.AddrAdd(link, addr), netlink.LinkSetUp(link))
	})
}

// awaitLink looks for a link in the calling thread's namespace until it is
// there.
func awaitLink(name string) (netlink.Link, error) {
	for end := time.Now().Add(bringUp); ; time.Sleep(20 * time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err == nil || time.Now().After(end) {
			return link, err
		}
	}
}

// receiver is the station that the figures of most rows are of.
func (nw *network) receiver() *host {
	if nw.guest != nil {
		return nw.guestStation
	}
	return nw.hosts[1]
}

// settle gives every host a permanent neighbour for every other, and returns
// once each has reached the next.
func (nw *network) settle() error {
	for _, h := range nw.hosts {
		if err := h.ns.Do(func() error { return nw.neighbours(h) }); err != nil {
			return fmt.Errorf("%w%s", err, nw.lastWords())
		}
	}
	for end := time.Now().Add(bringUp); ; {
		err := nw.ping()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w%s", err, nw.lastWords())
		}
	}
}

// ping has every host ping the next one. All try even if one fails: a switch
// that does not flood has to hear from a host first.
func (nw *network) ping() (failed error) {
	stations := nw.hosts
	if nw.guest != nil {
		stations = append(slices.Clip(stations), nw.guestStation)
	}
	for i, h := range nw.hosts {
		from := lab.Host{Name: h.addr.String(), NS: h.ns, Interface: eth0, Addr: h.prefix()}
		if _, err := from.Ping(stations[(i+1)%len(stations)].addr, 200*time.Millisecond); err != nil {
			failed = err
		}
	}
	return failed
}

func (nw *network) neighbours(h *host) error {
	link, err := awaitLink(eth0)
	if err != nil {
		return err
	}
	h.index = link.Attrs().Index
	for _, other := range nw.hosts {
		if other == h {
			continue
		}
		if err := netlink.NeighSet(&netlink.Neigh{
			LinkIndex: h.index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
			IP: other.addr.AsSlice(), HardwareAddr: other.mac,
		}); err != nil {
			return fmt.Errorf("set a neighbour: %w", err)
		}
	}
	return nil
}

// lastWords is the end of what the switch's programs have written.
func (nw *network) lastWords() string {
	said := ""
	for _, p := range nw.procs {
		text, err := os.ReadFile(nw.log(p.Path))
		if err != nil || len(text) == 0 {
			continue
		}
		said += fmt.Sprintf("; %s wrote: %s", filepath.Base(p.Path), strings.TrimSpace(string(text[max(0, len(text)-500):])))
	}
	return said
}
