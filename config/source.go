package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// jsonOf writes a scalar or a list as JSON, for a field of the given kind.
// Only what JSON takes for a number is one: 010, 0x1f and 1_000 are texts.
func jsonOf(n ast.Node, into reflect.Kind) []byte {
	switch n := n.(type) {
	case *ast.NullNode:
		return []byte("null")
	case *ast.BoolNode:
		return fmt.Append(nil, n.Value)
	case *ast.StringNode:
		return jsonText(n.Value)
	case *ast.LiteralNode:
		return jsonText(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode:
		if text := []byte(n.GetToken().Value); into != reflect.String && json.Valid(text) {
			return text
		}
	case *ast.MappingNode:
		// Not JSON, so that it is refused whatever the field.
		return []byte("a mapping")
	case *ast.SequenceNode:
		list := make([][]byte, len(n.Values))
		for i, e := range n.Values {
			list[i] = jsonOf(e, into)
		}
		return slices.Concat([]byte("["), bytes.Join(list, []byte(",")), []byte("]"))
	}
	return jsonText(n.GetToken().Value)
}

// jsonText does not escape <, > and &: the text can turn up in a message.
func jsonText(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// A text can always be encoded, and into a buffer always be written.
	_ = enc.Encode(s)
	return bytes.TrimSpace(b.Bytes())
}

// position is a place in the file; line and column, in characters, begin at 1.
type position struct{ line, col int }

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// start returns where a node begins. The token of a block mapping is the
// first colon in it.
func start(n ast.Node) position {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return positionOf(m.Values[0].Key.GetToken())
	}
	return positionOf(n.GetToken())
}

// firstInvalid returns where the data stop to be UTF-8.
func firstInvalid(data []byte) position {
	at := position{1, 1}
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		if c == utf8.RuneError && n == 1 {
			break
		}
		at.col++
		if c == '\n' {
			at = position{at.line + 1, 1}
		}
		data = data[n:]
	}
	return at
}

// addAt adds a problem that stands at a token and not at a path.
func (r *reader) addAt(t *token.Token, msg, fix string) {
	r.at[""] = positionOf(t)
	r.problems.add("", msg, fix)
}

// find returns the place of a path, or of the closest thing around it.
func (r *reader) find(path string) position {
	for {
		if at, ok := r.at[path]; ok {
			return at
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// maxReported is how many problems the error of one file shows.
const maxReported = 20

// report makes the error that Parse returns.
func (r *reader) report(name string, data []byte) error {
	slices.SortStableFunc(r.problems, func(p, q Problem) int {
		a, b := r.find(p.Path), r.find(q.Path)
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.col, b.col))
	})
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data)), "\n")
	var texts []string
	for i, p := range r.problems {
		if i == maxReported {
			texts = append(texts, fmt.Sprintf("%s: and %d more problems", name, len(r.problems)-i))
			break
		}
		at := r.find(p.Path)
		text := fmt.Sprintf("%s:%d:%d: %s", name, at.line, at.col, p.Error())
		if at.line <= len(lines) {
			text += excerpt(lines[at.line-1], at)
		}
		texts = append(texts, text)
	}
	return errors.New(strings.Join(texts, "\n"))
}

// excerpt shows a line of the file with a caret below the column, in the
// window of it that fits a terminal.
func excerpt(line string, at position) string {
	const width = 100
	chars := []rune(line)
	from := 0
	if at.col > width*3/4 {
		from = min(at.col-width/2, len(chars))
	}
	chars = chars[from:min(len(chars), from+width)]
	for i, c := range chars {
		if !unicode.IsPrint(c) {
			chars[i] = ' '
		}
	}
	return fmt.Sprintf("\n%6d | %s\n%s^", at.line, string(chars), strings.Repeat(" ", 9+at.col-from-1))
}
