package config

import (
	"fmt"

	"github.com/goccy/go-yaml/token"
)

// Limits of what is given to the YAML parser. It recurses into nested lists
// and takes a time that grows with the square of the tokens or of a mapping's
// keys, so the file's size alone bounds neither its stack nor its time.
const (
	maxTokens  = 300_000 // a port takes about a hundred
	maxNesting = 16      // brackets in brackets, or list entries begun in one line; a configuration nests 4 deep
	maxUnknown = 64      // keys that no part of a configuration has
)

// guard looks at the tokens of a file before the parser does.
type guard struct {
	tokens, brackets, unknown int
	line, openings            int  // the present line and the list entries begun in it
	content, ended            bool // a document has begun; it has ended
}

// next takes a token and says why the file must not go on to the parser, if
// there is a reason.
func (g *guard) next(t *token.Token) (msg, fix string) {
	g.tokens++
	if t.Position.Line != g.line {
		g.line, g.openings = t.Position.Line, 0
	}
	switch t.Type {
	case token.CommentType:
		return "", ""
	case token.DocumentHeaderType, token.DocumentEndType:
		g.ended = g.content
		return "", ""
	case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
		return "anchors, aliases, merges, tags and directives of YAML have no place in a configuration", "write the value itself"
	case token.SequenceStartType, token.MappingStartType:
		g.brackets++
	case token.SequenceEndType, token.MappingEndType:
		g.brackets--
	case token.SequenceEntryType, token.MappingKeyType:
		g.openings++
	case token.MappingValueType:
		if t.Prev != nil && !known(t.Prev.Value) {
			g.unknown++
		}
	}
	g.content = true
	return g.exceeded()
}

func (g *guard) exceeded() (msg, fix string) {
	switch {
	case g.ended:
		return "a second YAML document begins here", "write one configuration in one file"
	case g.brackets > maxNesting || g.openings > maxNesting:
		return "this nests deeper than any part of a configuration", "write the lists and mappings side by side"
	case g.unknown > maxUnknown:
		return fmt.Sprintf("more than %d keys up to here are not those of a configuration", maxUnknown), "look whether this is the right file"
	case g.tokens > maxTokens:
		return fmt.Sprintf("the file has more than %d words and signs", maxTokens), "write VLANs as ranges such as 20-29, or look whether this is the right file"
	}
	return "", ""
}

// known reports whether any part of a configuration has the key.
func known(key string) bool {
	for t := range keysOf {
		if indexOf(t, key) >= 0 {
			return true
		}
	}
	return false
}
