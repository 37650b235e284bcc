package described

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
)

// Policy is what a browser may load for the page: nothing, but the style that stands in it. It is the page's Content-Security-Policy.
const Policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// field is a line of a table: a parameter, or a field of a schema.
type field struct {
	Name, Where, Kind, Of, Doc string // Of: the schema that Kind names
	Required                   bool
}

// shown is an operation as the page shows it.
type shown struct {
	call
	Anchor                string
	Params                []field
	Body, Reply           field
	Stream, HasBody       bool
	Example, ReplyExample string
}

type shownSchema struct {
	Name, Doc string
	Fields    []field
}

// Page makes an HTML page of an OpenAPI document. It has no scripts, and loads nothing.
func Page(openAPI []byte) ([]byte, error) {
	d, err := read(openAPI)
	if err != nil {
		return nil, err
	}
	var data struct {
		Title, Version string
		Groups         []string
		Calls          map[string][]shown // by group
		Schemas        []shownSchema
	}
	data.Title, data.Version, data.Calls = d.Info.Title, d.Info.Version, map[string][]shown{}
	for _, c := range d.calls() {
		group := groupOf(c.Path)
		data.Calls[group] = append(data.Calls[group], d.shown(c))
	}
	data.Groups = slices.Sorted(maps.Keys(data.Calls))
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		data.Schemas = append(data.Schemas, shownSchema{Name: name, Doc: s.Description, Fields: d.fields(s)})
	}
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("the page of the API cannot be made: %w", err)
	}
	return b.Bytes(), nil
}

// groupOf is what stands behind the version in a path.
func groupOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	return parts[min(1, len(parts)-1)]
}

func (d *document) shown(c call) shown {
	s := shown{call: c, Anchor: c.OperationID}
	for _, p := range c.Parameters {
		f := d.field(p.Name, p.Schema)
		f.Where, f.Required = p.In, p.Required
		if p.Description != "" {
			f.Doc = p.Description
		}
		s.Params = append(s.Params, f)
	}
	if c.RequestBody != nil {
		for _, content := range c.RequestBody.Content {
			s.HasBody, s.Body, s.Example = true, d.field("", content.Schema), indented(content.Example)
		}
	}
	for _, code := range []string{"200", "202", "204"} {
		r := c.Responses[code]
		if r == nil {
			continue
		}
		for media, content := range r.Content {
			s.Stream = media == "text/event-stream"
			s.Reply, s.ReplyExample = d.field("", content.Schema), indented(content.Example)
		}
		break
	}
	return s
}

func indented(example json.RawMessage) string {
	var b bytes.Buffer
	if len(example) == 0 || json.Indent(&b, example, "", "  ") != nil {
		return ""
	}
	return b.String()
}

// fields lists what a schema has.
func (d *document) fields(s *schema) []field {
	var all []field
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f := d.field(name, s.Properties[name])
		f.Required = slices.Contains(s.Required, name)
		all = append(all, f)
	}
	return all
}

// field says of what kind something is, in a few words.
func (d *document) field(name string, s *schema) field {
	f := field{Name: name}
	if s == nil {
		return f
	}
	f.Doc = s.Description
	_, of := d.follow(s)
	switch {
	case of != "":
		f.Kind, f.Of = of, of
	case s.Items != nil:
		of := d.field("", s.Items)
		f.Kind, f.Of = "list of "+of.Kind, of.Of
	case s.AdditionalProperties.schema != nil:
		of := d.field("", s.AdditionalProperties.schema)
		f.Kind, f.Of = "mapping to "+of.Kind, of.Of
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = strings.Trim(string(v), `"`)
		}
		f.Kind = strings.Join(values, ", ")
	case s.Format == "date-time":
		f.Kind = "time (RFC 3339)"
	default:
		if f.Kind = s.Type.text(); f.Kind == "" {
			f.Kind = "any"
		}
	}
	return f
}
