package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// roleVariable makes a test binary play a program that calls Isolate: it names
// what the program does inside.
const roleVariable = "NETNS_TEST_ROLE"

func play(role string) int {
	child, exit, err := Isolate()
	if err != nil {
		fmt.Println(err)
		return 99
	}
	if !child {
		return exit
	}
	switch role {
	case "tell":
		ns, _ := os.Readlink("/proc/thread-self/ns/net")
		wd, _ := os.Getwd()
		in, _ := io.ReadAll(os.Stdin)
		_, listenErr := net.Listen("tcp4", "127.0.0.1:0")
		again, _, _ := Isolate()
		fmt.Printf("%s|%d|%q|%s|%s|%v|%v\n", ns, unix.Geteuid(), os.Args[1:], wd, in, listenErr, again)
		return 7
	case "await SIGTERM":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, unix.SIGTERM)
		fmt.Println("ready")
		<-signals
		return 8
	case "die":
		_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	}
	select {}
}

// start runs this test binary in the role and returns it with its output.
func start(t *testing.T, role string, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	need(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	// The marker names the namespace that this process is in: it has to be
	// left once more.
	cmd.Env = append(os.Environ(), roleVariable+"="+role, marker+"="+own(t))
	cmd.Stdin = strings.NewReader("input")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

func checkExit(t *testing.T, cmd *exec.Cmd, want int) {
	t.Helper()
	err := cmd.Wait()
	var e *exec.ExitError
	if !errors.As(err, &e) || e.ExitCode() != want {
		t.Errorf("ended with %v, want exit code %d", err, want)
	}
}

func TestIsolateKeepsAllButTheNamespace(t *testing.T) {
	cmd, out := start(t, "tell", "-a", "b c")
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	checkExit(t, cmd, 7)
	got := strings.Split(strings.TrimSpace(line), "|")
	if got[0] == own(t) {
		t.Errorf("the child is still in %s", got[0])
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// User, arguments, directory, input; loopback answers; inside stays inside.
	want := []string{"0", `["-a" "b c"]`, wd, "input", "<nil>", "true"}
	if !slices.Equal(got[1:], want) {
		t.Errorf("the child tells %q, want %q", got[1:], want)
	}
}

func TestIsolatePassesSignalsOn(t *testing.T) {
	cmd, out := start(t, "await SIGTERM")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	checkExit(t, cmd, 8)
}

func TestIsolateReportsADeadlySignal(t *testing.T) {
	cmd, _ := start(t, "die")
	checkExit(t, cmd, 128+int(unix.SIGKILL))
}

// The child holds the other end of the pipe, so its end is the child's.
func TestIsolateTakesTheChildAlong(t *testing.T) {
	cmd, out := start(t, "await SIGTERM")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(out); err != nil || len(rest) != 0 {
		t.Errorf("read %q, error %v", rest, err)
	}
	checkExit(t, cmd, -1)
}
