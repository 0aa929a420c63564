package config

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Diff lists what makes b of a, one key a line and in the order of the keys:
// "- ports[web].mtu: 1400" is in a only, "+ ports[web].mtu: 9000" in b only.
// Ports are known by name and static entries by VLAN and address, so that their
// order does not matter; rules of auto_attach are known by their place. Ephemeral
// ports, which come and go by themselves, are left out. Both must be valid.
func Diff(a, b *Config) []string {
	was, is := a.lines(), b.lines()
	type change struct{ path, text string }
	var changes []change
	for path, v := range was {
		if now, ok := is[path]; !ok || now != v {
			changes = append(changes, change{path, "- " + path + ": " + v})
		}
	}
	for path, v := range is {
		if before, ok := was[path]; !ok || before != v {
			changes = append(changes, change{path, "+ " + path + ": " + v})
		}
	}
	slices.SortFunc(changes, func(x, y change) int {
		return cmp.Or(strings.Compare(x.path, y.path), strings.Compare(y.text, x.text)) // '-' sorts behind '+'
	})
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.text
	}
	return texts
}

// lines returns the keys that are set, with their values as Marshal writes them.
func (c *Config) lines() map[string]string {
	lines := map[string]string{}
	collect(lines, "", reflect.ValueOf(*c.WithoutEphemeral()))
	return lines
}

func collect(lines map[string]string, path string, v reflect.Value) {
	for i, key := range keysOf[v.Type()] {
		field, at := v.Field(i), path+key
		switch {
		case field.IsZero():
		case field.Kind() == reflect.Struct:
			collect(lines, at+".", field)
		case isMappings(field.Type()):
			for j := range field.Len() {
				e := field.Index(j)
				collect(lines, fmt.Sprintf("%s[%s].", at, cmp.Or(nameOf(e.Interface()), strconv.Itoa(j))), e)
			}
		default:
			var b bytes.Buffer
			// A value that cannot be written is in no valid configuration.
			_ = writeField(&b, field, "")
			lines[at] = strings.TrimSpace(b.String())
		}
	}
}

// nameOf says which element of a list it is, or nothing where its place does.
func nameOf(element any) string {
	switch e := element.(type) {
	case Port:
		return e.Name
	case StaticEntry:
		return strings.TrimPrefix(fmt.Sprintf("%d %v", e.VLAN, e.MAC), "0 ")
	}
	return ""
}
