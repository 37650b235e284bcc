package spec

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
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

// ParseDuration reads a duration as people give it: as time.ParseDuration, and with weeks and days (of 24 hours) before the rest, as in
// 1d, 2w or 1d12h.
func ParseDuration(text string) (time.Duration, error) {
	rest, negative := strings.CutPrefix(text, "-")
	var sum float64 // in nanoseconds
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, behind, has := strings.Cut(rest, unit.letter)
		if !has {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || strings.Trim(number, "0123456789.") != "" {
			return 0, notDuration(text)
		}
		sum, rest = sum+n*float64(unit.length), behind
		if rest == "" {
			rest = "0"
		}
	}
	if rest == "" || strings.ContainsAny(rest[:1], "+-") {
		return 0, notDuration(text)
	}
	d, err := time.ParseDuration(rest)
	if err != nil || sum+float64(d) >= math.MaxInt64 {
		return 0, notDuration(text)
	}
	d += time.Duration(sum)
	if negative {
		d = -d
	}
	return d, nil
}

func notDuration(text string) error {
	return fmt.Errorf("%q is not a duration: write it as in 30s, 1m30s or 1d", shorten(text))
}

// Time is a moment, which RFC 3339 writes as in 2026-01-31T18:00:00Z. It is parsed once, and keeps the text that it was parsed from: what a
// person wrote is what others read. The zero value is none.
type Time struct {
	text   string
	moment time.Time
	valid  bool // the text is of RFC 3339
}

// TimeOf reads a text. One that is not of RFC 3339 is kept, and has no moment.
func TimeOf(text string) Time {
	moment, err := time.Parse(time.RFC3339, text)
	return Time{text, moment, err == nil}
}

// TimeAt gives a moment, to the second, in UTC.
func TimeAt(moment time.Time) Time { return TimeOf(moment.UTC().Format(time.RFC3339)) }

// Moment gives the moment; not ok: there is none.
func (t Time) Moment() (moment time.Time, ok bool) { return t.moment, t.valid }

// IsZero reports whether nothing was written at all.
func (t Time) IsZero() bool { return t.text == "" }

// Equal reports whether the same was written.
func (t Time) Equal(o Time) bool { return t.text == o.text }

// String gives the text as it was written.
func (t Time) String() string { return t.text }

// MarshalText gives String.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// UnmarshalText is TimeOf.
func (t *Time) UnmarshalText(text []byte) error {
	*t = TimeOf(string(text))
	return nil
}

func (t *Time) decodeNode(d *decoder, n *node, path string) { *t = TimeOf(d.text(n, path, false)) }

// Scalar is a text, a number, or true or false, of which the text counts.
type Scalar string

func (s *Scalar) decodeNode(d *decoder, n *node, path string) {
	switch n.shape {
	case shapeInt, shapeFloat, shapeBool:
		*s = Scalar(n.text)
	default:
		*s = Scalar(d.text(n, path, false))
	}
}

// UnmarshalJSON reads any of them.
func (s *Scalar) UnmarshalJSON(data []byte) error { return unmarshalTolerant(data, s) }

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

func unmarshalTolerant(data []byte, into nodeDecoder) error {
	n, e := readJSON(data)
	if e != nil {
		return Errors{e}
	}
	var errs Errors
	into.decodeNode(&decoder{mode: Tolerant, errs: &errs}, n, "")
	return errs.orNil()
}
