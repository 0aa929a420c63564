package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// keptMask has the capabilities that docs/operations.md lists.
const keptMask = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_BROADCAST | 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SYS_NICE |
	1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_CHOWN

// capabilities returns a set of file proc_pid_status(5), such as CapEff.
func capabilities(t *testing.T, status, set string) (mask uint64) {
	t.Helper()
	_, after, _ := strings.Cut(status, "\n"+set+":\t")
	if _, err := fmt.Sscanf(after, "%x\n", &mask); err != nil {
		t.Fatalf("%s: %v:\n%s", set, err, status)
	}
	return mask
}

func testStartedDaemonKeepsNeededCapabilitiesOnly(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	permitted, bounding := capabilities(t, string(own), "CapPrm")&keptMask, capabilities(t, string(own), "CapBnd")
	if capabilities(t, string(own), "CapEff")>>unix.CAP_SETPCAP&1 != 0 {
		bounding &= keptMask
	}
	b := newBench(t, twoPorts)
	d := b.start()
	b.ctl("port", "add", "p3", "--access", "20") // Its worker may have a new thread.
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", d.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // It has ended.
		}
		for set, want := range map[string]uint64{"CapPrm": permitted, "CapEff": permitted, "CapBnd": bounding, "CapInh": 0, "CapAmb": 0} {
			if got := capabilities(t, string(status), set); got != want {
				t.Errorf("%s: %s %x, want %x", thread, set, got, want)
			}
		}
		if !strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
			t.Errorf("%s: no_new_privs is not set", thread)
		}
	}
	d.stop()
}

// testConfinedDaemonDoesAllItsWork is about what needs files or privileges once
// the daemon has started. The tests beside it run confined, too.
func testConfinedDaemonDoesAllItsWork(t *testing.T) {
	elsewhere := unlisted(t)
	web := filepath.Join(elsewhere, "web.yml")
	if err := os.WriteFile(web, []byte("http_server_config: {headers: {X-Frame-Options: deny}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, "")
	b.file = filepath.Join(elsewhere, "c.yaml")
	b.write("vlan_aware: true\nmetrics: {listen: '127.0.0.1:0', web_config: '" + web + "'}\n" +
		"ports: [{name: vm1, kind: stream, listen: '" + elsewhere + "/1', access: 10}]\n")
	const user = 65534 // Whose files root may use; in a user namespace there is nobody else.
	if os.Chown(b.file, user, user) == nil && os.Chown(elsewhere, user, user) != nil {
		t.Fatal("cannot give the directory away")
	}
	owner := ownerOf(t, b.file)
	d := b.start()
	station := exec.Command("unshare", "--net", "sleep", "1000")
	if err := station.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = station.Process.Kill(); _ = station.Wait() }()
	pid := strconv.Itoa(station.Process.Pid)
	waitForNetns(t, pid)

	b.ctl("port", "add", "pid", "--access", "10", "--netns", pid, "--ifname", "eth0", "--ip", "10.0.0.1/24")
	b.ctl("port", "add", "path", "--access", "10", "--netns", "/proc/"+pid+"/ns/net", "--ifname", "eth1")
	b.ctl("port", "set", "pid", "--mtu", "1400")
	b.ctl("port", "add", "owned", "--access", "10", "--persistent", "--owner", "root")
	b.ctl("port", "del", "vm1")
	b.ctl("port", "add", "vm2", "--kind", "stream", "--listen", elsewhere+"/2", "--access", "10")
	dialTo(t, elsewhere+"/2")
	b.ctl("config", "save")
	saved, err := config.Load(b.file)
	if err != nil || len(saved.Ports) != 4 {
		t.Errorf("saved %+v, %v", saved, err)
	}
	if got := ownerOf(t, b.file); got != owner {
		t.Errorf("saved, the file belongs to user %d, before to %d", got, owner)
	}
	address := regexp.MustCompile(`metrics=(\S+)`).FindStringSubmatch(d.log.String())[1]
	reply, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK || !strings.Contains(string(body), "process_open_fds") {
		t.Errorf("metrics: %s, %v", reply.Status, err)
	}
	_ = reply.Body.Close()
	b.ctl("port", "del", "owned")
	d.stop()
	if out, err := exec.Command("ip", "link", "delete", "owned").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Lstat(elsewhere + "/2"); err == nil {
		t.Error("the socket is left behind")
	}
}

func ownerOf(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid
}

// unlisted makes a directory that a daemon may use only if its configuration
// names it.
func unlisted(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vsw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func waitForNetns(t *testing.T, pid string) {
	t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	for now := own; err == nil && now == own; {
		now, err = os.Readlink("/proc/" + pid + "/ns/net")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func dialTo(t *testing.T, path string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func testConfinedDaemonWritesWhereItMayOnly(t *testing.T) {
	b := newBench(t, "vlan_aware: true\n")
	d := b.start()
	if !strings.Contains(d.log.String(), `landlock="ABI`) {
		nettest.Lack(t, "this kernel has no Landlock")
	}
	dir := unlisted(t)
	code, out := b.run("vswitchctl", "--socket", b.socket(), "port", "add", "vm1", "--kind", "stream", "--listen", dir+"/vm1.sock", "--access", "10")
	wantExit(t, code, 5, out, dir+"/vm1.sock", "permission denied", "below /run, /tmp and /var", "startup file")
	if strings.Contains(b.ctl("port", "list"), "vm1") {
		t.Error("the port is there")
	}
	code, out = b.run("vswitchctl", "--socket", b.socket(), "port", "add", "web", "--netns", dir, "--access", "10")
	wantExit(t, code, 5, out, "permission denied", "/run/netns")
	d.stop()
}

func TestUnitGivesTheCapabilitiesThatAreKept(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/systemd/vswitchd.service")
	if err != nil {
		t.Fatal(err)
	}
	operations, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, c := range slices.Concat(needed, ofRoot) {
		name := strings.ToUpper(c.String())
		if i < len(needed) {
			names = append(names, name)
		}
		if !strings.Contains(string(operations), "\n| "+name+" |") {
			t.Errorf("docs/operations.md does not say what %s is for", name)
		}
	}
	for _, key := range []string{"AmbientCapabilities=", "CapabilityBoundingSet="} {
		if want := "\n" + key + strings.Join(names, " ") + "\n"; !strings.Contains(string(unit), want) {
			t.Errorf("the unit lacks%s", want)
		}
	}
}

func TestFilesOfTheWebListenerAreFound(t *testing.T) {
	dir := t.TempDir()
	web := filepath.Join(dir, "web.yml")
	text := "tls_server_config: {cert_file: tls/c.pem, key_file: /k/k.pem, client_ca_file: link.pem, min_version: TLS13}\nbasic_auth_users: {a: b}\n"
	if err := os.WriteFile(web, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.pem")); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{Metrics: config.Metrics{WebConfig: web}}
	got := filesOf(c, control.Startup{}, "/s/s").read
	for _, want := range []string{dir, dir + "/tls", "/k", "/etc"} {
		if !slices.Contains(got, want) {
			t.Errorf("%v lacks %s", got, want)
		}
	}
}
