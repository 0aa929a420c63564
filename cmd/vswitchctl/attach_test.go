package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/internal/nettest"
)

// Test/vm boots guests with what is printed for stream and dgram; this is about
// what needs care: MTU, commas, quotes and names that begin with a digit.
func TestShowAttachPrintsWhatQEMUTakes(t *testing.T) {
	for want, p := range map[string]control.Port{
		"-netdev tap,id=net-vm,ifname=v,,m,script=no,downscript=no -device virtio-net-pci,netdev=net-vm,mac=52:54:00:49:c2:2c": {
			Name: "vm", MTU: 1500, Kind: config.KindNetdev, Ifname: "v,m",
		},
		"-netdev stream,id=net-1,server=on,addr.type=unix,addr.path=/run/a -device virtio-net-pci,netdev=net-1,mac=52:54:00:0c:a7:1c": {
			Name: "1", MTU: 1500, Kind: config.KindStream, Config: config.Port{Dial: "/run/a"}, Socket: &control.Socket{},
		},
		"-netdev stream,id=net-vm,server=off,addr.type=unix,addr.path=/a,,b -device virtio-net-pci,netdev=net-vm,host_mtu=9000,mac=52:54:00:49:c2:2c": {
			Name: "vm", MTU: 9000, Kind: config.KindStream, Config: config.Port{Listen: "/a,b"},
		},
		`-netdev 'dgram,id=net-vm,local.type=unix,local.path=/it'\''s,remote.type=unix,remote.path=/my vm' -device virtio-net-pci,netdev=net-vm,mac=52:54:00:00:00:01`: {
			Name: "vm", MTU: 1500, Kind: config.KindDgram, Config: config.Port{Listen: "/my vm", Dial: "/it's"},
		},
	} {
		var entries []control.FDBEntry
		if p.Kind == config.KindDgram { // as of --preset vm in two VLANs
			mac := frame.MACFromUint64(0x525400000001)
			entries = []control.FDBEntry{
				{MAC: mac, VLAN: 10, Port: "vm", State: "static"},
				{MAC: mac, VLAN: 20, Port: "vm", State: "static"},
				{MAC: frame.MACFromUint64(7), VLAN: 20, Port: "vm", State: "dynamic"},
			}
		}
		d := newDaemon(t, map[string]any{"GET /v1/ports/vm": p, "GET /v1/fdb?port=" + p.Name: entries})
		if code, out, errOut := d.ctl(t, "port", "show", "vm", "--attach", "qemu"); code != 0 || out != want+"\n" {
			t.Errorf("exit %d: %s%s, want %s", code, out, errOut, want)
		}
		if _, out, _ := d.ctl(t, "port", "show", "vm"); p.Socket != nil && !strings.Contains(out, want+"\n") {
			t.Errorf("%s is not part of\n%s", want, out)
		}
	}
}

func TestShowAttachRefusesWhatCannotWork(t *testing.T) {
	d := newDaemon(t, samples())
	for args, says := range map[string]string{
		"web --attach qemu":       "--kind stream",
		"web --attach libvirt":    "no VMM can open it",
		"vm --attach firecracker": "only TAPs",
		"vm --attach vmware":      "want qemu, libvirt, firecracker",
		"vm --attach=":            "want qemu, libvirt, firecracker",
	} {
		code, out, errOut := d.ctl(t, append([]string{"port", "show"}, strings.Fields(args)...)...)
		if code != exitUsage || out != "" || !strings.Contains(errOut, says) {
			t.Errorf("%s: exit %d: %s%s, want 2 and %q", args, code, out, errOut, says)
		}
	}
}

func TestLibvirtHandsTheSameArgumentsToQEMU(t *testing.T) {
	args := []string{"-netdev", `dgram,local.path=/<it's "&">`, "-device", "virtio-net-pci"}
	text, err := libvirtXML(args)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Args []struct {
			Value string `xml:"value,attr"`
		} `xml:"arg"`
	}
	if err := xml.Unmarshal([]byte(text), &got); err != nil || len(got.Args) != len(args) {
		t.Fatalf("%+v, %v in\n%s", got, err, text)
	}
	for i, a := range args {
		if got.Args[i].Value != a {
			t.Errorf("%q, want %q", got.Args[i].Value, a)
		}
	}
	validate(t, text)
}

func TestTAPOfAVMMIsNamedToIt(t *testing.T) {
	d := newDaemon(t, map[string]any{
		"GET /v1/ports/vm": control.Port{Name: "vm", MTU: 9000, Kind: config.KindNetdev, Ifname: "vm7"}, "GET /v1/fdb?port=vm": []control.FDBEntry{},
	})
	_, out, _ := d.ctl(t, "port", "show", "vm", "--attach", "firecracker")
	var machine map[string][]map[string]string
	if err := json.Unmarshal([]byte("{"+out+"}"), &machine); err != nil || machine["network-interfaces"][0]["host_dev_name"] != "vm7" {
		t.Errorf("%s: %v", out, err)
	}
	_, out, _ = d.ctl(t, "port", "show", "vm", "--attach", "libvirt")
	for _, part := range []string{`<interface type="ethernet">`, `<mac address="52:54:00:49:c2:2c">`, `<target dev="vm7" managed="no">`, `<mtu size="9000">`} {
		if !strings.Contains(out, part) {
			t.Errorf("%s has no %s", out, part)
		}
	}
	validate(t, "<devices>"+out+"</devices>")
}

// validate has libvirt's schema judge a domain with that element in it.
func validate(t *testing.T, element string) {
	t.Helper()
	validator, err := exec.LookPath("virt-xml-validate")
	if err != nil {
		nettest.Lack(t, err.Error())
	}
	file := filepath.Join(t.TempDir(), "domain.xml")
	domain := "<domain type='kvm'><name>vm</name><memory>262144</memory><os><type>hvm</type></os>\n" + element + "\n</domain>"
	if err := os.WriteFile(file, []byte(domain), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(validator, file, "domain").CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, domain)
	}
}
