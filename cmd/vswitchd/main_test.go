package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func commandLine(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel() // Should it start after all, it ends at once.
	var out bytes.Buffer
	code = start(ended, args, &out, &out)
	return code, out.String()
}

func TestWrongCommandLinesAreUsageErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	for args, says := range map[string]string{
		"--nope":                               "nope",
		"extra":                                `"extra"`,
		"--log-format xml":                     "logfmt or json",
		"--log-level loud":                     "want debug, info, warn or error",
		"--vlan-aware=maybe":                   "want true or false",
		"--socket=":                            "leave the flag out",
		"--config=":                            "leave the flag out",
		"--metrics-listen=":                    "leave the flag out",
		"--config " + file + " --vlan-aware=1": "write vlan_aware into",
	} {
		code, out := commandLine(t, strings.Fields(args)...)
		wantExit(t, code, 2, out, "error: ", says)
	}
	code, out := commandLine(t, "--config", file)
	wantExit(t, code, 1, out, file, "no such file")
	code, out = commandLine(t, "--version")
	wantExit(t, code, 0, out, "vswitchd ")
	code, out = commandLine(t, "--help")
	wantExit(t, code, 0, out, "-config FILE")
}

func TestWithoutFileVLANAwarenessMustBeSaid(t *testing.T) {
	if _, err := os.Stat(defaultConfig); err == nil {
		t.Skip(defaultConfig + " exists")
	}
	code, out := commandLine(t)
	wantExit(t, code, 2, out, "--vlan-aware=true", "--vlan-aware=false")
	code, out = commandLine(t, "--check")
	wantExit(t, code, 2, out, "no configuration")
	code, out = commandLine(t, "--vlan-aware=false", "--metrics-listen", "none", "--socket", filepath.Join(t.TempDir(), "s"))
	wantExit(t, code, 0, out, "msg=ready", "vlan_aware=false ports=0")
}

func TestCheckReadsWhatTheFileNames(t *testing.T) {
	dir := t.TempDir()
	file, web := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "web.yaml")
	if err := os.WriteFile(web, []byte("nonsense: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for yaml, says := range map[string]string{
		"control: {group: no-such-group}":                  "control.group",
		"metrics: {web_config: " + web + "}":               "web_config " + web,
		"metrics: {web_config: " + web + ", listen: none}": "",
		"metrics: {listen: '127.0.0.1:0'}":                 "",
	} {
		if err := os.WriteFile(file, []byte("vlan_aware: true\n"+yaml+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := commandLine(t, "--config", file, "--check")
		if says == "" {
			wantExit(t, code, 0, out, "valid")
			continue
		}
		wantExit(t, code, 1, out, "error: "+file, says)
	}
}

func TestSlowLogLosesEventsInsteadOfWaiting(t *testing.T) {
	held, out := make(chan struct{}), &bytes.Buffer{}
	sw, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := logEvents(sw, slog.New(slog.NewTextHandler(&heldWriter{held, out}, nil)))
	for range 10_000 { // More than are kept.
		sw.Publish(vswitch.Event{Kind: vswitch.LinkUp, Port: "p1"})
	}
	sw.Publish(vswitch.Event{Kind: vswitch.LinkRenamed, Port: "p2", From: "x", To: "y"})
	close(held)
	if err := sw.Close(); err != nil {
		t.Fatal(err)
	}
	l.wait()
	if !strings.Contains(out.String(), "events lost") || !strings.Contains(out.String(), `msg="link up" port=p1`) ||
		!strings.HasSuffix(out.String(), "msg=\"link renamed\" port=p2 from=x to=y\n") {
		t.Error("what was lost is not counted")
	}
}

type heldWriter struct {
	held chan struct{}
	out  io.Writer
}

func (w *heldWriter) Write(p []byte) (int, error) {
	<-w.held
	return w.out.Write(p)
}

func TestAddPortsStopsWhenTheDaemonIsToEnd(t *testing.T) {
	sw, err := vswitch.New(&config.Config{VLANAware: new(true)}, vswitch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sw.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := addPorts(ended, []config.Port{{Name: "p1"}}, sw.Add); err != nil || len(sw.Ports()) != 0 {
		t.Errorf("%v, %d ports", err, len(sw.Ports()))
	}
}

func TestManualPageHasEveryFlag(t *testing.T) {
	page, err := os.ReadFile("../../deploy/man/vswitchd.8")
	if err != nil {
		t.Fatal(err)
	}
	_, usage := commandLine(t, "--help")
	names := regexp.MustCompile(`(?m)^  -([a-z-]+)`).FindAllStringSubmatch(usage, -1)
	if len(names) < 5 {
		t.Fatalf("flags: %v", names)
	}
	for _, m := range names {
		if !regexp.MustCompile(`(?m)^\.It Fl -` + m[1] + `\b`).Match(page) {
			t.Errorf("deploy/man/vswitchd.8 does not have --%s", m[1])
		}
	}
}
