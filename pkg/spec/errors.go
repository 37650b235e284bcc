package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one fault of one declared resource: where it stands, what is wrong and what to do.
// The parts that are unknown are empty.
type Error struct {
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Resource string `json:"resource,omitempty"` // a Key, as in shop/Service/web
	Field    string `json:"field,omitempty"`    // as in spec.rules[1].when.geo[0]
	Msg      string `json:"msg"`
	Hint     string `json:"hint,omitempty"`
	// Other is a resource of another tenant than Resource's that Msg names, as its String has it, so that it can be kept from who may not
	// know it; zero: none.
	Other Key `json:"-"`
}

// Error gives one line: file:line: resource: field: message; hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		b.WriteByte(':')
	}
	if e.Line > 0 {
		if e.File == "" {
			b.WriteString("line ")
		}
		fmt.Fprintf(&b, "%d:", e.Line)
	}
	for _, part := range []string{e.Resource, e.Field} {
		if part != "" {
			spaced(&b, part+":")
		}
	}
	spaced(&b, e.Msg)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

func spaced(b *strings.Builder, s string) {
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(s)
}

// Errors is everything that is wrong with an input, so that a person mends it in one go. Functions of
// this package that return an error return an Errors, which is never empty then.
type Errors []*Error

// CutNote says of a list of so many faults that it may be cut; empty: it is whole.
func CutNote(n int) string {
	if n < MaxErrors {
		return ""
	}
	return fmt.Sprintf("and perhaps more: these are the first %d that were found; mend them and look again", n)
}

// Error gives one fault per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	if note := CutNote(len(es)); note != "" {
		lines = append(lines, note)
	}
	return strings.Join(lines, "\n")
}

// Locate fills in file and line of those faults that have none, from the origins of the resources that
// they name. It is for faults that were found elsewhere, as by the API. It changes es in place.
func (es Errors) Locate(resources []*Resource) {
	origins := make(map[string]*Origin, len(resources))
	for _, r := range resources {
		origins[r.Key.String()] = &r.Origin
	}
	for _, e := range es {
		if o := origins[e.Resource]; o != nil && e.File == "" && e.Line == 0 {
			e.File, e.Line = o.File, o.LineOf(e.Field)
		}
	}
}

// MaxErrors bounds what one input can make us say: a list that has so many may be cut there.
const MaxErrors = 1000

// maxText bounds each text of a fault, in bytes: names and values come from whoever sent the input.
const maxText = 1024

// orNil gives nil without faults; otherwise the faults, sorted, as an error.
func (es Errors) orNil() error {
	if len(es) == 0 {
		return nil
	}
	es.sort()
	return es
}

func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// Add appends faults, as long as there are fewer than MaxErrors. Texts of them that are too long are cut.
func (es *Errors) Add(more ...*Error) {
	for _, e := range more {
		if es.Full() {
			return
		}
		for _, text := range []*string{&e.File, &e.Resource, &e.Field, &e.Msg, &e.Hint} {
			*text = cut(*text, maxText)
		}
		*es = append(*es, e)
	}
}

func (es *Errors) add(e *Error) { es.Add(e) }

// Full tells that no more faults are taken: what would only find more of them can stop.
func (es *Errors) Full() bool { return len(*es) >= MaxErrors }

// Closest gives the candidate that word was probably meant to be, or "" if none is near. It is for
// "did you mean": letter case counts for nothing, and up to a third of the letters may differ.
func Closest(word string, candidates []string) string {
	if len(word) > 64 {
		return ""
	}
	lower := strings.ToLower(word)
	best, bestDistance := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if d := distance(lower, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with a neighbour (optimal string alignment).
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}

// didYouMean makes the hint for a word that is none of the candidates.
func didYouMean(word string, candidates []string) string {
	if c := Closest(word, candidates); c != "" {
		return "did you mean " + c + "?"
	}
	if len(candidates) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(candidates))
	if len(sorted) > 20 {
		return ""
	}
	return "it can be " + strings.Join(sorted, ", ")
}
