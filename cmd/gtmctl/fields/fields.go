package fields

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gti/gtm/docs"
	"github.com/gti/gtm/pkg/spec"
)

// Field is what is known of a field of a resource, or of a kind as a whole.
type Field struct {
	Path    string `json:"path"`
	Type    string `json:"type,omitempty"`
	Meaning string `json:"meaning,omitempty"`
	Default string `json:"default,omitempty"`
	Limits  string `json:"limits,omitempty"`
	// With is the field above it with which it is told, where the page has no words for it alone.
	With    string  `json:"with,omitempty"`
	Fields  []Field `json:"fields,omitempty"`  // what it has
	Example string  `json:"example,omitempty"` // of a kind
}

var page = sync.OnceValue(func() map[string]*section { return read(docs.Resources) })

// UnknownError: there is no such field.
type UnknownError struct {
	Path, Field string
	Near        string // empty: none is like it
}

func (e *UnknownError) Error() string {
	text := fmt.Sprintf("%s has no field %s", e.Path, e.Field)
	if e.Near != "" {
		return text + "; did you mean " + e.Near + "?"
	}
	return text
}

// Explain tells of a kind, or of the field of its spec that a path leads to, as in rules, when; what it has stands in it, one level deep.
// The spec itself can be named, and indices left out.
func Explain(kind spec.Kind, path []string) (*Field, error) {
	s := page()[string(kind)]
	if len(path) > 0 && path[0] == "spec" {
		path = path[1:]
	}
	at := place{kind: kind, section: s, typ: reflect.TypeOf(spec.New(kind)).Elem()}
	f := &Field{Path: string(kind), Example: strings.TrimSpace(s.example)}
	for _, name := range path {
		name, _, _ = strings.Cut(name, "[")
		next, ok := at.enter(name)
		if !ok {
			return nil, &UnknownError{at.String(), name, spec.Closest(name, at.names())}
		}
		f, at = at.field(name), next
	}
	for _, name := range at.names() {
		f.Fields = append(f.Fields, *at.field(name))
	}
	return f, nil
}

// Names gives what can come next on a path, as Explain takes it.
func Names(kind spec.Kind, path []string) []string {
	f, err := Explain(kind, path)
	if err != nil {
		return nil
	}
	names := make([]string, len(f.Fields))
	for i := range f.Fields {
		names[i] = f.Fields[i].Path
	}
	return names
}

// place is a type at the end of a path from a spec.
type place struct {
	kind    spec.Kind
	section *section
	path    []string
	typ     reflect.Type // a struct, or what has no fields
}

func (p *place) String() string {
	return strings.Join(append([]string{string(p.kind)}, p.path...), ".")
}

// names are the fields, in the order in which the type has them.
func (p *place) names() (all []string) {
	for _, f := range fieldsOf(p.typ) {
		all = append(all, nameOf(f))
	}
	return all
}

// enter goes to the type of a field, or of the elements of one.
func (p *place) enter(name string) (place, bool) {
	for _, f := range fieldsOf(p.typ) {
		if nameOf(f) == name {
			return place{kind: p.kind, section: p.section, path: append(slices.Clone(p.path), name), typ: inner(f.Type)}, true
		}
	}
	return place{}, false
}

func (p *place) field(name string) *Field {
	for _, f := range fieldsOf(p.typ) {
		if nameOf(f) != name {
			continue
		}
		path := append(slices.Clone(p.path), name)
		out := &Field{Path: strings.Join(append([]string{string(p.kind)}, path...), "."), Type: typeText(f.Type)}
		r, ok := p.section.of(path, p.names())
		if !ok && p.kind == spec.KindPolicy { // its rules are those of services
			r, ok = page()[string(spec.KindService)].of(path, p.names())
		}
		if out.Meaning, out.Default, out.Limits = r.meaning, r.standard, r.limits; !ok && len(p.path) > 0 {
			out.With = p.told()
		}
		return out
	}
	return nil
}

// told gives the field on the way to a place of which the page says something; empty: there is none.
func (p *place) told() string {
	at := place{kind: p.kind, section: p.section, typ: reflect.TypeOf(spec.New(p.kind)).Elem()}
	with := ""
	for _, name := range p.path {
		if f := at.field(name); f.Meaning != "" {
			with = f.Path
		}
		at, _ = at.enter(name)
	}
	return with
}

// fieldsOf gives those that are written, also of embedded types; none of what is written as a text.
func fieldsOf(t reflect.Type) (all []reflect.StructField) {
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[spec.Pool]().PkgPath() {
		return nil
	}
	for f := range t.Fields() {
		switch {
		case f.Anonymous:
			all = append(all, fieldsOf(inner(f.Type))...)
		case f.IsExported() && nameOf(f) != "" && nameOf(f) != "-":
			all = append(all, f)
		}
	}
	return all
}

func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// inner is what a pointer, a list or a map holds.
func inner(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// typeText says what is to be written there.
func typeText(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[spec.Duration]():
		return "duration"
	case reflect.TypeFor[spec.StringList]():
		return "text, or list of texts"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeText(t.Elem())
	case reflect.Slice:
		return "list of " + strings.Replace(typeText(t.Elem()), "text", "texts", 1)
	case reflect.Map:
		return "map of names to " + typeText(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float64:
		return "number"
	case reflect.Struct:
		if len(fieldsOf(t)) > 0 {
			return "fields"
		}
		switch t.Name() {
		case "Addr":
			return "address"
		case "Prefix":
			return "network"
		case "Time":
			return "time"
		}
	}
	return "text"
}
