package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/vswitchd/vswitchd/frame"
)

// fields are the keys that a JSON object may have, each with a pointer to where
// its value goes.
type fields map[string]any

// objectOf takes a JSON object apart: one that is alone, with no key twice and
// no null, which could be taken for anything.
func objectOf(body []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if begin, err := d.Token(); err != nil || begin != json.Delim('{') {
		return nil, invalid("the body is not a JSON object")
	}
	object := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		if err != nil {
			return nil, invalid("the body is not a JSON object: %v", err)
		}
		name := key.(string)
		if _, twice := object[name]; twice {
			return nil, invalid("%.40q: the key stands twice; write it once", name)
		}
		if string(value) == "null" {
			return nil, invalid("%.40q: is null; leave the key out", name)
		}
		object[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, invalid("the body is not a JSON object: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid("the body has more than one JSON object")
	}
	return object, nil
}

// decode reads a JSON object strictly. A key that is absent leaves its variable
// alone.
func decode(body []byte, into fields) error {
	object, err := objectOf(body)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		to, known := into[key]
		if !known {
			e := invalid("%.40q: there is no such key", key)
			e.Fix = "the keys are " + strings.Join(slices.Sorted(maps.Keys(into)), ", ")
			return e
		}
		err := json.Unmarshal(object[key], to)
		if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) {
			return invalid("%s: a %s is of the wrong type or out of range", key, t.Value)
		}
		if err != nil {
			return invalid("%s: %v", key, err)
		}
	}
	return nil
}

// strict refuses a request with a parameter that is not allowed, empty or there
// twice, or with a body where none is read.
func strict(r *http.Request, body []byte, allowed []string) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid("the query is broken: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch v := values[name]; {
		case !slices.Contains(allowed, name):
			e := invalid("%.40q: there is no such parameter", name)
			e.Fix = "leave the query out"
			if len(allowed) > 0 {
				e.Fix = "the parameters are " + strings.Join(allowed, ", ")
			}
			return e
		case len(v) > 1:
			return invalid("%s: the parameter is given twice", name)
		case v[0] == "":
			return invalid("%s: the parameter is empty; leave it out", name)
		}
	}
	if len(body) > 0 && r.Method != http.MethodPost && r.Method != http.MethodPatch {
		return invalid("%s takes no body; leave it out", r.Method)
	}
	return nil
}

// vlanParameter returns nil if the parameter is absent.
func vlanParameter(text string) (*frame.VID, error) {
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if v := frame.VID(n); err == nil && v.Valid() {
		return &v, nil
	}
	return nil, notAVLAN(text)
}

func notAVLAN(text string) error {
	return invalid("vlan: %.40q is not a VLAN from %d to %d", text, frame.VIDMin, frame.VIDMax)
}

// macParameter returns nil if the parameter is absent.
func macParameter(text string) (*frame.MAC, error) {
	if text == "" {
		return nil, nil
	}
	m, err := frame.ParseMAC(text)
	if err != nil {
		return nil, invalid("mac: %v", err)
	}
	return &m, nil
}
