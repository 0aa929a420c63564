package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
)

// DecodePort reads a port from a JSON object, strictly: a key that does not
// exist or stands twice, or a value of another type, is an error. null is the
// default. The error is Problems; the port is not validated.
func DecodePort(data []byte) (Port, error) {
	var p Port
	_, problems := decodeObject(data, reflect.ValueOf(&p).Elem())
	return p, problems.err()
}

// Patched returns the port with the keys of a JSON object changed, read as
// strictly as by DecodePort; null gives a key its default again. Name and kind
// cannot change. VLANs come in three forms: access; trunk and native; pvid,
// tagged and untagged. Setting a key of another form than the port's first
// clears all VLAN keys of the port, frame_types and ingress_filtering too.
// The error is Problems; the port is not validated. p itself does not change.
func (p Port) Patched(data []byte) (Port, error) {
	var patch Port
	keys, problems := decodeObject(data, reflect.ValueOf(&patch).Elem())
	if len(problems) > 0 {
		return Port{}, problems
	}
	if slices.Contains(keys, "name") && patch.Name != p.Name {
		problems.add("name", "the name of a port cannot change", fmt.Sprintf("leave it out, or delete port %s and add another", p.Name))
	}
	if slices.Contains(keys, "kind") && patch.Resolved().Kind != p.Resolved().Kind {
		problems.add("kind", "the kind of a port cannot change", fmt.Sprintf("leave it out, or delete port %s and add another", p.Name))
	}
	if len(problems) > 0 {
		return Port{}, problems
	}

	if have, want := p.forms(), patch.forms(); have != 0 && want&^have != 0 {
		p.clearVLANs()
	}
	from, to := reflect.ValueOf(patch), reflect.ValueOf(&p).Elem()
	for _, key := range keys {
		i := indexOf(to.Type(), key)
		to.Field(i).Set(from.Field(i))
	}
	return p, nil
}

// forms returns which of the vlanForms the port uses, as a set of bits.
func (p Port) forms() (forms uint) {
	for i, keys := range vlanForms {
		if p.firstKey(keys...) != "" {
			forms |= 1 << i
		}
	}
	return forms
}

func (p *Port) clearVLANs() {
	p.Access, p.Trunk, p.Native = 0, nil, 0
	p.PVID, p.Tagged, p.Untagged = 0, nil, nil
	p.FrameTypes, p.IngressFiltering = "", nil
}

// decodeObject reads one JSON object into a struct and returns the keys that
// it has.
func decodeObject(data []byte, into reflect.Value) (keys []string, problems Problems) {
	dec := json.NewDecoder(bytes.NewReader(data))
	broken := func(msg string) ([]string, Problems) {
		problems.add("", fmt.Sprintf("%s at byte %d", msg, dec.InputOffset()), "send one JSON object")
		return nil, problems
	}
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return broken("this is not a JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return broken("the JSON is broken")
		}
		at := dec.InputOffset()
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return broken("the JSON is broken")
		}
		i := indexOf(into.Type(), key)
		if i < 0 {
			p := unknownKey(into.Type(), key, key)
			p.Msg += fmt.Sprintf(" (before byte %d)", at)
			problems = append(problems, p)
			continue
		}
		if slices.Contains(keys, key) {
			problems.add(key, fmt.Sprintf("the key stands twice (before byte %d)", at), "write it once")
			continue
		}
		keys = append(keys, key)
		if err := set(into.Field(i), raw); err != nil {
			p := err.(Problem)
			p.Path, p.Msg = key, p.Msg+fmt.Sprintf(" (after byte %d)", at)
			problems = append(problems, p)
		}
	}
	if _, err := dec.Token(); err != nil {
		return broken("the JSON is broken")
	}
	if _, err := dec.Token(); err != io.EOF {
		return broken("something follows the JSON object")
	}
	return keys, problems
}
