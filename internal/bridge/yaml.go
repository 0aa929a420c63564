package bridge

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/vswitchd/vswitchd/config"
)

// YAML writes the configuration as a file, in which the notes and what is left
// out are comments at their places.
func (i *Import) YAML() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The Linux bridge %[1]s for vswitchd. Comments say what is different here.\n# Delete the bridge before vswitchd starts, which takes its TAPs and its name: ip link delete %[1]s\n", shown(i.Bridge))
	i.writeNotes(&b, "", "")
	rest := i.Config
	rest.Ports = nil
	if err := write(&b, &rest, "", ""); err != nil {
		return nil, err
	}
	if len(i.LeftOut.Static) > 0 {
		// The key static: is there only if some entry is.
		above, indent := "fdb:\n  static:\n", "    "
		if len(rest.FDB.Static) == 0 {
			above, indent = "fdb:\n", "  "
		}
		if err := write(&b, &config.Config{FDB: config.FDB{Static: i.LeftOut.Static}}, above, indent+"# "); err != nil {
			return nil, err
		}
	}
	b.WriteString("ports:\n")
	for _, list := range []struct {
		ports   []config.Port
		comment string
	}{{i.Config.Ports, ""}, {i.LeftOut.Ports, "  # "}} {
		for _, p := range list.ports {
			i.writeNotes(&b, p.Name, "  ")
			if err := write(&b, &config.Config{Ports: []config.Port{p}}, "ports:\n", list.comment); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), nil
}

// writeNotes writes those on a port. Some have several lines.
func (i *Import) writeNotes(b *bytes.Buffer, port, indent string) {
	for _, n := range i.Notes {
		if n.Port == port {
			fmt.Fprintf(b, "%s# %s\n", indent, strings.ReplaceAll(n.Text, "\n", "\n"+indent+"# "))
		}
	}
}

// write writes c without the lines above. A comment, which is an indentation
// and "# ", stands in front of what is behind that indentation in each line.
func write(b *bytes.Buffer, c *config.Config, above, comment string) error {
	text, err := c.Marshal()
	if err != nil {
		return err
	}
	indent := strings.TrimSuffix(comment, "# ")
	for line := range strings.Lines(strings.TrimPrefix(string(text), above)) {
		b.WriteString(comment)
		b.WriteString(strings.TrimPrefix(line, indent))
	}
	return nil
}
