package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Marshal writes the configuration as a YAML file that Parse reads back into
// an equal one. Fields that are not set are left out.
func (c *Config) Marshal() ([]byte, error) {
	var b bytes.Buffer
	if err := writeMapping(&b, reflect.ValueOf(*c), ""); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return b.Bytes(), nil
}

func writeMapping(b *bytes.Buffer, v reflect.Value, indent string) error {
	for i, key := range keysOf[v.Type()] {
		field := v.Field(i)
		if field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0 {
			continue
		}
		b.WriteString(indent + key + ":")
		if err := writeField(b, field, indent+"  "); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func writeField(b *bytes.Buffer, field reflect.Value, indent string) error {
	if field.Kind() == reflect.Struct {
		b.WriteByte('\n')
		return writeMapping(b, field, indent)
	}
	if isMappings(field.Type()) {
		b.WriteByte('\n')
		for i := range field.Len() {
			start := b.Len()
			if err := writeMapping(b, field.Index(i), indent+"  "); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
			if b.Len() > start {
				b.Bytes()[start+len(indent)] = '-'
			}
		}
		return nil
	}
	if text, ok := scalar(field); ok {
		b.WriteString(" " + text + "\n")
		return nil
	}
	raw, err := json.Marshal(field.Interface())
	if err == nil {
		raw, err = flow(raw)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(b, " %s\n", raw)
	return nil
}

// scalar writes a text, number or truth that has no form of its own in JSON: most
// of what there is, so that the way by JSON would be the better part of a change.
func scalar(field reflect.Value) (written string, ok bool) {
	if field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.String:
		return text(field.String()), true
	case reflect.Bool:
		return strconv.FormatBool(field.Bool()), true
	case reflect.Int:
		return strconv.FormatInt(field.Int(), 10), true
	case reflect.Uint8, reflect.Uint16:
		if _, own := reflect.TypeAssert[json.Marshaler](field); !own {
			return strconv.FormatUint(field.Uint(), 10), true
		}
	}
	return "", false
}

// flow writes a scalar or a list, given in JSON, in one line.
func flow(raw []byte) ([]byte, error) {
	switch raw[0] {
	case '[':
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		var b bytes.Buffer
		for i, e := range list {
			if i > 0 {
				b.WriteString(", ")
			}
			item, err := flow(e)
			if err != nil {
				return nil, err
			}
			b.Write(item)
		}
		return fmt.Appendf(nil, "[%s]", b.Bytes()), nil
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return []byte(text(s)), err
	}
	return raw, nil
}

func text(s string) string {
	if isPlain(s) {
		return s
	}
	return string(jsonText(s))
}

// isPlain reports whether any reader of YAML takes the bare text for a text.
func isPlain(s string) bool {
	switch strings.ToLower(s) { // Some version of YAML takes these for something else.
	case "", "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity":
		return false
	}
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && c != '/' && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	if s[0] > '9' || s[0] == '/' {
		return true
	}
	_, notFloat := strconv.ParseFloat(s, 64)
	_, notInt := strconv.ParseInt(s, 0, 64)
	return notFloat != nil && notInt != nil
}
