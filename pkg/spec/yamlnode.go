package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlReader turns the documents of a YAML stream into nodes. Aliases are expanded within a budget.
type yamlReader struct {
	nodes      int
	aliasBytes int
	errs       *Errors
	file       string
}

// read gives the documents up to the first one that cannot be parsed; empty ones are left out.
func (y *yamlReader) read(data []byte) []*node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*node
	for {
		var doc yaml.Node
		err := decodeFenced(dec, &doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			y.errs.add(yamlSyntax(y.file, err))
			return docs
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
			continue
		}
		n, e := y.convert(doc.Content[0], 0, false)
		if e != nil {
			y.errs.add(e)
			continue
		}
		if n.shape != shapeNull {
			docs = append(docs, n)
		}
	}
}

// decodeFenced reads one document. yaml.v3 has paths that panic on odd input instead of giving an error;
// they must stay a fault of that input.
func decodeFenced(dec *yaml.Decoder, doc *yaml.Node) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: this cannot be parsed (%v)", p)
		}
	}()
	return dec.Decode(doc)
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// yamlSyntax splits "yaml: line 3: what" into its parts.
func yamlSyntax(file string, err error) *Error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{File: file, Msg: msg}
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Msg = msg[len(m[0]):]
	}
	e.Msg = "not valid YAML: " + e.Msg
	return e
}

func (y *yamlReader) convert(n *yaml.Node, depth int, inAlias bool) (*node, *Error) {
	y.nodes++
	if inAlias {
		y.aliasBytes += 16 + len(n.Value)
	}
	switch {
	case depth > maxDepth:
		return nil, y.refuse(n, "nested deeper than %d levels", maxDepth)
	case y.nodes > maxNodes:
		return nil, y.refuse(n, "more than %d values in one input", maxNodes)
	case y.aliasBytes > maxAliasBytes:
		return nil, y.refuse(n, "aliases (*name) repeat more than %d bytes", maxAliasBytes)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return y.convert(n.Alias, depth+1, true)
	case yaml.ScalarNode:
		return y.scalar(n)
	case yaml.SequenceNode:
		return y.list(n, depth, inAlias)
	case yaml.MappingNode:
		return y.mapping(n, depth, inAlias)
	}
	return nil, y.refuse(n, "not a YAML value")
}

func (y *yamlReader) scalar(n *yaml.Node) (*node, *Error) {
	out := &node{line: n.Line, text: n.Value}
	switch tag := n.ShortTag(); tag {
	case "!!str":
		out.shape = shapeString
	case "!!int":
		out.shape = shapeInt
	case "!!float":
		out.shape = shapeFloat
	case "!!bool":
		out.shape = shapeBool
	case "!!null":
		out.shape = shapeNull
	case "!!timestamp":
		out.shape = shapeTime
	case "!!merge":
		return nil, y.refuse(n, "merge keys (<<) are not supported")
	default:
		return nil, y.refuse(n, "the tag %s is not supported", shorten(tag))
	}
	return out, nil
}

func (y *yamlReader) list(n *yaml.Node, depth int, inAlias bool) (*node, *Error) {
	out := &node{shape: shapeList, line: n.Line}
	for _, c := range n.Content {
		item, err := y.convert(c, depth+1, inAlias)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, item)
	}
	return out, nil
}

func (y *yamlReader) mapping(n *yaml.Node, depth int, inAlias bool) (*node, *Error) {
	out := &node{shape: shapeMap, line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := y.convert(n.Content[i], depth+1, inAlias)
		if err != nil {
			return nil, err
		}
		if key.shape == shapeList || key.shape == shapeMap {
			return nil, y.refuse(n.Content[i], "a key must be a word")
		}
		value, err := y.convert(n.Content[i+1], depth+1, inAlias)
		if err != nil {
			return nil, err
		}
		out.keys = append(out.keys, entry{key: key.text, line: n.Content[i].Line, value: value})
	}
	return out, nil
}

func (y *yamlReader) refuse(n *yaml.Node, format string, args ...any) *Error {
	return &Error{File: y.file, Line: n.Line, Msg: fmt.Sprintf(format, args...)}
}
