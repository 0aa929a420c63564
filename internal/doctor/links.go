package doctor

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func checkNetworkManager(f *facts) (status Status, found, fix string) {
	if !f.runs("NetworkManager", "/run/NetworkManager") {
		return OK, "not running", ""
	}
	specs := f.unmanagedDevices()
	managed := slices.DeleteFunc(f.links(), func(name string) bool { return specMatches(specs, name) })
	if len(managed) == 0 {
		return OK, "running, leaves the links of the switch alone", ""
	}
	return Warn, "running, and no unmanaged-devices has " + strings.Join(managed, ", "),
		fmt.Sprintf(`printf '[keyfile]\nunmanaged-devices+=interface-name:%s\n' | sudo tee /etc/NetworkManager/conf.d/90-vswitchd.conf; sudo systemctl reload NetworkManager`,
			strings.Join(globs(managed), ";interface-name:"))
}

func checkNetworkd(f *facts) (status Status, found, fix string) {
	if !f.runs("systemd-networkd", "/run/systemd/netif") {
		return OK, "not running", ""
	}
	files := f.configs(".network", "/usr/lib/systemd/network", "/usr/local/lib/systemd/network", "/run/systemd/network", "/etc/systemd/network")
	slices.SortStableFunc(files, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	var managed []string
	for _, name := range f.links() {
		if file := f.manages(files, name); file != "" {
			managed = append(managed, name)
			found = file
		}
	}
	if len(managed) == 0 {
		return OK, "running, leaves the links of the switch alone", ""
	}
	return Warn, "running, and " + found + " has it manage " + strings.Join(managed, ", "),
		fmt.Sprintf(`printf '[Match]\nName=%s\nDriver=tun\n[Link]\nUnmanaged=yes\n' | sudo tee /etc/systemd/network/05-vswitchd.network; sudo networkctl reload`,
			strings.Join(globs(managed), " "))
}

// links returns the names of the links that live where the daemon does, or one
// for all that will.
func (f *facts) links() []string {
	var names []string
	for i := range f.ports {
		if f.ports[i].Netns == "" && f.ports[i].NSID == nil {
			names = append(names, f.ports[i].Ifname)
		}
	}
	if names == nil {
		names = []string{"vsw0"}
	}
	return names
}

// globs returns patterns for the names, one for all that follow the documented
// way of naming.
func globs(names []string) []string {
	var out []string
	for _, name := range names {
		if strings.HasPrefix(name, "vsw") {
			name = "vsw*"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// runs tells whether a process has the name. Its directory outlives it, so that
// is trusted only where other users' processes are hidden.
func (s *System) runs(name, dir string) bool {
	name = name[:min(len(name), 15)] // The kernel keeps no more, TASK_COMM_LEN.
	if s.read("/proc/1/comm") == "" {
		return s.exists(dir)
	}
	comms, _ := filepath.Glob(s.path("/proc/[0-9]*/comm")) // The pattern is well formed.
	return slices.ContainsFunc(comms, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.TrimSpace(string(b)) == name
	})
}

// configs returns the files in the directories, which come from the lowest
// precedence to the highest: a file hides those of its name before it.
func (s *System) configs(suffix string, dirs ...string) []string {
	var files []string
	for _, dir := range dirs {
		entries, _ := os.ReadDir(s.path(dir)) // What is not there has no files.
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), suffix) {
				continue
			}
			files = slices.DeleteFunc(files, func(f string) bool { return path.Base(f) == e.Name() })
			files = append(files, path.Join(dir, e.Name()))
		}
	}
	return files
}

// unmanagedDevices returns the device specs of NetworkManager.conf(5), in the
// order in which it reads its files.
func (s *System) unmanagedDevices() (specs []string) {
	const etc = "/etc/NetworkManager/"
	files := s.configs(".conf", "/usr/lib/NetworkManager/conf.d", "/run/NetworkManager/conf.d", etc+"conf.d")
	local := slices.IndexFunc(files, func(f string) bool { return strings.HasPrefix(f, etc) })
	if local < 0 {
		local = len(files)
	}
	for _, file := range slices.Insert(files, local, etc+"NetworkManager.conf") {
		for _, e := range entries(s.read(file)) {
			list := strings.FieldsFunc(e.value, func(r rune) bool { return strings.ContainsRune(";, ", r) })
			switch e.key {
			case "[keyfile]unmanaged-devices":
				specs = list
			case "[keyfile]unmanaged-devices+":
				specs = append(specs, list...)
			}
		}
	}
	return specs
}

// specMatches tells whether the specs name a TAP; "except:" is stronger than
// all others.
func specMatches(specs []string, name string) (matches bool) {
	for _, spec := range specs {
		spec, except := strings.CutPrefix(spec, "except:")
		pattern := strings.TrimPrefix(strings.TrimPrefix(spec, "interface-name:"), "=")
		if spec != "type:tun" && spec != "driver:tun" && !glob(pattern, name) {
			continue
		}
		if except {
			return false
		}
		matches = true
	}
	return matches
}

// manages returns the file that makes networkd manage a TAP: the first that
// matches, unless that one has it unmanaged.
func (s *System) manages(files []string, name string) string {
	for _, file := range files {
		text := s.read(file)
		if strings.TrimSpace(text) == "" {
			continue // An empty file, or a link to /dev/null, hides others.
		}
		matches, managed := true, true
		for _, e := range entries(text) {
			switch e.key {
			case "[Match]Name":
				matches = matches && listed(e.value, name)
			case "[Match]Driver", "[Match]Kind":
				matches = matches && listed(e.value, "tun")
			case "[Match]Type":
				matches = matches && listed(e.value, "ether")
			case "[Match]MACAddress", "[Match]PermanentMACAddress", "[Match]Path", "[Match]SSID", "[Match]BSSID", "[Match]WLANInterfaceType":
				matches = false // A TAP of the switch has none that anybody could know.
			case "[Link]Unmanaged":
				managed = !slices.Contains([]string{"yes", "true", "1", "on"}, strings.ToLower(e.value))
			}
		}
		if !matches {
			continue
		}
		if managed {
			return file
		}
		return ""
	}
	return ""
}

// listed tells whether a pattern of a list in a [Match] section, which may be
// inverted as a whole, matches the word.
func listed(list, word string) bool {
	list, inverted := strings.CutPrefix(list, "!")
	matches := slices.ContainsFunc(strings.Fields(list), func(p string) bool { return glob(p, word) })
	return matches != inverted
}

func glob(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// entry is a line of an ini file; its key has the section in front.
type entry struct{ key, value string }

func entries(text string) []entry {
	var out []entry
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			section = line
		case ok:
			out = append(out, entry{section + strings.TrimSpace(key), strings.TrimSpace(value)})
		}
	}
	return out
}
