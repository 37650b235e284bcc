package spec

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Duration is a time.Duration written as in 30s, 1m30s or 1d: see ParseDuration.
type Duration time.Duration

// String gives the shortest usual form: 1h, 1m30s, 200ms.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText gives String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String.
func (d *Duration) UnmarshalText(text []byte) error {
	t, err := ParseDuration(string(text))
	if err != nil {
		return err
	}
	*d = Duration(t)
	return nil
}

func (d *Duration) decodeNode(dec *decoder, n *node, path string) {
	if n.shape == shapeInt {
		dec.fail(n.line, path, "write "+shorten(n.text)+"s for seconds", "a duration needs a unit")
		return
	}
	if n.shape != shapeString || d.UnmarshalText([]byte(n.text)) != nil {
		dec.fail(n.line, path, "", "wants a duration as in 30s, 1m30s or 1d, not %s", n.describe())
		return
	}
	if *d < 0 {
		dec.fail(n.line, path, "", "a duration cannot be negative")
		*d = 0
	}
}

// StringList is a list of strings that may be written as one string.
type StringList []string

func (l *StringList) decodeNode(d *decoder, n *node, path string) {
	if n.shape == shapeList {
		d.value(n, path, reflect.ValueOf((*[]string)(l)).Elem(), "")
		return
	}
	*l = StringList{d.text(n, path, false)}
}

// UnmarshalJSON reads a list or one string.
func (l *StringList) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, l) }

// poolRef is the long form of a PoolRef.
type poolRef struct {
	Pool   string `json:"pool" yaml:"pool"`
	Weight int    `json:"weight,omitempty" yaml:"weight,omitempty"`
}

func (p *PoolRef) decodeNode(d *decoder, n *node, path string) {
	if n.shape != shapeMap {
		if n.shape == shapeString {
			p.Pool = n.text
			return
		}
		d.wrongType(n, path, "the name of a pool or {pool: NAME, weight: N}")
		return
	}
	var long poolRef
	d.value(n, path, reflect.ValueOf(&long).Elem(), "")
	*p = PoolRef(long)
	for _, e := range n.keys {
		if d.mode == Strict && e.key == "weight" && e.value.shape == shapeInt && isZeroNumber(e.value.text) {
			d.fail(e.line, joinPath(path, "weight"), "to send nothing there, leave the pool out", "a weight of a split is at least 1")
		}
	}
}

// UnmarshalJSON reads a name or {"pool": NAME, "weight": N}.
func (p *PoolRef) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, p) }

// MarshalJSON gives the name alone where there is no weight.
func (p PoolRef) MarshalJSON() ([]byte, error) {
	if p.Weight == 0 {
		return json.Marshal(p.Pool)
	}
	return json.Marshal(poolRef(p))
}

// String gives eu or eu:70.
func (p PoolRef) String() string {
	if p.Weight == 0 {
		return p.Pool
	}
	return fmt.Sprintf("%s:%d", p.Pool, p.Weight)
}

func unmarshalTolerant(data []byte, into nodeDecoder) error {
	n, e := readJSON(data)
	if e != nil {
		return Errors{e}
	}
	var errs Errors
	into.decodeNode(&decoder{mode: Tolerant, errs: &errs}, n, "")
	return errs.orNil()
}
