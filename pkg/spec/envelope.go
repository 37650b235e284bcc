package spec

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"strings"
)

// Decode reads the resources of a YAML stream strictly. The error is an Errors with every fault that was
// found; file only names the input in messages. What could be read is returned beside the error.
// Decode checks the form; Validate and ValidateSet check the meaning.
func Decode(file string, data []byte) ([]*Resource, error) {
	var errs Errors
	if len(data) > maxInput {
		return nil, Errors{{File: file, Msg: fmt.Sprintf("larger than %d MiB, the most that one input may have: cut it into several",
			maxInput>>20)}}
	}
	reader := &yamlReader{errs: &errs, file: file}
	var out []*Resource
	for _, n := range listed(reader.read(data)) {
		d := &decoder{mode: Strict, file: file, errs: &errs}
		if d.unread(n) {
			continue
		}
		if r := d.envelope(n); r != nil {
			out = append(out, r)
		}
	}
	for _, e := range duplicates(out) {
		errs.add(e)
	}
	return out, errs.orNil()
}

// listed takes apart the documents that are lists of resources, as gtmctl get -o json prints them: {"resources": [...], "heads": ...}.
func listed(nodes []*node) (out []*node) {
	for _, n := range nodes {
		resources, other := (*node)(nil), false
		for _, e := range n.keys {
			if e.key == "resources" {
				resources = e.value
			} else if e.key != "heads" {
				other = true
			}
		}
		if resources == nil || other || resources.shape != shapeList {
			out = append(out, n)
			continue
		}
		out = append(out, resources.items...)
	}
	return out
}

// unread refuses a resource of such a list that could not be read from the store: what is printed of it is not what it was.
func (d *decoder) unread(n *node) bool {
	for _, e := range n.keys {
		if e.key == "error" && e.value.shape == shapeString {
			d.fail(e.line, "error", "declare it as it should be, without this line", "the store's form could not be read: %s",
				shorten(e.value.text))
			return true
		}
	}
	return false
}

// DecodeJSON reads one resource: {"kind", "tenant", "name", "spec"}. The error is an Errors.
func DecodeJSON(data []byte, mode Mode) (*Resource, error) {
	if len(data) > maxInput {
		return nil, Errors{{Msg: fmt.Sprintf("larger than %d MiB, the most that one input may have: cut it into several", maxInput>>20)}}
	}
	n, e := readJSON(data)
	if e != nil {
		return nil, Errors{e}
	}
	var errs Errors
	d := &decoder{mode: mode, errs: &errs}
	r := d.envelope(n)
	if err := errs.orNil(); err != nil {
		return nil, err
	}
	if len(d.unknown) > 0 && r != nil {
		r.Unknown = &Unknown{Fields: d.unknown, raw: bytes.Clone(data)}
	}
	return r, nil
}

// DecodeSpec reads what a resource of that key declares, strictly: spec is JSON; nil: it is missing. The error is an Errors.
func DecodeSpec(key Key, spec []byte) (*Resource, error) {
	n := &node{shape: shapeMap, line: 1}
	for _, part := range []struct{ field, value string }{{"kind", string(key.Kind)}, {"tenant", key.Tenant}, {"name", key.Name}} {
		n.keys = append(n.keys, entry{key: part.field, line: 1, value: &node{shape: shapeString, line: 1, text: part.value}})
	}
	if spec != nil {
		body, e := readJSON(spec)
		if e != nil {
			e.Resource, e.Field = cut(key.String(), maxText), "spec"
			return nil, Errors{e}
		}
		n.keys = append(n.keys, entry{key: "spec", line: 1, value: body})
	}
	var errs Errors
	d := &decoder{mode: Strict, errs: &errs}
	r := d.envelope(n)
	return r, errs.orNil()
}

// UnmarshalJSON reads a resource in the Tolerant mode.
func (r *Resource) UnmarshalJSON(data []byte) error {
	got, err := DecodeJSON(data, Tolerant)
	if err != nil {
		return err
	}
	*r = *got
	return nil
}

// header is the part of the envelope that every kind has.
type header struct {
	Kind   string `json:"kind"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
}

// envelope reads a whole resource. It gives nil where not even the kind is known; faults are in d.errs.
func (d *decoder) envelope(n *node) *Resource {
	if n.shape != shapeMap {
		d.fail(n.line, "", "", "wants a resource with kind, tenant, name and spec, not %s", n.shape) // the text may be a secret
		return nil
	}
	var h header
	var body *node
	d.lines = map[string]int{}
	names := fieldsOf(reflect.TypeFor[header]())
	unknown := []entry{}
	generation := int64(0)
	d.eachKey(n, "", func(e entry, at string) {
		i, known := names.index[e.key]
		switch {
		case e.key == "spec":
			body = e.value
		case e.key == "generation" && d.mode == Strict:
			generation = d.integer(e.value, at, 1, 1<<53)
		case known:
			d.value(e.value, at, reflect.ValueOf(&h).Elem().FieldByIndex(i), "")
		default:
			unknown = append(unknown, e)
		}
	})
	if longest := max(len(h.Kind), len(h.Tenant), len(h.Name)); longest > maxKeyText && d.mode == Strict {
		d.fail(n.line, "name", "", "kind, tenant and name have at most %d bytes each, not %d", maxKeyText, longest)
		return nil
	}
	if Kind(h.Kind) == KindZone {
		h.Name = canonicalZoneOr(h.Name) // one zone has one key, however people write it
	}
	r := &Resource{Key: Key{Tenant: h.Tenant, Kind: Kind(h.Kind), Name: h.Name}, Generation: uint64(generation),
		Origin: Origin{File: d.file, Line: n.line, Fields: d.lines}}
	if h.Kind != "" && h.Tenant != "" && h.Name != "" {
		d.resource = r.Key.String()
	}
	for _, e := range unknown {
		d.unknownField(e, joinPath("", e.key), append([]string{"spec", "generation"}, names.names...))
	}
	return d.body(r, n, body)
}

// body checks that the envelope is whole and reads the spec.
func (d *decoder) body(r *Resource, n, body *node) *Resource {
	for _, part := range []struct{ field, value, hint string }{
		{"kind", string(r.Kind), "it can be " + strings.Join(kindNames(), ", ")},
		{"tenant", r.Tenant, "say whose it is; zones, sites and maps are the tenant " + Platform + "'s"},
		{"name", r.Name, ""},
	} {
		if part.value == "" && !d.failedAt(part.field) {
			d.fail(n.line, part.field, part.hint, "is missing")
		}
	}
	if r.Kind == "" {
		return nil
	}
	r.Spec = New(r.Kind)
	if r.Spec == nil && d.mode == Tolerant {
		r.Spec = &Opaque{Raw: cmp.Or(body, &node{}).appendJSON(nil)}
		return r
	}
	if r.Spec == nil {
		d.fail(d.lines["kind"], "kind", didYouMean(string(r.Kind), kindNames()), "unknown kind %q", shorten(string(r.Kind)))
		return nil
	}
	if body == nil {
		if d.mode == Strict {
			d.fail(n.line, "spec", "", "is missing")
		}
		return r
	}
	d.value(body, "spec", reflect.ValueOf(r.Spec).Elem(), "")
	return r
}

// failedAt reports whether a fault of this very resource was already said of the field.
func (d *decoder) failedAt(field string) bool {
	for _, e := range *d.errs {
		if e.Field == field && e.Resource == d.resource && e.Line == d.lines[field] {
			return true
		}
	}
	return false
}

// New gives an empty spec of a kind; nil: there is no such kind.
func New(k Kind) Spec {
	switch k {
	case KindZone:
		return &Zone{}
	case KindSite:
		return &Site{}
	case KindMap:
		return &Map{}
	case KindMonitor:
		return &Monitor{}
	case KindPool:
		return &Pool{}
	case KindPolicy:
		return &Policy{}
	case KindService:
		return &Service{}
	case KindOverride:
		return &Override{}
	case KindTenant:
		return &Tenant{}
	case KindAccess:
		return &Access{}
	case KindRollout:
		return &Rollout{}
	case KindGuard:
		return &Guard{}
	}
	return nil
}

func kindNames() []string {
	names := make([]string, len(Kinds))
	for i, k := range Kinds {
		names[i] = string(k)
	}
	return names
}

// duplicates finds keys that are declared more than once.
func duplicates(resources []*Resource) Errors {
	var errs Errors
	first := make(map[Key]*Resource, len(resources))
	for _, r := range resources {
		was, twice := first[r.Key]
		if !twice {
			first[r.Key] = r
			continue
		}
		hint := "keep one of them"
		if was.Origin.File != "" || was.Origin.Line > 0 {
			hint = fmt.Sprintf("first at %s:%d", was.Origin.File, was.Origin.Line)
		}
		errs.add(&Error{File: r.Origin.File, Line: r.Origin.Line, Resource: r.Key.String(), Msg: "is declared twice", Hint: hint})
	}
	return errs
}
