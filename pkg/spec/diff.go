package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// FieldChange is one field that differs. Old and New are JSON; nil where the field is absent.
type FieldChange struct {
	Path string          `json:"path"` // as in spec.endpoints[a].weight: parts of a list that have names go by them
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
	// Place tells where a rule that came stands among the others, whose order decides: 2 of 3, behind europe, before rest.
	Place string `json:"place,omitempty"`
}

// Difference is one resource that is in one of two sets only (the other side is nil), or differs.
type Difference struct {
	Key      Key
	Old, New *Resource
	Changes  []FieldChange
}

// Diff gives the fields in which two forms of a resource differ, as declared, sorted by path. With nil on
// one side it is everything of the other. Parts of a list that have a name are compared by name, and their
// order by itself. Texts of many lines, as of a zone, are compared line by line.
func Diff(old, new *Resource) []FieldChange {
	var d differ
	d.value("spec", tree(old), tree(new))
	if a, b := beside(old), beside(new); a != nil || b != nil {
		d.mapping("", a, b)
	}
	slices.SortStableFunc(d.changes, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return d.changes
}

// DiffSets compares two sets, sorted by key; what is equal is left out.
func DiffSets(old, new map[Key]*Resource) []Difference {
	keys := slices.Collect(maps.Keys(old))
	for k := range new {
		if old[k] == nil {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	var out []Difference
	for _, k := range keys {
		if changes := Diff(old[k], new[k]); len(changes) > 0 || (old[k] == nil) != (new[k] == nil) {
			out = append(out, Difference{Key: k, Old: old[k], New: new[k], Changes: changes})
		}
	}
	return out
}

// tree gives a resource's spec as maps, lists and scalars.
func tree(r *Resource) any {
	if r == nil {
		return nil
	}
	data, err := r.SpecJSON()
	if err != nil {
		panic("spec: " + r.Key.String() + " cannot be written as JSON: " + err.Error()) // every type of this package can be
	}
	return treeOf(data)
}

// beside gives what stands beside kind, tenant, name and spec, which only a newer program writes; nil: nothing.
func beside(r *Resource) map[string]any {
	if r == nil || r.Unknown == nil {
		return nil
	}
	all, _ := treeOf(r.Unknown.raw).(map[string]any)
	for _, known := range []string{"kind", "tenant", "name", "spec"} {
		delete(all, known)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func treeOf(data []byte) any {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		panic("spec: JSON of our own cannot be read: " + err.Error())
	}
	return v
}

// differ gathers changes.
type differ struct{ changes []FieldChange }

func (d *differ) value(path string, old, new any) {
	if o, ok := old.(map[string]any); ok || old == nil {
		if n, ok := new.(map[string]any); (ok || new == nil) && (o != nil || n != nil) {
			d.mapping(path, o, n)
			return
		}
	}
	if o, ok := old.([]any); ok || old == nil {
		if n, ok := new.([]any); (ok || new == nil) && (o != nil || n != nil) && d.list(path, o, n) {
			return
		}
	}
	o, n := raw(old), raw(new)
	if bytes.Equal(o, n) {
		return
	}
	if os, ok := old.(string); ok {
		if ns, ok := new.(string); ok && strings.Contains(os+ns, "\n") {
			d.lines(path, os, ns)
			return
		}
	}
	d.changes = append(d.changes, FieldChange{Path: path, Old: o, New: n})
}

func (d *differ) mapping(path string, old, new map[string]any) {
	keys := slices.Collect(maps.Keys(old))
	for k := range new {
		if _, both := old[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		d.value(joinPath(path, k), old[k], new[k])
	}
}

// list compares lists whose parts have distinct names by these. It gives false where they have none.
func (d *differ) list(path string, old, new []any) bool {
	o, oNames := byName(old)
	n, nNames := byName(new)
	if o == nil || n == nil {
		return false
	}
	d.mapEach(path, o, n, nNames)
	if len(oNames) > 0 && len(nNames) > 0 && !slices.Equal(common(oNames, n), common(nNames, o)) {
		d.changes = append(d.changes, FieldChange{Path: path + ".order", Old: raw(oNames), New: raw(nNames)})
	}
	return true
}

// mapEach compares parts by their names; order are those of the new list.
func (d *differ) mapEach(path string, old, new map[string]any, order []string) {
	keys := slices.Collect(maps.Keys(old))
	for k := range new {
		if _, both := old[k]; !both {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		at := path + "[" + k + "]"
		if old[k] == nil || new[k] == nil { // a part that comes or goes is told whole
			d.changes = append(d.changes, FieldChange{Path: at, Old: raw(old[k]), New: raw(new[k]), Place: positionOf(path, k, order)})
			continue
		}
		d.value(at, old[k], new[k])
	}
}

// positionOf says where a part stands in a list whose order means something; "" in others, and of a part that went.
func positionOf(path, name string, order []string) string {
	i := slices.Index(order, name)
	if path != "spec.rules" || i < 0 {
		return ""
	}
	position := fmt.Sprintf("%d of %d", i+1, len(order))
	if i > 0 {
		position += ", behind " + order[i-1]
	}
	if i+1 < len(order) {
		position += ", before " + order[i+1]
	}
	return position
}

// byName indexes a list of mappings by their names; nil where a part has none or two have the same.
func byName(list []any) (map[string]any, []string) {
	index := make(map[string]any, len(list))
	var names []string
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, nil
		}
		name, ok := m["name"].(string)
		if _, twice := index[name]; !ok || twice || name == "" {
			return nil, nil
		}
		index[name] = item
		names = append(names, name)
	}
	return index, names
}

// common keeps the names that the other side has too.
func common(names []string, other map[string]any) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return other[n] == nil })
}

// lines tells of the lines that went and came, as a multiset: the order of a zone's records means nothing.
func (d *differ) lines(path, old, new string) {
	count := map[string]int{}
	for line := range strings.SplitSeq(old, "\n") {
		count[line]--
	}
	for line := range strings.SplitSeq(new, "\n") {
		count[line]++
	}
	before := len(d.changes)
	for _, line := range slices.Sorted(maps.Keys(count)) {
		for n := count[line]; n < 0; n++ {
			d.changes = append(d.changes, FieldChange{Path: path, Old: raw(line)})
		}
		for n := count[line]; n > 0; n-- {
			d.changes = append(d.changes, FieldChange{Path: path, New: raw(line)})
		}
	}
	if len(d.changes) == before { // the same lines in another order
		d.changes = append(d.changes, FieldChange{Path: path, Old: raw(old), New: raw(new)})
	}
}

// raw gives JSON; nil for what is absent.
func raw(v any) json.RawMessage {
	if v == nil {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic("spec: JSON of our own cannot be written: " + err.Error())
	}
	return data
}
