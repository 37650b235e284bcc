package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// envelope is the written form of a resource.
type envelope struct {
	Kind   Kind   `json:"kind"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Spec   Spec   `json:"spec"`
}

// MarshalJSON gives {"kind", "tenant", "name", "spec"}: what was declared, without defaults, Generation and Origin, and with what is
// Unknown. Equal resources give equal bytes.
func (r Resource) MarshalJSON() ([]byte, error) {
	if r.Unknown != nil {
		n, err := r.whole()
		if err != nil {
			return nil, err
		}
		return n.appendJSON(nil), nil
	}
	return json.Marshal(envelope{r.Kind, r.Tenant, r.Name, r.Spec})
}

// EncodeYAML gives the resources as a YAML stream that Decode reads back to the same. Those that have a Generation say so.
func EncodeYAML(resources []*Resource) ([]byte, error) {
	if len(resources) == 0 {
		return nil, nil // the encoder would fail on no document
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, r := range resources {
		data, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("%s: cannot be written: %w", r.Key, err)
		}
		n, fault := readJSON(data)
		if fault != nil {
			return nil, fmt.Errorf("%s: cannot be written: %w", r.Key, fault)
		}
		if r.Generation != 0 {
			at := min(len(n.keys), 3) // behind kind, tenant and name
			n.keys = slices.Insert(n.keys, at,
				entry{key: "generation", value: &node{shape: shapeInt, text: strconv.FormatUint(r.Generation, 10)}})
		}
		if err := enc.Encode(yamlOf(n)); err != nil {
			return nil, fmt.Errorf("%s: cannot be written as YAML: %w", r.Key, err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// yamlOf makes the YAML of a value. The nodes are made here rather than by yaml.v3 from the structs, since
// its own way writes and reads blocks of text on the way and loses white space in them.
func yamlOf(n *node) *yaml.Node {
	switch n.shape {
	case shapeMap:
		out := &yaml.Node{Kind: yaml.MappingNode}
		for _, e := range n.keys {
			out.Content = append(out.Content, yamlText(e.key), yamlOf(e.value))
		}
		return out
	case shapeList:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		width := 0
		for _, item := range n.items {
			out.Content = append(out.Content, yamlOf(item))
			width += len(item.text) + 2
			if item.shape == shapeList || item.shape == shapeMap {
				width = maxFlow + 1
			}
		}
		if width <= maxFlow {
			out.Style = yaml.FlowStyle
		}
		return out
	case shapeString:
		return yamlText(n.text)
	case shapeNull:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
}

// maxFlow is how wide a list may be that is written on one line.
const maxFlow = 80

func yamlText(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	switch {
	case fragile(s):
		n.Style = yaml.DoubleQuotedStyle
	case strings.Contains(s, "\n"):
		n.Style = yaml.LiteralStyle
	}
	return n
}

// fragile tells of a text that yaml.v3 would write as a block, and not read back alike: with white space at
// the edge of a line, or with characters that are not printable.
func fragile(s string) bool {
	if strings.HasPrefix(s, "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") ||
		strings.Contains(s, " \n") || strings.Contains(s, "\t\n") {
		return true
	}
	return strings.ContainsFunc(s, func(c rune) bool {
		return c != '\n' && c != '\t' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}
