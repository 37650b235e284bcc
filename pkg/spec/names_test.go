package spec

import (
	"strings"
	"testing"
)

// Zones were refused as "host names" whose apex is a wildcard, of RFC 2317, the root, or of other bytes (RFC 2181, 11).
func TestAZonesNameMayHaveAnyByte(t *testing.T) {
	for name, want := range map[string]string{
		"*.Example":                    "*.example.",
		`\*.example.`:                  "*.example.",
		`\042.example.`:                "*.example.",
		"0/25.2.0.192.in-addr.arpa":    "0/25.2.0.192.in-addr.arpa.",
		`a\.B.example.`:                `a\.b.example.`,
		`a\046b.example.`:              `a\.b.example.`,
		`\\.example.`:                  `\\.example.`,
		`\000\255.example.`:            `\000\255.example.`,
		`my\032zone.example.`:          `my\ zone.example.`,
		`my\ zone.example.`:            `my\ zone.example.`,
		`\065.example.`:                "a.example.",
		".":                            ".",
		"-._.example.":                 "-._.example.",
		`b\195\188cher.`:               `b\195\188cher.`,
		"a b.example.":                 `error has the byte ' ': write it as \032`,
		"a\n.example.":                 `error has the byte '\n': write it as \010`,
		"bücher.example.":              `error has the byte 'Ã': write it as \195`,
		"a..example.":                  "error two dots stand together, or one in front",
		"":                             "error the name is empty; the root is written as a single dot",
		`\25.example.`:                 "error a backslash needs a character, or three digits up to 255, behind it",
		strings.Repeat("a", 64):        "error a label is longer than 63 bytes",
		strings.Repeat("a.", 128):      "error longer than 255 bytes in wire form",
		strings.Repeat(`\000`, 63):     strings.Repeat(`\000`, 63) + ".",
		strings.Repeat("1234567.", 31): strings.Repeat("1234567.", 31),
	} {
		got, err := CanonicalZone(name)
		if err != nil {
			got = "error " + err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// What a name stands under was read off its text, in which an escaped dot is none.
func TestAnEscapedDotSeparatesNoLabels(t *testing.T) {
	for _, tc := range []struct {
		name, above string
		want        bool
	}{
		{"a.b.example.", "b.example.", true}, {`a\.b.example.`, "b.example.", false}, {`a\.b.example.`, "example.", true},
		{`a\\.b.example.`, "b.example.", true}, {"ab.example.", "b.example.", false}, {"b.example.", "b.example.", true},
		{"example.", "b.example.", false}, {"example.", ".", true}, {".", ".", true}, {".", "example.", false}, {"longer.", "x.", false},
	} {
		if got := Under(tc.name, tc.above); got != tc.want {
			t.Errorf("%s under %s: %v", tc.name, tc.above, got)
		}
	}
	for name, want := range map[string]string{"a.b.": "b.", "a.": ".", ".": ".", "": ".", `a\.b.c.`: "c.", `a\\.b.`: "b.",
		`\000\..x.`: "x."} {
		if got := Parent(name); got != want {
			t.Errorf("parent of %s: %s, want %s", name, got, want)
		}
	}
}

func TestOddZonesAreWarnedOf(t *testing.T) {
	const odd = "the zone is served, but its names cannot be steered; see that it is meant so"
	for name, want := range map[string]string{
		"example.":                   "",
		"*.example.":                 `platform/Zone/*.example.: name: the name has the letter '*': ` + odd,
		`0/25.2.0.192.in-addr.arpa.`: `platform/Zone/0/25.2.0.192.in-addr.arpa.: name: the name has the letter '/': ` + odd,
		".": "platform/Zone/.: name: is the root: every name is answered from this zone that is in no other " +
			"one here",
	} {
		z := &Resource{Key: Key{Platform, KindZone, name}, Spec: &Zone{}}
		warnings, err := ValidateSet(Set{z.Key: z}, []*Resource{z}, nil)
		if err != nil || warnings.Error() != want {
			t.Errorf("%s: %v, %v", name, warnings, err)
		}
	}
}

// BIND 9.18 answers FORMERR to what it asked for itself, as its dig showed.
func TestSignedZonesNamedByAWildcardAreWarnedOf(t *testing.T) {
	for name, want := range map[string]bool{"*.example.": true, "a.*.example.": false, "example.": false} {
		z := &Resource{Key: Key{Platform, KindZone, name}, Spec: &Zone{DNSSEC: &DNSSEC{}}}
		warnings, _ := ValidateSet(Set{z.Key: z}, []*Resource{z}, nil)
		if got := strings.Contains(warnings.Error(), "spec.dnssec: BIND cannot read"); got != want {
			t.Errorf("%s: %v", name, warnings)
		}
	}
}

// A service in no other zone is one of the root's, whose name has no label to be cut off.
func TestTheRootIsTheZoneOfAllOthers(t *testing.T) {
	root := &Resource{Key: Key{Platform, KindZone, "."}, Spec: &Zone{}}
	inner := &Resource{Key: Key{Platform, KindZone, "example."}, Spec: &Zone{}}
	set := Set{root.Key: root, inner.Key: inner}
	if got := ZoneOf(set, "a.b.test."); got != root {
		t.Errorf("a.b.test. is in %v", got)
	}
	if got := ZoneOf(set, "a.example."); got != inner {
		t.Errorf("a.example. is in %v", got)
	}
	if got := ZoneOf(Set{inner.Key: inner}, "a.b.test."); got != nil {
		t.Errorf("without the root, a.b.test. is in %v", got)
	}
	if got := (&ZoneAlias{Name: "www"}).host("."); got != "www." {
		t.Errorf("www in the root is %s", got)
	}
}

// FuzzCanonicalZone: what is taken as a name has one writing, whose parents are names too.
func FuzzCanonicalZone(f *testing.F) {
	for _, s := range []string{".", `a\.b.c`, `\000.x`, `\\.`, `a\ b.`, "*.x.", `\046.`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		c, err := CanonicalZone(name)
		if err != nil {
			return
		}
		for n, labels := c, 0; ; n, labels = Parent(n), labels+1 {
			again, err := CanonicalZone(n)
			if err != nil || again != n || !Under(c, n) || labels > 127 {
				t.Fatalf("%q: its parent %q is written %q (%v)", c, n, again, err)
			}
			if n == "." {
				return
			}
		}
	})
}
