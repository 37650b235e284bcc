package zone

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// costly are shapes of content that were, or could be, dear: line i of each.
var costly = map[string]func(i int) string{
	"addresses":          func(i int) string { return fmt.Sprintf("h%d A 192.0.2.1\n", i) },
	"out of zone":        func(i int) string { return fmt.Sprintf("h%d.example.net. A 192.0.2.1\n", i) },
	"syntax":             func(int) string { return "x A 1\n" },
	"delegations":        func(i int) string { return fmt.Sprintf("h%d.d NS ns%d.x.y.d\n", i, i) },
	"long names":         func(i int) string { return fmt.Sprintf("h%d.%sd NS h%d.%sd\n", i, deep, i, deep) },
	"below DNAME":        func(i int) string { return fmt.Sprintf("h%d DNAME x\na.h%d A 192.0.2.1\n", i, i) },
	"wildcards":          func(i int) string { return fmt.Sprintf("*.h%d NS a.b.c.h%d\n", i, i) },
	"one set":            func(i int) string { return fmt.Sprintf("x A 10.%d.%d.%d\n", i>>16, i>>8&255, i&255) },
	"one set of CNAME":   func(i int) string { return fmt.Sprintf("x CNAME y%d\n", i) },
	"one set of NS":      func(i int) string { return fmt.Sprintf("x NS n%d.d\n", i) },
	"types":              func(i int) string { return fmt.Sprintf("x TYPE%d \\# 1 00\n", 40000+i%20000) },
	"a chain of CNAME":   func(i int) string { return fmt.Sprintf("h%d CNAME h%d\n", i, i+1) },
	"to a long chain":    func(i int) string { return fmt.Sprintf("h%d CNAME h%d\n", i, min(i+1, 70)) },
	"many small circles": func(i int) string { return fmt.Sprintf("h%d CNAME h%d\n", i, i^1) },
}

var deep = strings.Repeat("a.", 110)

// TestContentCostsInProportion: following each CNAME by itself cost 8.4 GB and 42 s for a chain of 8 MB, and records of one set were
// written each time that two of them were compared. What is allocated in all, garbage too, is some multiple of the content, and of
// four times as much it is four times as much.
func TestContentCostsInProportion(t *testing.T) {
	cost := func(content string) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _ = Canonical("example.org.", "f", content, defaults)
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / float64(len(content))
	}
	for name, line := range costly {
		content := func(n int) string {
			var b strings.Builder
			for i := 0; b.Len() < n; i++ {
				b.WriteString(line(i))
			}
			return b.String()
		}
		small, large := cost(content(64<<10)), cost(content(256<<10))
		if large > 200 || large > 1.5*small {
			t.Errorf("%s: %.0f times the content, and %.0f times as much of four times as much", name, small, large)
		}
	}
}

// TestWhatIsHeldOfARecord: 600 bytes were held of each record while it was checked: labels and maps of its own.
func TestWhatIsHeldOfARecord(t *testing.T) {
	const n = 20_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "h%d A 192.0.2.1\n", i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rrs, problems := read("example.org.", "f", b.String(), maxContent)
	sortRecords(rrs)
	c := &checker{origin: "example.org.", file: "f", apex: keyOf("example.org."), rrs: rrs}
	c.gather()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := (after.HeapAlloc - before.HeapAlloc) / n; len(problems) > 0 || len(c.names) != n || held > 300 {
		t.Errorf("%d bytes are held of a record of %d; %v", held, len(c.names), problems)
	}
	runtime.KeepAlive(c)
}

// TestLongCirclesAreFound: those of more than 64 names were not looked for, since each was walked from each of its names.
func TestLongCirclesAreFound(t *testing.T) {
	var b strings.Builder
	b.WriteString(head)
	for i := range 1000 {
		fmt.Fprintf(&b, "h%03d CNAME h%03d\n", i, (i+1)%1000)
	}
	b.WriteString("z CNAME h500\na CNAME b\nb CNAME a\nc CNAME c\n")
	_, warnings, err := Canonical("example.org.", "f", b.String(), Defaults{})
	if err != nil || len(warnings) != 3 {
		t.Fatalf("%v, %v", warnings, err)
	}
	for i, want := range []string{"f:4: h000", "f:1005: a", "f:1007: c"} {
		if want += ".example.org.: its CNAME leads back to itself: it cannot be resolved"; warnings[i].String() != want {
			t.Errorf("%s, want %s", warnings[i], want)
		}
	}
}

// TestEmptyNamesExist: a name server below a name that only others below it make exist has no address of a wildcard above that, and
// what a delegation above it covers is elsewhere.
func TestEmptyNamesExist(t *testing.T) {
	for content, want := range map[string]string{
		"w NS ns.e\n*.e A 192.0.2.1\nx.y.ns.e TXT a\n":      "f:4: w.example.org. NS ns.e.example.org.: ",
		"w NS ns.x.e\n*.e A 192.0.2.1\ny.x.e TXT a\n":       "f:4: w.example.org. NS ns.x.e.example.org.: ",
		"w NS ns.x.e\n*.e A 192.0.2.1\n":                    "",
		"w NS ns.x.e\ne NS ns1\ny.x.e A 192.0.2.1\n":        "",
		"w NS ns1\nv.w NS ns.q\n":                           "",
		"w NS ns.e\nx.e NS ns1\n":                           "f:4: w.example.org. NS ns.e.example.org.: ",
		"w NS ns.x.e\ne NS ns1\n":                           "",
		"w NS ns.x\nv.w NS ns.x.w\n":                        "f:4: w.example.org. NS ns.x.example.org.: ",
		"w NS ns.ww\nww TXT a\nw-w TXT a\n":                 "f:4: w.example.org. NS ns.ww.example.org.: ",
		"w NS ns2.w\nw NS ns2.w\nw NS NS2.w\nw A 1.2.3.4\n": "f:6: w.example.org. NS ns2.w.example.org.: ",
	} {
		_, warnings, err := Canonical("example.org.", "f", head+content, Defaults{})
		if err != nil || (want == "") != (len(warnings) == 0) || len(warnings) > 1 ||
			want != "" && !strings.HasPrefix(warnings[0].String(), want) {
			t.Errorf("%q: %v, %v; want %s", content, warnings, err, want)
		}
	}
}

// TestSetsAreSortedByText, those of two records too.
func TestSetsAreSortedByText(t *testing.T) {
	const content = head + "b A 192.0.2.2\nb A 192.0.2.1\nc A 192.0.2.3\nc A 192.0.2.1\nc A 192.0.2.2\n"
	text, _, err := Canonical("example.org.", "f", content, Defaults{})
	var last []string
	for line := range strings.Lines(text) {
		last = append(last, line[strings.LastIndexByte(line, '.')+1:])
	}
	if got := strings.Join(last[2:], ""); err != nil || got != "1\n2\n1\n2\n3\n1\n" { // that of ns1 is the last
		t.Errorf("%q, %v", got, err)
	}
}
