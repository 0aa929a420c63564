package doctor

import (
	"maps"
	"testing"

	"github.com/vswitchd/vswitchd/control"
)

// linksTest is a machine that runs something that manages links.
type linksTest struct {
	files      map[string]string
	status     Status
	found, fix string
}

func checkLinks(t *testing.T, check, comm string, tests map[string]linksTest) {
	t.Helper()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			f.files["proc/77/comm"] = comm + "\n"
			maps.Copy(f.files, tt.files)
			f.check(t, check, tt.status, tt.found, tt.fix)
		})
	}
}

func TestNetworkManagerMustLeaveTheLinksAlone(t *testing.T) {
	const etc, lib = "etc/NetworkManager/conf.d/", "usr/lib/NetworkManager/conf.d/"
	const globally = "[keyfile]\nunmanaged-devices=*,except:type:wifi,except:type:gsm\n" // As Ubuntu has it.
	const own = "[keyfile]\nunmanaged-devices+=interface-name:vsw*\n"
	checkLinks(t, "NetworkManager", "NetworkManager", map[string]linksTest{
		"no drop-in":          {nil, Warn, "vsw0", "interface-name:vsw*"},
		"by name":             {map[string]string{etc + "a.conf": own}, OK, "alone", ""},
		"by type":             {map[string]string{etc + "a.conf": "[keyfile]\nunmanaged-devices = mac:00:22:68:1c:59:b1; type:tun\n"}, OK, "alone", ""},
		"another name":        {map[string]string{etc + "a.conf": "[keyfile]\nunmanaged-devices=interface-name:veth*\n"}, Warn, "vsw0", "vsw*"},
		"in a comment":        {map[string]string{etc + "a.conf": "[keyfile]\n#unmanaged-devices=*\n"}, Warn, "vsw0", ""},
		"in another section":  {map[string]string{etc + "a.conf": "[main]\nunmanaged-devices=*\n"}, Warn, "vsw0", ""},
		"excepted":            {map[string]string{etc + "a.conf": "[keyfile]\nunmanaged-devices=*;except:interface-name:vsw0\n"}, Warn, "vsw0", ""},
		"all but some":        {map[string]string{lib + "10-globally.conf": globally}, OK, "alone", ""},
		"hidden by a name":    {map[string]string{lib + "10-globally.conf": globally, etc + "10-globally.conf": ""}, Warn, "vsw0", ""},
		"replaced later":      {map[string]string{etc + "a.conf": own, etc + "b.conf": "[keyfile]\nunmanaged-devices=type:wifi\n"}, Warn, "vsw0", ""},
		"main file":           {map[string]string{"etc/NetworkManager/NetworkManager.conf": own, lib + "z.conf": "[keyfile]\nunmanaged-devices=type:wifi\n"}, OK, "alone", ""},
		"drop-in beats main":  {map[string]string{"etc/NetworkManager/NetworkManager.conf": own, etc + "a.conf": "[keyfile]\nunmanaged-devices=type:wifi\n"}, Warn, "vsw0", ""},
		"not a .conf":         {map[string]string{etc + "a.conf.off": own}, Warn, "vsw0", ""},
		"another is running":  {map[string]string{"proc/77/comm": "networkmonitor\n", "run/NetworkManager/x": ""}, OK, "not running", ""},
		"processes hidden":    {map[string]string{"proc/77/comm": "", "proc/1/comm": "", "run/NetworkManager/x": ""}, Warn, "vsw0", ""},
		"hidden, not running": {map[string]string{"proc/77/comm": "", "proc/1/comm": ""}, OK, "not running", ""},
	})
}

func TestNetworkdMustLeaveTheLinksAlone(t *testing.T) {
	const etc, lib = "etc/systemd/network/", "usr/lib/systemd/network/"
	const all = "[Match]\nType=ether\n[Network]\nDHCP=yes\n"
	const own = "[Match]\nName=vsw* other\nDriver=tun\n[Link]\nUnmanaged=yes\n"
	const veth = "[Match]\nKind=veth\nName=host0\n[Network]\nDHCP=yes\n"
	// The kernel keeps 15 bytes of a name.
	checkLinks(t, "systemd-networkd", "systemd-network", map[string]linksTest{
		"no file":                {nil, OK, "alone", ""},
		"others only":            {map[string]string{lib + "80-container.network": veth}, OK, "alone", ""},
		"all Ethernet":           {map[string]string{etc + "20-all.network": all}, Warn, "20-all.network has it manage vsw0", "Unmanaged=yes"},
		"all but inverted":       {map[string]string{etc + "20-all.network": "[Match]\nName=!vsw* lo\n"}, OK, "alone", ""},
		"every link":             {map[string]string{etc + "20-all.network": "[Network]\nDHCP=yes\n"}, Warn, "vsw0", ""},
		"one card":               {map[string]string{etc + "20-card.network": "[Match]\nMACAddress=02:00:00:00:00:01\n"}, OK, "alone", ""},
		"unmanaged first":        {map[string]string{etc + "20-all.network": all, lib + "05-vsw.network": own}, OK, "alone", ""},
		"unmanaged too late":     {map[string]string{lib + "20-all.network": all, etc + "30-vsw.network": own}, Warn, "20-all.network", ""},
		"hidden by an empty":     {map[string]string{lib + "20-all.network": all, etc + "20-all.network": ""}, OK, "alone", ""},
		"replaced by precedence": {map[string]string{lib + "20-all.network": own, etc + "20-all.network": all}, Warn, "/etc/systemd", ""},
		"not running":            {map[string]string{"proc/77/comm": "systemd\n", etc + "20-all.network": all, "run/systemd/netif/x": ""}, OK, "not running", ""},
	})
}

func TestLinksThatThePortsHaveAreLookedAt(t *testing.T) {
	f := healthy()
	f.files["proc/77/comm"] = "NetworkManager\n"
	f.files["etc/NetworkManager/conf.d/a.conf"] = "[keyfile]\nunmanaged-devices=interface-name:vsw*\n"
	f.daemon = fakeDaemon{ports: []control.Port{
		{Ifname: "vsw3"}, {Ifname: "up0"}, {Ifname: "eth0", Netns: "web"}, {Ifname: "eth1", NSID: new(int)},
	}}
	f.check(t, "NetworkManager", Warn, "no unmanaged-devices has up0", "interface-name:up0\\n")
}
