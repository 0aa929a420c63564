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
		fmt.Fprintf(b, "%s%s:", indent, key)
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

var (
	plainText = regexp.MustCompile(`^[A-Za-z0-9/][A-Za-z0-9/._-]*$`)
	// yamlWords are the plain scalars that some version of YAML does not take
	// for a text.
	yamlWords = regexp.MustCompile(`(?i)^(true|false|yes|no|on|off|y|n|null|nan|inf)$`)
)

// isPlain reports whether any reader of YAML takes the bare text for a text.
func isPlain(s string) bool {
	_, notFloat := strconv.ParseFloat(s, 64)
	_, notInt := strconv.ParseInt(s, 0, 64)
	return plainText.MatchString(s) && !yamlWords.MatchString(s) && notFloat != nil && notInt != nil
}
