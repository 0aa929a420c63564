package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/internal/netns"
	"github.com/vswitchd/vswitchd/internal/nettest"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

// wire is nettest.Wire with addresses for eth0.
func wire(t *testing.T, name string, addresses ...string) *netns.NS {
	t.Helper()
	far := nettest.Wire(t, name)
	if err := far.Do(func() error { return setUp("eth0", addresses...) }); err != nil {
		t.Fatal(err)
	}
	return far
}

// setUp gives a link of the calling thread's namespace addresses, to be used at once.
func setUp(name string, addresses ...string) error {
	conf := "/proc/sys/net/ipv6/conf/" + name + "/"
	err := errors.Join(os.WriteFile(conf+"disable_ipv6", []byte("0"), 0), os.WriteFile(conf+"accept_dad", []byte("0"), 0))
	l, failure := netlink.LinkByName(name)
	if err = errors.Join(err, failure); err != nil {
		return err
	}
	for _, text := range addresses {
		a, failure := netlink.ParseAddr(text)
		if err = errors.Join(err, failure); err == nil {
			err = netlink.AddrAdd(l, a)
		}
	}
	return errors.Join(err, netlink.LinkSetUp(l))
}

// tunnel makes the vxlan vx0 to the address remote.
func tunnel(under, remote string) error {
	l, err := netlink.LinkByName(under)
	if err != nil {
		return err
	}
	return netlink.LinkAdd(&netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vx0", MTU: 1450}, VxlanId: 7, VtepDevIndex: l.Attrs().Index, Group: net.ParseIP(remote), Port: 4789,
	})
}

// Between links of somebody else super-frames pass whole, and to a port that takes
// none as segments; in any case what arrives is what was sent.
func TestTrafficIsRightThroughNetdevs(t *testing.T) {
	nettest.Need(t)
	for _, c := range []struct {
		name  string
		other func(t *testing.T, s *vswitch.Switch) *netns.NS
		whole bool
	}{
		{"veth to veth", func(t *testing.T, s *vswitch.Switch) *netns.NS {
			t.Helper()
			far := wire(t, "nd2", "10.0.0.2/24", "fd00::2/64")
			add(t, s, config.Port{Name: "b", Kind: config.KindNetdev, Link: "nd2", Access: 1})
			return far
		}, true},
		{"veth to vxlan", func(t *testing.T, s *vswitch.Switch) *netns.NS {
			t.Helper()
			far := wire(t, "under0", "192.0.2.2/24")
			err := errors.Join(setUp("under0", "192.0.2.1/24"), tunnel("under0", "192.0.2.2"),
				far.Do(func() error {
					return errors.Join(tunnel("eth0", "192.0.2.1"), setUp("vx0", "10.0.0.2/24", "fd00::2/64"))
				}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx0"}}) })
			add(t, s, config.Port{Name: "b", Kind: config.KindNetdev, Link: "vx0", Access: 1})
			return far
		}, true},
		{"veth to a TAP", func(t *testing.T, s *vswitch.Switch) *netns.NS {
			t.Helper()
			return pair{t, s, "b", true, true}.plug("10.0.0.2/24", "fd00::2/64")
		}, true},
		{"veth to a TAP without offload", func(t *testing.T, s *vswitch.Switch) *netns.NS {
			t.Helper()
			return pair{t, s, "b", false, false}.plug("10.0.0.2/24", "fd00::2/64")
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			a := wire(t, "nd1", "10.0.0.1/24", "fd00::1/64")
			if err := a.Do(func() error { return limit("eth0") }); err != nil {
				t.Fatal(err)
			}
			add(t, s, config.Port{Name: "a", Kind: config.KindNetdev, Link: "nd1", Access: 1})
			crosses(t, s, a, c.other(t, s), c.whole)
		})
	}
}

// limit has a station send no more than a vxlan carries.
func limit(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetMTU(l, 1450)
}

func add(t *testing.T, s *vswitch.Switch, p config.Port) {
	t.Helper()
	if err := s.Add(p); err != nil {
		t.Fatal(err)
	}
}

// testDeletedNetdevCostsItsOwnPort deletes the link of a netdev under traffic, and
// has a rule take the next one of that name.
func testDeletedNetdevCostsItsOwnPort(t *testing.T) {
	r := newRig(t)
	next, err := r.Running(t.Context())
	if err == nil {
		next.AutoAttach = []config.AutoAttach{{Match: config.Match{Name: "nd*", Kind: "veth"}, Port: config.Port{Kind: config.KindNetdev}}}
		_, err = r.Apply(t.Context(), next, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	attached := func() {
		t.Helper()
		eventually(t, func() error {
			p, err := r.Port(t.Context(), "nd0")
			if err == nil && !p.Up {
				err = errors.New("nd0 is down")
			}
			return err
		})
	}
	r.undisturbed(func() {
		for range 3 {
			far := nettest.Wire(t, "nd0")
			attached()
			st := nettest.NewStation(t, far, "eth0")
			c := newCrew(t)
			c.start("flood", func() error {
				for {
					select {
					case <-c.stop:
						return nil
					default:
					}
					// From the moment it has no other end it cannot be sent to.
					if err := st.Send(numbered([6]byte{2, 0xcc, 0, 0, 0, 1}, [6]byte{2, 0xcc, 0, 0, 0, 2}, 0)); err != nil {
						return nil
					}
				}
			})
			l, err := netlink.LinkByName("nd0")
			if err == nil {
				err = netlink.LinkDel(l)
			}
			if err != nil {
				t.Fatal(err)
			}
			c.end()
			eventually(t, func() error {
				if _, err := r.Port(t.Context(), "nd0"); err == nil {
					return errors.New("the port is still there")
				}
				return nil
			})
		}
	})
	ifis, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ifis {
		if len(i.Name) > 4 && i.Name[:4] == "vsw-" {
			err = errors.Join(err, fmt.Errorf("%s is left behind", i.Name))
		}
	}
	if err != nil {
		t.Error(err)
	}
	r.aftermath()
}
