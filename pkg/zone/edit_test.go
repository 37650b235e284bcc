package zone

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
)

// TestEditedZoneIsTheParsedOne changes a few lines at a time, and compares with parsing from the beginning.
func TestEditedZoneIsTheParsedOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	names := []string{"@", "a", "b", "b.a", "*.a", "c", "Z", `x\.y`, "mail"}
	data := []string{"A 192.0.2.1", "A 192.0.2.2", "60 A 192.0.2.3", "AAAA 2001:db8::1", `TXT "a\010b;(" "c"`, "MX 10 mail", "NS ns.a",
		"SRV 1 2 3 a"}
	records := map[string]bool{}
	canonical := func() string {
		lines := []string{"$TTL 300", "@ SOA ns1 host 1 2 3 4 5", "@ NS ns1"}
		for r := range records {
			lines = append(lines, r)
		}
		text, _, err := Canonical("edit.example.", "f", strings.Join(lines, "\n")+"\n", Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	z, err := Parse("edit.example.", canonical())
	if err != nil {
		t.Fatal(err)
	}
	edits := 0
	for range 500 {
		for range 1 + rnd.IntN(4) {
			r := names[rnd.IntN(len(names))] + " " + data[rnd.IntN(len(data))]
			if records[r] = !records[r]; !records[r] {
				delete(records, r)
			}
		}
		text := canonical()
		want, err := Parse("edit.example.", text)
		if err != nil {
			t.Fatal(err)
		}
		got, changed, ok := z.Edit(text)
		if !ok {
			t.Fatalf("from\n%s\nto\n%s", z.text, text)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\nwant %v", got, want)
		}
		slices.SortFunc(changed, slices.Compare)
		if w := unlike(z.Sets, want.Sets); !slices.EqualFunc(changed, w, slices.Equal) {
			t.Fatalf("changed %q, want %q", changed, w)
		}
		if len(changed) > 0 {
			edits++
		}
		z = got
	}
	if edits < 400 {
		t.Errorf("only %d edits", edits)
	}
}

func TestEditLeavesMuchToParse(t *testing.T) {
	lines := func(from, to int) string {
		var b strings.Builder
		b.WriteString("edit.example.\t5\tIN\tSOA\tns1.edit.example. host.edit.example. 1 2 3 4 5\n")
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "n%06d.edit.example.\t5\tIN\tA\t192.0.2.1\n", i)
		}
		return b.String()
	}
	for _, tc := range []struct {
		name, old, text string
		ok              bool
	}{
		{"a line", lines(0, 9), lines(0, 10), true},
		{"the same", lines(0, 9), lines(0, 9), true},
		{"lines far from each other", lines(0, 9000), strings.Replace(lines(0, 9001), " 1 2 3", " 2 2 3", 1), true},
		{"no lines at all", lines(0, 9), "", true},
		{"many lines", lines(0, 9), lines(0, 9000), false},
		{"what cannot be read", lines(0, 9), lines(0, 9) + "n9.edit.example.\t5\tIN\tA\t192.0.2\n", false},
		{"a line that depends on others", lines(0, 9), lines(0, 9) + "\t5\tIN\tA\t192.0.2.1\n", false},
		{"an old text with such lines", lines(0, 9) + "\t5\tIN\tA\t192.0.2.1\n", lines(0, 9), false},
		{"an old text with braces", lines(0, 9) + "x.edit.example.\t5\tIN\tTXT\t(\na.edit.example.\t5\tIN\tA\t192.0.2.1 )\n",
			lines(0, 9), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			z, err := Parse("edit.example.", tc.old)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, ok := z.Edit(tc.text); ok != tc.ok {
				t.Errorf("edited: %v", ok)
			}
		})
	}
}

// TestEditJoinsAnOwnerWrittenInTwoWays: names in any case are the same (RFC 4343), and so are those with escapes; a set of such an
// owner must not become two.
func TestEditJoinsAnOwnerWrittenInTwoWays(t *testing.T) {
	const soa, a = "edit.example.\t5\tIN\tSOA\tns1.edit.example. host.edit.example. 1 2 3 4 5\n", "a.edit.example.\t5\tIN\tA\t192.0.2.1\n"
	for _, text := range []string{
		soa + a + "A.edit.example.\t5\tIN\tA\t192.0.2.2\n",
		soa + a + "\\097.edit.example.\t5\tIN\tA\t192.0.2.2\n",
		soa + "A.edit.example.\t5\tIN\tA\t192.0.2.2\n" + a,
		soa + a + "A.edit.example.\t5\tIN\tTXT\tx\n",
	} {
		z, err := Parse("edit.example.", soa+a)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Parse("edit.example.", text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, ok := z.Edit(text); ok && !slices.EqualFunc(got.Sets, want.Sets, sameSet) {
			t.Errorf("%q\n%v\nwant\n%v", text, got.Sets, want.Sets)
		}
	}
}

func TestCompareNames(t *testing.T) {
	// the order of RFC 4034, 6.1
	order := []string{"example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", "\\001.z.example.",
		"*.z.example.", "\\200.z.example."}
	for i := range order {
		for j := range order {
			a, _ := dnswire.AppendName(nil, order[i])
			b, _ := dnswire.AppendName(nil, order[j])
			if got := CompareNames(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("CompareNames(%s, %s) = %d", order[i], order[j], got)
			}
		}
	}
}

// FuzzEdit has any text follow any other.
func FuzzEdit(f *testing.F) {
	f.Add("a.b.\t5\tIN\tA\t192.0.2.1\n", "a.b.\t5\tIN\tA\t192.0.2.2\n")
	f.Add("a.b.\t5\tIN\tA\t192.0.2.1\nb.\t5\tIN\tTXT\t\"\n\"\n", "a.b.\t5\tIN\tA\t192.0.2.1\nb.\t5\tIN\tTXT\t\"\n")
	f.Add("a\nb\nc\nd\ne\nf\n", "a\nx\nc\nd\nd\nf\n")
	f.Add("b.\t5\tIN\tTXT\tx\nb.\t5\tIN\tTXT\ty\n", "b.\t5\tIN\tTXT\ty\nb.\t5\tIN\tTXT\tx\nb.\t5\tIN\tTXT\tz\n")
	f.Fuzz(func(t *testing.T, old, text string) {
		at, patched := 0, ""
		for _, h := range differ(old, text) {
			patched += old[at:h.old] + text[h.new:h.newEnd]
			at = h.oldEnd
		}
		if patched += old[at:]; patched != text {
			t.Fatalf("%q from %q, want %q", patched, old, text)
		}
		z, err := Parse("b.", old)
		if err != nil {
			return
		}
		got, _, ok := z.Edit(text)
		if !ok {
			return
		}
		want, err := Parse("b.", text)
		if err != nil {
			t.Fatalf("edited to what cannot be read: %v", err)
		}
		if !slices.EqualFunc(got.Sets, want.Sets, sameSet) {
			t.Fatalf("%v\nwant %v", got.Sets, want.Sets)
		}
	})
}
