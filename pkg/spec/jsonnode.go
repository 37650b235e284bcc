package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// jsonReader turns one JSON value into nodes, with lines.
type jsonReader struct {
	dec   *json.Decoder
	data  []byte
	nodes int
	// line is that of data[seen]; both only go forward.
	line, seen int
}

func readJSON(data []byte) (*node, *Error) {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err != nil {
		return nil, err
	}
	if _, more := r.dec.Token(); !errors.Is(more, io.EOF) {
		return nil, r.refuse("something follows the JSON value")
	}
	return n, nil
}

// here gives the line on which the last token ended.
func (r *jsonReader) here() int {
	if off := int(r.dec.InputOffset()); off > r.seen {
		r.line += bytes.Count(r.data[r.seen:off], []byte{'\n'})
		r.seen = off
	}
	return r.line
}

func (r *jsonReader) token() (json.Token, *Error) {
	t, err := r.dec.Token()
	if err == nil {
		return t, nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, r.refuse("not valid JSON: it ends too early")
	}
	return nil, r.refuse("not valid JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func (r *jsonReader) value(depth int) (*node, *Error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	return r.valueOf(t, depth)
}

func (r *jsonReader) valueOf(t json.Token, depth int) (*node, *Error) {
	r.nodes++
	if depth > maxDepth {
		return nil, r.refuse("nested deeper than %d levels", maxDepth)
	}
	if most := min(maxNodes, leastNodes+len(r.data)/bytesPerNode); r.nodes > most {
		return nil, r.refuse("more than %d values in %d bytes", most, len(r.data))
	}
	n := &node{line: r.here()}
	switch t := t.(type) {
	case nil:
		n.shape = shapeNull
	case string:
		n.shape, n.text = shapeString, t
	case bool:
		n.shape, n.text = shapeBool, fmt.Sprint(t)
	case json.Number:
		n.shape, n.text = shapeInt, t.String()
		if strings.ContainsAny(n.text, ".eE") {
			n.shape = shapeFloat
		}
	case json.Delim:
		if t == '[' {
			return r.list(n, depth)
		}
		return r.mapping(n, depth)
	}
	return n, nil
}

func (r *jsonReader) list(n *node, depth int) (*node, *Error) {
	n.shape = shapeList
	for {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		if t == json.Delim(']') {
			return n, nil
		}
		item, err := r.valueOf(t, depth+1)
		if err != nil {
			return nil, err
		}
		n.items = append(n.items, item)
	}
}

func (r *jsonReader) mapping(n *node, depth int) (*node, *Error) {
	n.shape = shapeMap
	for {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		if t == json.Delim('}') {
			return n, nil
		}
		key, line := t.(string), r.here() // the tokenizer lets only strings be keys
		value, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.keys = append(n.keys, entry{key: key, line: line, value: value})
	}
}

func (r *jsonReader) refuse(format string, args ...any) *Error {
	return &Error{Line: r.here(), Msg: fmt.Sprintf(format, args...)}
}
