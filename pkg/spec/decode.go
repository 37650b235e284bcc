package spec

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Mode says how exact an input must be.
type Mode uint8

const (
	// Strict is for what people send: an unknown field, a duplicate or a missing part is an error.
	Strict Mode = iota
	// Tolerant is for what a newer gtm may have stored: unknown fields and kinds are kept as they are. Wrong types are errors still.
	Tolerant
)

// decoder fills one resource from its node and gathers every fault on the way.
type decoder struct {
	mode     Mode
	file     string
	resource string // names the resource in messages, as soon as it is known
	errs     *Errors
	lines    map[string]int // of each field path
	unknown  []string       // paths of fields that a newer program knows
}

// maxLines bounds the field lines kept per resource; what has none takes the line of what holds it.
const maxLines = 5000

func (d *decoder) fail(line int, path, hint, format string, args ...any) {
	d.errs.add(&Error{File: d.file, Line: line, Resource: d.resource, Field: path,
		Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (d *decoder) wrongType(n *node, path, want string) {
	hint := ""
	if strings.HasPrefix(want, "text") && (n.shape == shapeInt || n.shape == shapeFloat || n.shape == shapeBool) {
		hint = "put it in quotes"
	}
	d.fail(n.line, path, hint, "wants %s, not %s", want, n.describe())
}

func (d *decoder) note(path string, line int) {
	if d.lines != nil && len(d.lines) < maxLines {
		d.lines[path] = line
	}
}

// nodeDecoder is implemented by types that are written in more than one way.
type nodeDecoder interface {
	decodeNode(d *decoder, n *node, path string)
}

// value puts n into v. Nothing (null) leaves the zero value.
func (d *decoder) value(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.shape == shapeNull {
		return
	}
	switch to := v.Addr().Interface().(type) {
	case nodeDecoder:
		to.decodeNode(d, n, path)
		return
	case *netip.Addr:
		*to = d.addr(n, path)
		return
	case *netip.Prefix:
		*to = d.prefix(n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem(), tag)
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Slice:
		d.list(n, path, v, tag)
	case reflect.Map:
		d.mapping(n, path, v, tag)
	case reflect.String:
		v.SetString(d.text(n, path, tag.Get("number") == "ok"))
		if n.block {
			d.note(path+blockMark, n.line)
		}
	case reflect.Bool:
		if n.shape != shapeBool {
			d.wrongType(n, path, "true or false")
			return
		}
		v.SetBool(strings.EqualFold(n.text, "true"))
	case reflect.Int:
		v.SetInt(d.integer(n, path, -1<<31, 1<<31-1))
	case reflect.Uint16:
		v.SetUint(uint64(d.integer(n, path, 0, 1<<16-1)))
	case reflect.Uint32:
		v.SetUint(uint64(d.integer(n, path, 0, 1<<32-1)))
	case reflect.Float64:
		v.SetFloat(d.float(n, path))
	default:
		panic("spec: no way to decode a " + v.Type().String()) // a field of a new type; every test meets it
	}
}

func (d *decoder) text(n *node, path string, numberToo bool) string {
	switch {
	case n.shape == shapeString, n.shape == shapeTime, numberToo && n.shape == shapeInt:
		return n.text
	}
	d.wrongType(n, path, "text")
	return ""
}

func (d *decoder) integer(n *node, path string, low, high int64) int64 {
	if n.shape != shapeInt {
		d.wrongType(n, path, "a whole number")
		return 0
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil || (len(n.text) > 1 && n.text[0] == '0') {
		d.fail(n.line, path, "", "wants a plain decimal number, not %s", shorten(n.text))
		return 0
	}
	if i < low || i > high {
		d.fail(n.line, path, "", "%d is out of range: it can be %d to %d", i, low, high)
		return 0
	}
	return i
}

func (d *decoder) float(n *node, path string) float64 {
	if n.shape != shapeInt && n.shape != shapeFloat {
		d.wrongType(n, path, "a number")
		return 0
	}
	f, err := strconv.ParseFloat(n.text, 64)
	if err != nil || f-f != 0 {
		d.fail(n.line, path, "", "wants a finite decimal number, not %s", shorten(n.text))
		return 0
	}
	return f
}

func (d *decoder) addr(n *node, path string) netip.Addr {
	a, err := netip.ParseAddr(n.text)
	if n.shape != shapeString || err != nil {
		d.fail(n.line, path, "", "wants an IP address as in 192.0.2.1 or 2001:db8::1, not %s", n.describe())
	}
	return a
}

func (d *decoder) prefix(n *node, path string) netip.Prefix {
	p, err := netip.ParsePrefix(n.text)
	if n.shape == shapeString && err == nil {
		return p
	}
	hint := ""
	if a, err := netip.ParseAddr(n.text); err == nil && a.Zone() == "" {
		hint = fmt.Sprintf("for this address alone write %s/%d", a, a.BitLen())
	}
	d.fail(n.line, path, hint, "wants a network as in 192.0.2.0/24 or 2001:db8::/32, not %s", n.describe())
	return p
}

func (d *decoder) list(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.shape != shapeList {
		d.wrongType(n, path, "a list")
		return
	}
	if len(n.items) > maxParts && v.Type().Elem().Size() > largePart {
		d.fail(n.line, path, "", "has %d parts: more than %d are not possible", len(n.items), maxParts)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		if d.errs.Full() {
			return
		}
		at := path + "[" + strconv.Itoa(i) + "]"
		d.note(at, item.line)
		if item.shape == shapeNull {
			d.fail(item.line, at, "", "is empty")
			continue
		}
		d.value(item, at, v.Index(i), tag)
	}
}

// mapping fills a map with text keys.
func (d *decoder) mapping(n *node, path string, v reflect.Value, tag reflect.StructTag) {
	if n.shape != shapeMap {
		d.wrongType(n, path, "a mapping")
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.keys)))
	d.eachKey(n, path, func(e entry, at string) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(e.value, at, value, tag)
		v.SetMapIndex(reflect.ValueOf(e.key), value)
	})
}

// structure fills the fields of v by their JSON names.
func (d *decoder) structure(n *node, path string, v reflect.Value) {
	if n.shape != shapeMap {
		d.wrongType(n, path, "a mapping")
		return
	}
	fields := fieldsOf(v.Type())
	d.eachKey(n, path, func(e entry, at string) {
		i, known := fields.index[e.key]
		if !known {
			d.unknownField(e, at, fields.names)
			return
		}
		f, faults := v.Type().FieldByIndex(i), len(*d.errs)
		field := v.FieldByIndex(i)
		d.value(e.value, at, field, f.Tag)
		// What means "the default" cannot be asked for as 0: that would read as something else than it does.
		if d.mode == Strict && f.Tag.Get("zero") == "absent" && e.value.shape != shapeNull && field.IsZero() &&
			len(*d.errs) == faults {
			d.fail(e.value.line, at, "leave it out for the default", "cannot be 0")
		}
	})
}

// unknownField notes a field that is none of those known.
func (d *decoder) unknownField(e entry, at string, known []string) {
	switch {
	case d.mode == Strict:
		d.fail(e.line, at, didYouMean(e.key, known), "unknown field")
	case len(d.unknown) < maxUnknown:
		d.unknown = append(d.unknown, at)
	}
}

func isZeroNumber(text string) bool { return strings.Trim(text, "+-0") == "" }

// eachKey calls f for the keys of a mapping. A key that stands twice is a fault.
func (d *decoder) eachKey(n *node, path string, f func(e entry, at string)) {
	seen := make(map[string]int, len(n.keys))
	for _, e := range n.keys {
		if d.errs.Full() {
			return
		}
		at := joinPath(path, e.key)
		if first, twice := seen[e.key]; twice {
			d.fail(e.line, at, "", "stands twice, first on line %d", first)
			continue
		}
		seen[e.key] = e.line
		d.note(at, e.line)
		f(e, at)
	}
}

func joinPath(path, key string) string {
	key = shorten(key)
	if strings.ContainsAny(key, ".[] ") {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// fields are what a struct calls its parts.
type fields struct {
	names []string
	index map[string][]int // as of reflect.Value.FieldByIndex
}

var fieldCache sync.Map // reflect.Type to *fields

func fieldsOf(t reflect.Type) *fields {
	if f, ok := fieldCache.Load(t); ok {
		return f.(*fields)
	}
	f := &fields{index: map[string][]int{}}
	for _, field := range reflect.VisibleFields(t) {
		if !field.Anonymous {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			f.names = append(f.names, name)
			f.index[name] = field.Index
		}
	}
	fieldCache.Store(t, f)
	return f
}
