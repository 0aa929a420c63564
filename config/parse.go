package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxFile is the largest configuration file, in bytes.
const MaxFile = 4 << 20

// Load reads and validates a configuration file; see Parse.
func Load(path string) (*Config, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Read reads a configuration file for Parse, as far as one may be long and one
// byte more.
func Read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return data, nil
}

// Parse reads a configuration in YAML strictly and validates it. The error
// has a line for each problem with name, line and column, and the line of the
// file below it.
func Parse(name string, data []byte) (*Config, error) {
	return parseAs(name, data, (*Config).Validate)
}

// parseAs is Parse for a type of file. The error of validate is Problems.
func parseAs[T any](name string, data []byte, validate func(*T) error) (file *T, err error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%s: the file is larger than %d bytes, the most that a configuration can have", name, MaxFile)
	}
	// What the YAML library makes of hostile input is not in our hands.
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("%s: the YAML reader broke down on this file (%v); look for odd punctuation in it", name, r)
		}
	}()

	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	r := reader{at: map[string]position{"": {1, 1}}}
	file = new(T)
	if tree := r.tree(data); tree != nil {
		r.value(tree, "", reflect.ValueOf(file).Elem())
	}
	if len(r.problems) == 0 {
		errors.As(validate(file), &r.problems)
	}
	if len(r.problems) > 0 {
		return nil, r.report(name, data)
	}
	return file, nil
}

// reader turns the tree of a YAML file into the type that has its keys, and
// remembers where in the file each value stands.
type reader struct {
	problems Problems
	at       map[string]position
}

// tree returns the file's one document, or nil if it is empty or has problems.
func (r *reader) tree(data []byte) ast.Node {
	if !utf8.Valid(data) {
		r.at[""] = firstInvalid(data)
		r.problems.add("", "the file is not UTF-8 here", "save it as UTF-8")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	var g guard
	for _, t := range tokens {
		if msg, fix := g.next(t); msg != "" {
			r.addAt(t, msg, fix)
			return nil
		}
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		r.addSyntax(err)
		return nil
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			return doc.Body
		}
	}
	return nil
}

// addSyntax adds an error of the YAML parser.
func (r *reader) addSyntax(err error) {
	var at *token.Token
	msg, fix := err.Error(), "look at the indentation and the punctuation here, and at the line before"
	if placed, ok := errors.AsType[yaml.Error](err); ok {
		at, msg = placed.GetToken(), placed.GetMessage()
	}
	if strings.Contains(msg, "already defined") {
		fix = "keep one of the two"
	}
	r.addAt(at, fmt.Sprintf("%.200s", strings.ReplaceAll(msg, "\t", "tab")), fix)
}

// value reads a node of the tree into a field.
func (r *reader) value(n ast.Node, path string, into reflect.Value) {
	_, null := n.(*ast.NullNode)
	_, mapping := keysOf[into.Type()]
	switch {
	case null:
		into.SetZero()
	case mapping:
		r.mapping(n, path, into)
	case isMappings(into.Type()):
		r.mappings(n, path, into)
	default:
		r.leaf(n, path, into)
	}
}

func (r *reader) mapping(n ast.Node, path string, into reflect.Value) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.problems.add(path, "is not a mapping", "write "+wanted(into.Type()))
		return
	}
	for _, pair := range m.Values {
		r.pair(pair, path, into)
	}
}

func (r *reader) pair(pair *ast.MappingValueNode, path string, into reflect.Value) {
	key := pair.Key.GetToken()
	child := key.Value
	if path != "" {
		child = path + "." + child
	}
	if indexOf(into.Type(), key.Value) < 0 {
		r.at[child] = positionOf(key)
		r.problems = append(r.problems, unknownKey(into.Type(), child, key.Value))
		return
	}
	r.at[child] = start(pair.Value)
	if _, null := pair.Value.(*ast.NullNode); null {
		r.at[child] = positionOf(key)
	}
	r.value(pair.Value, child, fieldOf(into, key.Value))
}

func (r *reader) mappings(n ast.Node, path string, into reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		what := "entry"
		if path == "ports" {
			what = "port"
		}
		r.problems.add(path, "is not a list", "write each "+what+" below it, with - in front")
		return
	}
	all := reflect.MakeSlice(into.Type(), len(list.Values), len(list.Values))
	for i, e := range list.Values {
		child := fmt.Sprintf("%s[%d]", path, i)
		r.at[child] = start(e)
		r.mapping(e, child, all.Index(i))
	}
	into.Set(all)
}

// leaf reads a scalar or a list of scalars, by way of JSON.
func (r *reader) leaf(n ast.Node, path string, into reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if t, isList := elementType(into.Type()); ok && isList {
		before := len(r.problems)
		for i, e := range list.Values {
			child := fmt.Sprintf("%s[%d]", path, i)
			r.at[child] = start(e)
			r.set(reflect.New(t).Elem(), child, e)
		}
		if len(r.problems) > before {
			return
		}
	}
	r.set(into, path, n)
}

// elementType says as what one element of a list can be read, so that an
// error names the element.
func elementType(t reflect.Type) (reflect.Type, bool) {
	if t == reflect.TypeFor[[]netip.Prefix]() || t == reflect.TypeFor[[]netip.Addr]() {
		return t.Elem(), true
	}
	return t, t == reflect.TypeFor[VIDs]() || t == reflect.TypeFor[Reserved]()
}

func (r *reader) set(into reflect.Value, path string, n ast.Node) {
	if err := set(into, jsonOf(n, into.Kind())); err != nil {
		p := err.(Problem)
		p.Path = path
		r.problems = append(r.problems, p)
	}
}
