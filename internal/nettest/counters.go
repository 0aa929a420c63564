package nettest

import (
	"os"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/internal/netns"
)

// faults are what a host's stack counts of frames that were spoiled on their way:
// RFC 4113, 4293, and Linux for those of checksums.
var faults = []string{
	"Ip InHdrErrors", "Icmp InCsumErrors", "Tcp InErrs", "Tcp InCsumErrors", "Udp InCsumErrors",
	"Ip6InHdrErrors", "Icmp6InCsumErrors", "Udp6InCsumErrors",
}

// checkStack fails the test if the namespace's stack has found a frame spoiled. A
// namespace that the test has closed is gone with its counters.
func checkStack(t testing.TB, ns *netns.NS) {
	t.Helper()
	_ = ns.Do(func() error {
		snmp, err := os.ReadFile("/proc/thread-self/net/snmp")
		snmp6, _ := os.ReadFile("/proc/thread-self/net/snmp6") // Not there without IPv6.
		if found := Spoiled(string(snmp), string(snmp6)); err != nil || len(found) > 0 {
			t.Errorf("a host's stack has found frames spoiled: %q; %v", found, err)
		}
		return nil
	})
}

// Spoiled returns those counters of /proc/net/snmp and snmp6 that are not 0 although
// no frame was spoiled on its way to that host. The latter may be empty.
func Spoiled(snmp, snmp6 string) (found []string) {
	has := map[string]string{}
	lines := strings.Split(snmp, "\n") // One of names, then one of values, for each protocol.
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j := 1; j < min(len(names), len(values)); j++ {
			has[strings.TrimSuffix(names[0], ":")+" "+names[j]] = values[j]
		}
	}
	for line := range strings.Lines(snmp6) {
		if f := strings.Fields(line); len(f) == 2 {
			has[f[0]] = f[1]
		}
	}
	for _, name := range faults {
		n, ok := has[name]
		if !ok && snmp6 == "" && strings.Contains(name, "6") {
			continue
		}
		if n != "0" {
			found = append(found, name+"="+n)
		}
	}
	return found
}
