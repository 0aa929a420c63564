package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/control"
)

func TestWrongCommandsAreUsageErrors(t *testing.T) {
	d := newDaemon(t, samples())
	for args, says := range map[string]string{
		"":                            "a command is missing",
		"prot list":                   `no command "prot"`,
		"port":                        "a command is missing",
		"port lst":                    "did you mean list?",
		"port list extra":             "too many",
		"port show":                   "missing",
		"port list --nope":            "unknown flag",
		"port list -o yaml":           "want table or json",
		"port add web --mtu x":        `--mtu "x"`,
		"port add web --access 1x":    `--access "1x"`,
		"port add web --flood none":   "on or off",
		"port add web --isolated x":   "on, off or a group from 0 to 255",
		"port add web --mac zz":       "--mac is",
		"port add web --isolated 256": "0 to 255",
		"port add web --access 5000":  "--access is",
		"status --socket=":            "the path is empty",
		"port set web":                "nothing to change",
		"port set web --up --down":    "exclude",
		"port set web --preset x":     "want vm",
		"port add web --preset vm":    "address is missing",
		"fdb add 02:00:00:00:00:01":   "--port or --blackhole",
		"fdb add 02:00:00:00:00:01 --blackhole --port a": "--port or --blackhole",
		"fdb add 02 --blackhole":                         "MAC",
		"fdb list --vlan 70000":                          "vlan",
		"fdb list --mac 02":                              "MAC",
		"fdb set":                                        "--ageing or --limit",
		"fdb set --limit -1":                             "limit",

		"port set web --vm-mac 02:00:00:00:00:07":             "want vm",
		"port add web --preset vm --vm-mac 02":                "MAC",
		"port add web --preset vm --vm-mac 03:00:00:00:00:07": "not the address of a station",
	} {
		code, out, errOut := d.ctl(t, strings.Fields(args)...)
		if code != exitUsage || out != "" || !strings.HasPrefix(errOut, "error: ") || !strings.Contains(errOut, says) {
			t.Errorf("%s: exit %d: %s%s, want 2 and %q", args, code, out, errOut, says)
		}
	}
}

func TestExitCodesFollowFromTheAnswer(t *testing.T) {
	for code, want := range map[control.Code]int{
		control.CodeFailed: 1, control.CodeInvalid: 2, control.CodeNotFound: 4, control.CodePermission: 5, control.CodeConflict: 6,
	} {
		d := newDaemon(t, map[string]any{"GET /v1/status": control.Error{Code: code, Message: "what: why", Fix: "do this"}})
		got, _, errOut := d.ctl(t, "status")
		if got != want || errOut != "error: what: why\n  do this\n" {
			t.Errorf("%s: exit %d, want %d: %q", code, got, want, errOut)
		}
	}
}

func TestUnreachableDaemonIsExitCode3(t *testing.T) {
	d := &daemon{socket: filepath.Join(t.TempDir(), "none")}
	code, _, errOut := d.ctl(t, "status")
	if code != exitUnreachable || !strings.Contains(errOut, d.socket) || !strings.Contains(errOut, "\n  is vswitchd running?") {
		t.Errorf("exit %d: %s", code, errOut)
	}
}

func TestClosedSocketIsExitCode5(t *testing.T) {
	err := fmt.Errorf("socket x: %w", control.ErrPermission)
	if exitCode(err) != exitPermission || !strings.Contains(explained(err), "group") {
		t.Errorf("exit %d: %s", exitCode(err), explained(err))
	}
}

func TestSilentDaemonIsNotSaidToBeAbsent(t *testing.T) {
	err := fmt.Errorf("socket x: %w", control.ErrTimeout)
	if exitCode(err) != exitUnreachable || !strings.Contains(explained(err), "\n  is the daemon stopped") {
		t.Errorf("exit %d: %s", exitCode(err), explained(err))
	}
}

func TestInterruptedCommandSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	code := run(ctx, []string{"--socket", newDaemon(t, samples()).socket, "status"}, &out, &out)
	if code != exitInterrupted || out.String() != "error: interrupted\n" {
		t.Errorf("exit %d: %s", code, out.String())
	}
}

func TestKeysOfRequestsAreCalledByTheirFlags(t *testing.T) {
	for message, want := range map[string]string{
		`port "a": frame_types: is "x"`:                       `port "a": --frame-types is "x"`,
		`port "a": mtu: is "x" (after byte 7)`:                `port "a": --mtu is "x"`,
		`ip[1]: 10.0.0.0/8 is the network`:                    `--ip 10.0.0.0/8 is the network`,
		"mtu: is 3\nuntagged: VLANs 10 are in tagged too":     "--mtu is 3\n--untagged VLANs 10 are in tagged too",
		"access: the switch is not VLAN aware: it passes":     "--access: the switch is not VLAN aware: it passes",
		"write access: for one VLAN, or trunk: and native:":   "write --access for one VLAN, or --trunk and --native",
		`name: "a b" is no name; write vlan_aware: true`:      `name: "a b" is no name; write vlan_aware: true`,
		"vlan: \"0\" is not a VLAN":                           "--vlan \"0\" is not a VLAN",
		`port "limit": not found: 02:00:00:00:00:01 (byte 7)`: `port "limit": not found: 02:00:00:00:00:01 (byte 7)`,
	} {
		if got := inFlags(message); got != want {
			t.Errorf("%s:\n%s, want\n%s", message, got, want)
		}
	}
	d := newDaemon(t, map[string]any{"PATCH /v1/ports/web": control.Error{Code: control.CodeInvalid, Message: `port "web": mtu: is 3`, Fix: "write mtu: 68"}})
	if _, _, errOut := d.ctl(t, "port", "set", "web", "--mtu", "3"); errOut != "error: port \"web\": --mtu is 3\n  write --mtu 68\n" {
		t.Error(errOut)
	}
}
