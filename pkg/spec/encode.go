package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// envelope is the written form of a resource.
type envelope struct {
	Kind   Kind   `json:"kind" yaml:"kind"`
	Tenant string `json:"tenant" yaml:"tenant"`
	Name   string `json:"name" yaml:"name"`
	Spec   Spec   `json:"spec" yaml:"spec"`
}

// MarshalJSON gives {"kind", "tenant", "name", "spec"}: what was declared, without defaults and Origin.
// Equal resources give equal bytes.
func (r Resource) MarshalJSON() ([]byte, error) {
	return json.Marshal(envelope{r.Kind, r.Tenant, r.Name, r.Spec})
}

// EncodeYAML gives the resources as a YAML stream that Decode reads back to the same.
func EncodeYAML(resources []*Resource) ([]byte, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, r := range resources {
		var doc yaml.Node
		if err := doc.Encode(envelope{r.Kind, r.Tenant, r.Name, r.Spec}); err != nil {
			return nil, fmt.Errorf("%s: cannot be written as YAML: %w", r.Key, err)
		}
		quoteFragile(&doc)
		if err := enc.Encode(&doc); err != nil {
			return nil, fmt.Errorf("%s: cannot be written as YAML: %w", r.Key, err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// quoteFragile puts into double quotes the texts that yaml.v3 would write as a block which it does not
// read back alike: with white space at the edge of a line, or with characters that are not printable.
func quoteFragile(n *yaml.Node) {
	for _, c := range n.Content {
		quoteFragile(c)
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && fragile(n.Value) {
		n.Style = yaml.DoubleQuotedStyle
	}
}

func fragile(s string) bool {
	if strings.HasPrefix(s, "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") ||
		strings.Contains(s, " \n") || strings.Contains(s, "\t\n") {
		return true
	}
	return strings.ContainsFunc(s, func(c rune) bool {
		return c != '\n' && c != '\t' && (c < ' ' || c == 0x7F || (c >= 0x80 && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF)
	})
}
