package spec

import (
	"encoding/json"
	"slices"
	"strconv"
)

// Unknown is what a newer program wrote into a resource and this one does not understand. It goes with every form of the resource that
// comes out of that one: what this program changes is written into the form that it read. Immutable.
type Unknown struct {
	// Fields are the paths of the fields that are not known, as in spec.endpoints[0].color: some hundred at most.
	Fields []string

	raw []byte // the resource as it was read
}

// maxUnknown bounds the fields that are named of one resource.
const maxUnknown = 100

// Opaque stands for what a resource declares whose kind this program does not know: it is kept, and can be deleted.
type Opaque struct{ Raw json.RawMessage }

func (*Opaque) kind() Kind { return "" }

// MarshalJSON gives what was read.
func (o *Opaque) MarshalJSON() ([]byte, error) { return o.Raw, nil }

// Known reports whether this program knows the kind.
func (k Kind) Known() bool { return slices.Contains(Kinds, k) }

// With gives a resource that declares s in the place of what r does, and keeps of r what this program does not understand.
func (r *Resource) With(s Spec) *Resource {
	return &Resource{Key: r.Key, Spec: s, Unknown: r.Unknown}
}

// SpecJSON gives what the resource declares, with what this program does not understand of it.
func (r *Resource) SpecJSON() ([]byte, error) {
	if r.Unknown == nil {
		return json.Marshal(r.Spec)
	}
	n, err := r.whole()
	if err != nil {
		return nil, err
	}
	body := n.get("spec")
	if body == nil {
		return json.Marshal(r.Spec)
	}
	return body.appendJSON(nil), nil
}

// whole gives all of a resource that has unknown parts: the form that was read, with what has changed since in the known ones.
func (r *Resource) whole() (*node, error) {
	raw, fault := readJSON(r.Unknown.raw)
	if fault != nil {
		return nil, fault
	}
	read, err := DecodeJSON(r.Unknown.raw, Tolerant)
	if err != nil {
		return nil, err
	}
	before, err := knownNode(read)
	if err != nil {
		return nil, err
	}
	now, err := knownNode(r)
	if err != nil {
		return nil, err
	}
	return merge(raw, before, now), nil
}

// knownNode gives what this program knows of a resource.
func knownNode(r *Resource) (*node, error) {
	data, err := json.Marshal(envelope{r.Kind, r.Tenant, r.Name, r.Spec})
	if err != nil {
		return nil, err
	}
	n, fault := readJSON(data)
	if fault != nil {
		return nil, fault
	}
	return n, nil
}

// merge makes in raw the changes that lead from before to now. Parts of lists are found by their names, or by their places in lists of
// the same length; other lists are replaced.
func merge(raw, before, now *node) *node {
	switch {
	case now == nil || before != nil && before.equal(now):
		return raw
	case raw == nil || before == nil || raw.shape != now.shape || before.shape != now.shape:
		return now
	case now.shape == shapeMap:
		return mergeMaps(raw, before, now)
	case now.shape == shapeList:
		return mergeLists(raw, before, now)
	}
	return now
}

func mergeMaps(raw, before, now *node) *node {
	out := &node{shape: shapeMap}
	for _, e := range raw.keys {
		is := now.get(e.key)
		if is == nil && before.get(e.key) != nil {
			continue // it was taken away
		}
		out.keys = append(out.keys, entry{key: e.key, value: merge(e.value, before.get(e.key), is)})
	}
	for _, e := range now.keys {
		if raw.get(e.key) == nil {
			out.keys = append(out.keys, e)
		}
	}
	return out
}

func mergeLists(raw, before, now *node) *node {
	out := &node{shape: shapeList}
	rawBy, beforeBy, nowBy := raw.byName(), before.byName(), now.byName()
	if rawBy != nil && beforeBy != nil && nowBy != nil {
		for _, item := range now.items {
			name := item.get("name").text
			out.items = append(out.items, merge(rawBy[name], beforeBy[name], item))
		}
		return out
	}
	if len(raw.items) != len(now.items) || len(before.items) != len(now.items) {
		return now
	}
	for i, item := range now.items {
		out.items = append(out.items, merge(raw.items[i], before.items[i], item))
	}
	return out
}

// get gives the value of a key; nil: there is none.
func (n *node) get(key string) *node {
	for _, e := range n.keys {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// byName gives the parts of a list by their names; nil where one has none, or two have the same.
func (n *node) byName() map[string]*node {
	by := make(map[string]*node, len(n.items))
	for _, item := range n.items {
		name := item.get("name")
		if name == nil || name.shape != shapeString || by[name.text] != nil {
			return nil
		}
		by[name.text] = item
	}
	return by
}

// equal compares values; the order of keys means nothing.
func (n *node) equal(o *node) bool {
	if n.shape != o.shape || n.text != o.text || len(n.keys) != len(o.keys) || len(n.items) != len(o.items) {
		return false
	}
	for _, e := range n.keys {
		other := o.get(e.key)
		if other == nil || !e.value.equal(other) {
			return false
		}
	}
	return slices.EqualFunc(n.items, o.items, (*node).equal)
}

// appendJSON writes a value that was read from JSON.
func (n *node) appendJSON(b []byte) []byte {
	switch n.shape {
	case shapeNull:
		return append(b, "null"...)
	case shapeString, shapeTime:
		return appendText(b, n.text)
	case shapeList:
		b = append(b, '[')
		for i, item := range n.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case shapeMap:
		b = append(b, '{')
		for i, e := range n.keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.value.appendJSON(append(appendText(b, e.key), ':'))
		}
		return append(b, '}')
	}
	return append(b, n.text...) // a number, true or false
}

func appendText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // no text fails
		return strconv.AppendQuote(b, s)
	}
	return append(b, text...)
}
