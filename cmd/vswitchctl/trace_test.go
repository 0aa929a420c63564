package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/control"
)

const traced = `vlan_aware: true
fdb:
  static:
    - {mac: "02:00:00:00:00:09", vlan: 20, port: db}
ports:
  - {name: web, access: 10}
  - {name: db, access: 20}
  - {name: up, trunk: [10, 20], native: 10, mtu: 1400}
  - {name: vm, access: 10, flood: false}
`

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTraceOutput(t *testing.T) {
	noDaemon := &daemon{socket: filepath.Join(t.TempDir(), "none")}
	file := write(t, "next.yaml", traced)
	for name, args := range map[string]string{
		"trace-flood":   "--in web --src 02:00:00:00:00:01 --dst 02:00:00:00:00:09",
		"trace-unicast": "--in up --src 02:00:00:00:00:01 --dst 02:00:00:00:00:09 --vlan 20 --pcp 3",
		"trace-dropped": "--in up --src 02:00:00:00:00:01 --dst 02:00:00:00:00:09 --vlan 30",
	} {
		for _, format := range []string{"table", "json"} {
			code, out, errOut := noDaemon.ctl(t, append([]string{"trace", "--config", file, "-o", format}, strings.Fields(args)...)...)
			if code != 0 || !strings.HasPrefix(errOut, "note: ") || !strings.Contains(errOut, "no vswitchd answers") {
				t.Errorf("%s: exit %d: %s", name, code, errOut)
				continue
			}
			golden(t, filepath.Join("testdata", name+"."+format), out)
		}
	}
}

func TestTraceInTheDocumentationIsWhatComesOut(t *testing.T) {
	out, err := os.ReadFile("testdata/trace-flood.table")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := "    " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n    ") + "\n"
	if !strings.Contains(string(doc), shown) {
		t.Errorf("docs/operations.md does not show\n%s", shown)
	}
}

// captureFile has one frame, of which 14 of 60 bytes were captured.
func captureFile(t *testing.T) string {
	t.Helper()
	var b []byte
	// Of pcap's file header the magic, version, snap length and Ethernet; of the
	// frame's the two lengths.
	for _, word := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 14, 1, 0, 0, 14, 60} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return write(t, "a.pcap", string(append(b, 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5)))
}

// However it is given, the daemon is asked about the same frame.
func TestTraceAsksAboutTheFrame(t *testing.T) {
	d := newDaemon(t, map[string]any{"POST /v1/trace": control.Trace{Verdict: "delivered to b untagged"}})
	const addresses, rest = "020000000002020000000001", "88b5"
	for args, want := range map[string]string{
		"--src 02:00:00:00:00:01 --dst 02:00:00:00:00:02":                                   addresses + rest + strings.Repeat("00", 46),
		"--src 02:00:00:00:00:01 --dst 02:00:00:00:00:02 --vlan 0 --length 64":              addresses + "81000000" + rest + strings.Repeat("00", 46),
		"--src 02:00:00:00:00:01 --dst 02:00:00:00:00:02 --pcp 7 --vlan 20 --ethertype 800": addresses + "8100e0140800" + strings.Repeat("00", 42),
		"--hex 020000000002:02-00-00-00-00-01:88B5":                                         addresses + rest,
		"--pcap " + captureFile(t) + ":1":                                                   addresses + rest + strings.Repeat("00", 46),
	} {
		code, out, errOut := d.ctl(t, append([]string{"trace", "--in", "a"}, strings.Fields(args)...)...)
		if code != 0 || !strings.HasSuffix(out, "verdict: delivered to b untagged\n") {
			t.Errorf("%s: exit %d: %s%s", args, code, out, errOut)
			continue
		}
		var asked struct{ In, Frame string }
		if err := json.Unmarshal([]byte(d.last()), &asked); err != nil || asked.In != "a" || asked.Frame != want {
			t.Errorf("%s: asked %s, want the frame %s", args, d.last(), want)
		}
	}
}

func TestWrongTraceIsAUsageError(t *testing.T) {
	d := newDaemon(t, nil)
	pcap := captureFile(t)
	const made = " --src 02:00:00:00:00:01 --dst 02:00:00:00:00:02"
	for args, says := range map[string]string{
		"":                                        "--in is missing",
		"--in a":                                  "in one way what the frame is",
		"--in a --hex 00" + made:                  "in one way what the frame is",
		"--in a --src 02:00:00:00:00:01":          `--dst: "" is not a MAC address`,
		"--in a --dst 02:00:00:00:00:01":          "--src:",
		"--in a --vlan 4096" + made:               "a tag has a VLAN from 0 to 4095",
		"--in a --pcp 8" + made:                   "priority from 0 to 7",
		"--in a --ethertype ip" + made:            "--ethertype",
		"--in a --length 17" + made:               "--length 17",
		"--in a --hex 020":                        "odd: the byte at offset 2 has one",
		"--in a --hex 02:0:1":                     `the byte at offset 3 has one digit: there is ':' behind it`,
		"--in a --hex 02zz":                       `'z' at offset 2 is no hexadecimal digit`,
		"--in a --pcap " + pcap:                   "does not say which frame",
		"--in a --pcap " + pcap + ":2":            "there is no frame 2: the capture has 1",
		"--in a --pcap " + pcap + ":0":            "does not say which frame",
		"--in a --config " + pcap + " --hex 0000": "a.pcap",
	} {
		code, out, errOut := d.ctl(t, append([]string{"trace"}, strings.Fields(args)...)...)
		if code != exitUsage || out != "" || !strings.Contains(errOut, says) {
			t.Errorf("trace %s: exit %d: %s%s, want 2 and %q", args, code, out, errOut, says)
		}
	}
	if code, _, errOut := d.ctl(t, "trace", "--in", "a", "--pcap", pcap+".none:1"); code != exitFailed || !strings.Contains(errOut, "no such file") {
		t.Errorf("a file that is not there: exit %d: %s", code, errOut)
	}
}
