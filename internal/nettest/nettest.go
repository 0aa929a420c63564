// Package nettest runs tests inside network namespaces: a package whose tests
// make interfaces gives its TestMain to Main, and its tests begin with Need or
// New. As root or not, nothing that they do is seen outside or outlives them.
package nettest

import (
	"errors"
	"os"
	"testing"

	"github.com/vswitchd/vswitchd/internal/netns"
)

var errNoMain = errors.New("TestMain of this package does not call nettest.Main")

// missing is why this process cannot test interfaces; nil: it can.
var missing = errNoMain

// Main runs the package's tests and exits: func TestMain(m *testing.M) {
// nettest.Main(m) }. Where namespaces can be had, the tests run in one process
// more, inside a network namespace of their own and as root there, with IPv6
// off for silence. Where they cannot, the tests run all the same and those
// that call Need are skipped.
func Main(m *testing.M) {
	child, exit, err := netns.Isolate()
	if err == nil && !child {
		os.Exit(exit)
	}
	if child {
		quiet()
	}
	// Check sees more than the one reason that made Isolate give up.
	if missing = netns.Check(); missing == nil {
		missing = err
	}
	os.Exit(m.Run())
}

// Need skips the test where TAPs in network namespaces cannot be had, and says
// why. With VSWITCH_REQUIRE_NETNS=1 in the environment it fails instead.
func Need(t testing.TB) {
	t.Helper()
	if missing == nil {
		return
	}
	if missing == errNoMain {
		t.Fatal(missing)
	}
	Lack(t, missing.Error())
}

// Lack skips the test for want of something that a machine may lack, and says what
// that is. With VSWITCH_REQUIRE_NETNS=1 in the environment it fails instead.
func Lack(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("VSWITCH_REQUIRE_NETNS") == "1" {
		t.Fatalf("VSWITCH_REQUIRE_NETNS=1, but: %s", what)
	}
	t.Skip(what)
}

// New makes a network namespace that lasts as long as the test, with IPv6 off:
// no station in it sends a frame that the test did not ask for. At the end its stack
// must not have found a checksum or header wrong. It calls Need.
func New(t testing.TB) *netns.NS {
	t.Helper()
	Need(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkStack(t, ns)
		ns.Close()
	})
	err = ns.Do(func() error {
		quiet()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// quiet turns IPv6 off for interfaces to come in the calling thread's network
// namespace. Its neighbour and multicast discovery would put frames of its own
// among the test's. A kernel without IPv6 has no such files, and a container's
// may be read-only: tests then see the odd frame more.
func quiet() {
	for _, which := range []string{"all", "default"} {
		_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
	}
}
