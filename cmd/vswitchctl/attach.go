package main

import (
	"encoding/xml"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/control"
	"github.com/vswitchd/vswitchd/frame"
)

// vmms are the virtual machine monitors that attachment knows.
var vmms = []string{"qemu", "libvirt", "firecracker"}

// stationMAC is the address that a guest is to have: the one static entry of a
// locked port, or else one made of the port's name, locally administered and
// with QEMU's prefix, as two guests with QEMU's default would be one station.
func stationMAC(p *control.Port, entries []control.FDBEntry) frame.MAC {
	var static []frame.MAC
	for _, e := range entries {
		if e.State == "static" && e.Port == p.Name && !slices.Contains(static, e.MAC) {
			static = append(static, e.MAC)
		}
	}
	if len(static) == 1 {
		return static[0]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.Name)) // It never fails.
	return frame.MACFromUint64(0x525400<<24 | uint64(h.Sum32()&0xffffff))
}

// attachment returns what to give a virtual machine monitor so that its guest
// is the station of the port, with this address.
func attachment(p *control.Port, vmm string, mac frame.MAC) (string, error) {
	args, link := qemuArgs(p, mac), p.Kind == config.KindNetdev
	switch {
	case !slices.Contains(vmms, vmm):
		return "", usagef("--attach %q: want %s", vmm, strings.Join(vmms, ", "))
	case args == nil:
		return "", &usageError{
			fmt.Sprintf("port %q: its TAP is open in the switch, and no VMM can open it as well", p.Name),
			"give the machine a port of its own: vswitchctl port add NAME --kind stream --dial PATH, with the VLANs of this one",
		}
	case link && vmm == "firecracker":
		return fmt.Sprintf(`"network-interfaces": [{"iface_id": "eth0", "host_dev_name": %q, "guest_mac": %q}]`, p.Ifname, mac), nil
	case link && vmm == "libvirt":
		return libvirtInterface(p, mac)
	case vmm == "firecracker":
		return "", &usageError{fmt.Sprintf("port %q: Firecracker has no %s sockets, only TAPs that it opens itself", p.Name, p.Kind), ""}
	case vmm == "libvirt":
		return libvirtXML(args)
	}
	return shellLine(args), nil
}

// qemuArgs are the arguments of QEMU, of any version that has the kind (stream
// and dgram from 7.2 on); nil: there is nothing that it could open. The link of a
// netdev must be a TAP that the VMM can open, which whoever asks knows.
func qemuArgs(p *control.Port, mac frame.MAC) []string {
	id := "net-" + p.Name // It must begin with a letter.
	device := "virtio-net-pci,netdev=" + id
	if p.MTU != config.DefaultMTU {
		device += fmt.Sprint(",host_mtu=", p.MTU)
	}
	device += ",mac=" + mac.String()
	// QEMU reads two commas in a value as one.
	escape := strings.NewReplacer(",", ",,")
	listen, dial := escape.Replace(p.Config.Listen), escape.Replace(p.Config.Dial)
	switch {
	case p.Kind == config.KindNetdev:
		return []string{"-netdev", "tap,id=" + id + ",ifname=" + escape.Replace(p.Ifname) + ",script=no,downscript=no", "-device", device}
	case p.Kind == config.KindDgram:
		return []string{"-netdev", "dgram,id=" + id + ",local.type=unix,local.path=" + dial + ",remote.type=unix,remote.path=" + listen, "-device", device}
	case p.Kind == config.KindStream && listen != "":
		return []string{"-netdev", "stream,id=" + id + ",server=off,addr.type=unix,addr.path=" + listen, "-device", device}
	case p.Kind == config.KindStream:
		return []string{"-netdev", "stream,id=" + id + ",server=on,addr.type=unix,addr.path=" + dial, "-device", device}
	}
	return nil
}

// libvirtInterface is a device for <devices>: QEMU gets the TAP from libvirt, which
// is not to make or change it.
func libvirtInterface(p *control.Port, mac frame.MAC) (string, error) {
	type attr struct {
		Dev     string `xml:"dev,attr,omitempty"`
		Managed string `xml:"managed,attr,omitempty"`
		Type    string `xml:"type,attr,omitempty"`
		Size    int    `xml:"size,attr,omitempty"`
		Address string `xml:"address,attr,omitempty"`
	}
	device := struct {
		XMLName xml.Name `xml:"interface"`
		Type    string   `xml:"type,attr"`
		MAC     attr     `xml:"mac"`
		Target  attr     `xml:"target"`
		Model   attr     `xml:"model"`
		MTU     *attr    `xml:"mtu"`
	}{Type: "ethernet", MAC: attr{Address: mac.String()}, Target: attr{Dev: p.Ifname, Managed: "no"}, Model: attr{Type: "virtio"}}
	if p.MTU != config.DefaultMTU {
		device.MTU = &attr{Size: p.MTU}
	}
	text, err := xml.MarshalIndent(device, "", "  ")
	return string(text), err
}

// libvirtXML hands arguments to QEMU past libvirt, whose own interfaces know
// neither stream nor dgram. The element goes right into <domain>.
func libvirtXML(args []string) (string, error) {
	type arg struct {
		Value string `xml:"value,attr"`
	}
	list := struct {
		XMLName   xml.Name `xml:"qemu:commandline"`
		Namespace string   `xml:"xmlns:qemu,attr"`
		Args      []arg    `xml:"qemu:arg"`
	}{Namespace: "http://libvirt.org/schemas/domain/qemu/1.0"}
	for _, a := range args {
		list.Args = append(list.Args, arg{a})
	}
	text, err := xml.MarshalIndent(list, "", "  ")
	return string(text), err
}

// plainWord is what a shell takes as it is.
var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellLine quotes what must be for a POSIX shell.
func shellLine(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; !plainWord.MatchString(a) {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
