package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
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
	if err != nil {
		return err
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil {
		return err
	}
	fmt.Fprintf(b, " %s\n", flow(value))
	return nil
}

// scalar writes a text, number or truth that has no form of its own in JSON: most
// of what there is, so that the way by JSON would be the better part of a change.
func scalar(field reflect.Value) (text string, ok bool) {
	if field.Kind() == reflect.Pointer {
		field = field.Elem()
	}
	switch field.Kind() {
	case reflect.String:
		return flow(field.String()), true
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

// flow writes a scalar or a list in one line.
func flow(value any) string {
	switch v := value.(type) {
	case []any:
		list := make([]string, len(v))
		for i, e := range v {
			list[i] = flow(e)
		}
		return "[" + strings.Join(list, ", ") + "]"
	case string:
		if isPlain(v) {
			return v
		}
		return string(jsonText(v))
	}
	return fmt.Sprint(value)
}

var plainText = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._-]*$`)

// isPlain reports whether any reader of YAML takes the bare text for a text.
func isPlain(s string) bool {
	switch strings.ToLower(s) { // Some version of YAML takes these for something else.
	case "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf":
		return false
	}
	_, notFloat := strconv.ParseFloat(s, 64)
	_, notInt := strconv.ParseInt(s, 0, 64)
	return plainText.MatchString(s) && notFloat != nil && notInt != nil
}
