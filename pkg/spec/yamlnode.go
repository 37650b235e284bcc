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
	nodes    int
	refBytes int
	errs     *Errors
	file     string
	above    int // lines that stand before what is read
}

// read gives the documents; empty ones are left out. Where one cannot be parsed, those behind it are read all the same.
func (y *yamlReader) read(data []byte) []*node {
	before := len(*y.errs)
	docs, ok := y.stream(data)
	if ok {
		return docs
	}
	parts := cutDocuments(data)
	if len(parts) == 1 {
		return docs
	}
	*y.errs, y.nodes, y.refBytes, docs = (*y.errs)[:before], 0, 0, nil
	for _, part := range parts {
		if y.errs.Full() {
			break
		}
		more, _ := y.stream(part)
		docs = append(docs, more...)
		y.above += bytes.Count(part, []byte{'\n'})
	}
	return docs
}

// stream reads documents until one cannot be parsed.
func (y *yamlReader) stream(data []byte) (docs []*node, ok bool) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := decodeFenced(dec, &doc)
		if errors.Is(err, io.EOF) {
			return docs, true
		}
		if err != nil {
			e := yamlSyntax(y.file, err)
			if e.Line > 0 {
				e.Line += y.above
			}
			y.errs.add(e)
			return docs, false
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

// cutDocuments cuts a stream before the lines that begin a document (---), wherever they stand: no text can have one.
func cutDocuments(data []byte) (parts [][]byte) {
	begin, begun := 0, false // the part that is gathered, and whether it has more than directives and comments
	for at := 0; at < len(data); {
		line, _, _ := bytes.Cut(data[at:], []byte{'\n'})
		marker := bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r"), line[3]) >= 0)
		if marker && begun {
			parts, begin = append(parts, data[begin:at]), at
		}
		bare := bytes.TrimSpace(line)
		begun = begun || marker || len(bare) > 0 && bare[0] != '#' && line[0] != '%'
		at = min(len(data), at+len(line)+1)
	}
	return append(parts, data[begin:])
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

func (y *yamlReader) convert(n *yaml.Node, depth int, inRef bool) (*node, *Error) {
	y.nodes++
	if inRef {
		y.refBytes += 16 + len(n.Value)
	}
	switch {
	case depth > maxDepth:
		return nil, y.refuse(n, "nested deeper than %d levels", maxDepth)
	case y.nodes > maxNodes:
		return nil, y.refuse(n, "more than %d values in one input", maxNodes)
	case y.refBytes > maxRefBytes:
		return nil, y.refuse(n, "aliases (*name) repeat more than %d bytes", maxRefBytes)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return y.convert(n.Alias, depth+1, true)
	case yaml.ScalarNode:
		return y.scalar(n)
	case yaml.SequenceNode:
		return y.list(n, depth, inRef)
	case yaml.MappingNode:
		return y.mapping(n, depth, inRef)
	}
	return nil, y.refuse(n, "not a YAML value")
}

func (y *yamlReader) scalar(n *yaml.Node) (*node, *Error) {
	out := &node{line: y.above + n.Line, text: n.Value, block: n.Style&yaml.LiteralStyle != 0}
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

func (y *yamlReader) list(n *yaml.Node, depth int, inRef bool) (*node, *Error) {
	out := &node{shape: shapeList, line: y.above + n.Line}
	for _, c := range n.Content {
		item, err := y.convert(c, depth+1, inRef)
		if err != nil {
			return nil, err
		}
		out.items = append(out.items, item)
	}
	return out, nil
}

func (y *yamlReader) mapping(n *yaml.Node, depth int, inRef bool) (*node, *Error) {
	out := &node{shape: shapeMap, line: y.above + n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := y.convert(n.Content[i], depth+1, inRef)
		if err != nil {
			return nil, err
		}
		if key.shape == shapeList || key.shape == shapeMap {
			return nil, y.refuse(n.Content[i], "a key must be a word")
		}
		value, err := y.convert(n.Content[i+1], depth+1, inRef)
		if err != nil {
			return nil, err
		}
		out.keys = append(out.keys, entry{key: key.text, line: y.above + n.Content[i].Line, value: value})
	}
	return out, nil
}

func (y *yamlReader) refuse(n *yaml.Node, format string, args ...any) *Error {
	return &Error{File: y.file, Line: y.above + n.Line, Msg: fmt.Sprintf(format, args...)}
}
