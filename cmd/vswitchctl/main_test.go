package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
)

var update = flag.Bool("update", false, "write the golden files")

func TestOutput(t *testing.T) {
	d := newDaemon(t, samples())
	for name, args := range map[string][]string{
		"status": {"status"}, "port-list": {"port", "list"}, "port-show": {"port", "show", "web"},
		"port-show-stream": {"port", "show", "vm"}, "port-show-responder": {"port", "show", "probe"},
		"fdb-list": {"fdb", "list"}, "fdb-flush": {"fdb", "flush"}, "stats": {"stats"}, "stats-port": {"stats", "web"},
	} {
		for _, format := range []string{"table", "json"} {
			code, out, errOut := d.ctl(t, append(args, "-o", format)...)
			if code != 0 || errOut != "" {
				t.Errorf("%s: exit %d: %s", name, code, errOut)
				continue
			}
			golden(t, filepath.Join("testdata", name+"."+format), out)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is\n%s\nwant\n%s", file, got, want)
	}
}

func TestChangesThatSucceedAreSilent(t *testing.T) {
	d := newDaemon(t, samples())
	for _, args := range []string{"port add web", "port set web --down", "port del web", "fdb set --ageing 300"} {
		if code, out, errOut := d.ctl(t, strings.Fields(args)...); code != 0 || out+errOut != "" {
			t.Errorf("%s: exit %d: %s%s", args, code, out, errOut)
		}
	}
}

func TestPortFlagsSendOnlyWhatIsGiven(t *testing.T) {
	d := newDaemon(t, samples())
	for args, want := range map[string]string{
		"add web":                                       `{"name":"web"}`,
		"add web --access 10 --isolated on":             `{"name":"web","access":10,"isolated":1}`,
		"add web --trunk 10,20-21 --native 1":           `{"name":"web","trunk":[10,"20-21"],"native":1}`,
		"add web --ip 192.0.2.1/24 --ip 2001:db8::1/64": `{"name":"web","ip":["192.0.2.1/24","2001:db8::1/64"]}`,
		"add web --learning off --persistent --owner 5": `{"name":"web","persistent":true,"owner":"5","learning":false}`,
		"set web --down":                                `{"up":false}`,
		"set web --up":                                  `{"up":true}`,
		"set web --limit none --pvid none":              `{"limit":null,"pvid":null}`,
		"set web --isolated 7":                          `{"isolated":7}`,
		"set web --isolated off --flood on":             `{"flood":true,"isolated":false}`,
		"set web --forward-reserved none":               `{"forward_reserved":[]}`,
		"set web --trunk 10,20-21":                      `{"trunk":["10","20-21"]}`,
		"set web --persistent=false --mtu 9000":         `{"mtu":9000,"persistent":false}`,
		"set web --state learning --frame-types all":    `{"frame_types":"all","state":"learning"}`,
	} {
		code, _, errOut := d.ctl(t, append([]string{"port"}, strings.Fields(args)...)...)
		if sent := d.last(); code != 0 || sent != want {
			t.Errorf("port %s: exit %d: %s sent %s, want %s", args, code, errOut, sent, want)
		}
	}
}

func TestMayExistAndIfExistsMakeCommandsRepeatable(t *testing.T) {
	answers := samples()
	answers["POST /v1/ports"] = control.Error{Code: control.CodeConflict, Message: "there already"}
	d := newDaemon(t, answers)
	for args, want := range map[string]int{
		"port add web":                 exitConflict,
		"port add web --may-exist":     exitOK,
		"port del missing":             exitNotFound,
		"port del missing --if-exists": exitOK,
	} {
		if code, _, errOut := d.ctl(t, strings.Fields(args)...); code != want {
			t.Errorf("%s: exit %d, want %d: %s", args, code, want, errOut)
		}
	}
	// The conflict is not about the port: its ifname is taken.
	answers["GET /v1/ports/web"] = control.Error{Code: control.CodeNotFound, Message: "no"}
	if code, _, errOut := d.ctl(t, "port", "add", "web", "--may-exist"); code != exitConflict || !strings.Contains(errOut, "there already") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

func TestVersionIsJSONIfThatIsAskedFor(t *testing.T) {
	d := &daemon{socket: "none"}
	var v []struct{ Version string }
	_, out, _ := d.ctl(t, "version", "-o", "json")
	if err := json.Unmarshal([]byte(out), &v); err != nil || len(v) != 1 || v[0].Version == "" {
		t.Errorf("%s: %v", out, err)
	}
	if _, out, _ = d.ctl(t, "version"); !strings.HasPrefix(out, "vswitchctl ") {
		t.Error(out)
	}
}

func TestLinkThatWasMovedIsShown(t *testing.T) {
	for want, p := range map[string]control.Port{
		"":                                      {},
		"blue":                                  {Netns: "blue", NSID: new(3)},
		"moved: now in the namespace with id 3": {NSID: new(3)},
		"blue; moved: now in the daemon's own":  {Netns: "blue"},
	} {
		if got := netnsText(&p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSocketIsTakenFromTheEnvironment(t *testing.T) {
	t.Setenv("VSWITCHD_SOCKET", newDaemon(t, samples()).socket)
	var out bytes.Buffer
	if code := run(t.Context(), []string{"port", "list"}, &out, &out); code != 0 {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

func TestShellCompletesPortNames(t *testing.T) {
	d := newDaemon(t, samples())
	for _, args := range [][]string{{"port", "show", ""}, {"port", "del", ""}, {"port", "set", ""}, {"stats", ""}, {"fdb", "list", "--port", ""}} {
		// Flags in front of the words are not given to the completion.
		t.Setenv("VSWITCHD_SOCKET", d.socket)
		var out bytes.Buffer
		run(t.Context(), append([]string{"__complete"}, args...), &out, io.Discard)
		if !strings.HasPrefix(out.String(), "db\nweb\n") {
			t.Errorf("%v: %s", args, out.String())
		}
	}
}

func TestEveryPortKeyHasAFlag(t *testing.T) {
	keys := map[string]bool{"name": true, "kind": true, "up": true}
	for _, s := range settings {
		keys[s.key] = true
	}
	for f := range reflect.TypeFor[config.Port]().Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !keys[key] {
			t.Errorf("there is no flag for %s", key)
		}
	}
}

func TestCompletionOffersNothingWithoutAnAnswer(t *testing.T) {
	const nothing = ":4\n" // cobra.ShellCompDirectiveNoFileComp
	failing := newDaemon(t, map[string]any{"GET /v1/ports": control.Error{Code: control.CodeFailed, Message: "bad"}})
	for name, socket := range map[string]string{"absent": filepath.Join(t.TempDir(), "none"), "failing": failing.socket} {
		t.Setenv("VSWITCHD_SOCKET", socket)
		var out, errOut bytes.Buffer
		run(t.Context(), []string{"__complete", "port", "show", ""}, &out, &errOut)
		if out.String() != nothing || strings.Contains(errOut.String(), "rror: ") {
			t.Errorf("%s: %q, %q", name, out.String(), errOut.String())
		}
	}
}

func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Setenv("VSWITCHD_SOCKET", "/of/the/builder")
	dir := filepath.Join(t.TempDir(), "man")
	var out bytes.Buffer
	if code := run(t.Context(), []string{"man", dir}, &out, &out); code != exitOK {
		t.Fatalf("exit %d: %s", code, out.String())
	}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
		} else if !bytes.Contains(page, []byte(control.RootSocket)) || bytes.Contains(page, []byte("builder")) {
			t.Errorf("%s: another default socket than root's:\n%s", c.CommandPath(), page)
		}
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				check(sub)
			}
		}
	}
	check(newRoot())
}
