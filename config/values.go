package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/vswitchd/vswitchd/frame"
)

// UnmarshalJSON reads a number from 0 to 255, true as 1 and false as 0. The
// error is a Problem without Path.
func (g *Group) UnmarshalJSON(raw []byte) error {
	switch string(raw) {
	case "true":
		*g = 1
		return nil
	case "false":
		*g = 0
		return nil
	}
	var n uint8
	if json.Unmarshal(raw, &n) != nil {
		return Problem{Msg: "is " + clip(raw), Fix: "write " + wantedGroup}
	}
	*g = Group(n)
	return nil
}

// elements returns the numbers and texts of a JSON list, or of a single one,
// as text. fix goes into the Problem that is the error.
func elements(raw []byte, fix string) ([]string, error) {
	list := []json.RawMessage{raw}
	if bytes.HasPrefix(raw, []byte("[")) {
		list = nil
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, Problem{Msg: "is " + clip(raw), Fix: fix}
		}
	}
	texts := make([]string, len(list))
	for i, e := range list {
		var n json.Number
		if json.Unmarshal(e, &texts[i]) == nil && string(e) != "null" {
			continue
		}
		if json.Unmarshal(e, &n) != nil || n == "" {
			return nil, Problem{Msg: "is " + clip(e), Fix: fix}
		}
		texts[i] = n.String()
	}
	return texts, nil
}

// clip shows a JSON value in a message.
func clip(raw []byte) string {
	const most = 40
	if s := strings.ToValidUTF8(string(raw), "?"); len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "…"
}

// set gives a field the value of a JSON text; null is the zero value, which
// stands for the default. The old value is replaced, never written into:
// copies of the configuration share what it refers to.
func set(field reflect.Value, raw []byte) error {
	fresh := reflect.New(field.Type())
	err := json.Unmarshal(raw, fresh.Interface())
	if p, ok := errors.AsType[Problem](err); ok {
		return p
	}
	// A zero VID in a field means that there is none, so none can be written.
	vid, ok := reflect.TypeAssert[frame.VID](fresh.Elem())
	if err != nil || ok && !vid.Valid() && string(raw) != "null" {
		return Problem{Msg: "is " + clip(raw), Fix: "write " + wanted(field.Type())}
	}
	field.Set(fresh.Elem())
	return nil
}

const (
	wantedVIDs     = "VLANs from 1 to 4094, such as [10, 20-29]"
	wantedReserved = "a list of stp, pause, lacp, eapol, lldp, or addresses from 01-80-c2-00-00-00 to -0f, or all"
	wantedGroup    = "true, false or a group from 0 to 255"
)

// wanted says what a field of the type can hold.
func wanted(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[frame.VID]():
		return "a VLAN from 1 to 4094"
	case reflect.TypeFor[frame.MAC]():
		return "a MAC address such as 02:00:5e:10:00:01"
	case reflect.TypeFor[VIDs]():
		return wantedVIDs
	case reflect.TypeFor[Reserved]():
		return wantedReserved
	case reflect.TypeFor[Group]():
		return wantedGroup
	case reflect.TypeFor[netip.Prefix]():
		return "an address with its prefix length, such as 192.0.2.1/24"
	case reflect.TypeFor[netip.Addr]():
		return "an address such as 192.0.2.1"
	case reflect.TypeFor[[]netip.Addr]():
		return "a list of addresses such as [192.0.2.1]"
	case reflect.TypeFor[[]netip.Prefix]():
		return "a list of addresses with their prefix length, such as [192.0.2.1/24]"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "its keys below it, such as " + keysOf[t][0] + ":"
	}
	return "a text"
}

// keysOf holds the JSON keys of the types that are mappings, in the order of
// their fields.
var keysOf = map[reflect.Type][]string{
	reflect.TypeFor[Config]():  jsonKeys(reflect.TypeFor[Config]()),
	reflect.TypeFor[FDB]():     jsonKeys(reflect.TypeFor[FDB]()),
	reflect.TypeFor[Control](): jsonKeys(reflect.TypeFor[Control]()),
	reflect.TypeFor[Metrics](): jsonKeys(reflect.TypeFor[Metrics]()),
	reflect.TypeFor[Port]():    jsonKeys(reflect.TypeFor[Port]()),

	reflect.TypeFor[AutoAttach](): jsonKeys(reflect.TypeFor[AutoAttach]()),
	reflect.TypeFor[Match]():      jsonKeys(reflect.TypeFor[Match]()),

	reflect.TypeFor[StaticEntry](): jsonKeys(reflect.TypeFor[StaticEntry]()),

	reflect.TypeFor[Lab]():    jsonKeys(reflect.TypeFor[Lab]()),
	reflect.TypeFor[Host]():   hostKeys(),
	reflect.TypeFor[Impair](): jsonKeys(reflect.TypeFor[Impair]()),
}

// isMappings reports whether a field of the type is a list of mappings.
func isMappings(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && keysOf[t.Elem()] != nil
}

func jsonKeys(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return keys
}

// indexOf returns the index of the field with a key, or -1.
func indexOf(t reflect.Type, key string) int { return slices.Index(keysOf[t], key) }

// unknownKey names a key that the type does not have.
func unknownKey(t reflect.Type, path, key string) Problem {
	p := Problem{Path: path, Msg: quote(key) + " is not a key that exists here"}
	p.Fix = "write one of " + strings.Join(keysOf[t], ", ")
	if near := Nearest(key, keysOf[t]); near != "" {
		p.Fix = "did you mean " + near + "?"
	}
	return p
}

// Nearest returns the first of the words that is most like word, or nothing if
// none is much like it.
func Nearest(word string, words []string) (nearest string) {
	best := max(1, len(word)/3)
	for _, w := range words {
		if d := distance(word, w); len(word) < 40 && d <= best {
			best, nearest = d-1, w
		}
	}
	return nearest
}

// distance is how many letters must be changed to make a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
