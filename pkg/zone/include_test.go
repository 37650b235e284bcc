package zone

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestExpand(t *testing.T) {
	const most = 64 << 20
	folder := fstest.MapFS{
		"sub/hosts":  {Data: []byte("$TTL 7\na A 192.0.2.1\n$INCLUDE more x.org.\n A 192.0.2.2\n")},
		"sub/more":   {Data: []byte("$ORIGIN deep\nb A 192.0.2.3\n")},
		"loop":       {Data: []byte("$INCLUDE loop\n")},
		"two":        {Data: []byte("$INCLUDE two\n$INCLUDE two\n")},
		"bad":        {Data: []byte("a A 192.0.2.1\nb A 192.0.2.999\n")},
		"badescape":  {Data: []byte("a A 192.0.2.1\nb TXT \\25\n")},
		"huge":       {Data: make([]byte, most+1)},
		"generating": {Data: []byte(strings.Repeat("$GENERATE 0-65535 a$ TXT "+strings.Repeat("x", 200)+"\n", 6))},
	}
	for _, tc := range []struct{ name, content, want, err string }{
		{"nothing to include", "a A 192.0.2.9\n", "a A 192.0.2.9\n", ""},
		{"origins come back", "$TTL 60\n$ORIGIN h.example.org.\n@ A 192.0.2.8\n$INCLUDE sub/hosts other.org.\n\tA 192.0.2.9\nc A " +
			"192.0.2.10\n",
			"h.example.org.\t60\tIN\tA\t192.0.2.8\na.other.org.\t7\tIN\tA\t192.0.2.1\nb.deep.x.org.\t7\tIN\tA\t192.0.2.3\n" +
				"a.other.org.\t7\tIN\tA\t192.0.2.2\n" +
				"h.example.org.\t60\tIN\tA\t192.0.2.9\nc.h.example.org.\t60\tIN\tA\t192.0.2.10\n", ""},
		{"a loop", "$INCLUDE loop\n", "", "loop:1: too deeply nested $INCLUDE"},
		{"a loop of many ways", "$INCLUDE two\n", "", "two:1: too deeply nested $INCLUDE"},
		{"outside", "a A 192.0.2.1\n$INCLUDE ../../etc/passwd\n", "", "main:2: failed to open"},
		{"absolute", "$INCLUDE /etc/passwd\n", "", "main:1: failed to open"},
		{"missing", "$INCLUDE nothing\n", "", "main:1: failed to open"},
		{"a fault inside", "$INCLUDE bad\n", "", "bad:2: bad A"},
		{"a bad escape inside", "$INCLUDE badescape\n", "", "badescape:2: a backslash"},
		{"too much", "$INCLUDE huge\n", "", "main:1: failed to open `huge': the included files are larger"},
		{"too much generated", "$INCLUDE generating\n", "", "main: what it includes and generates is larger"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := expand("example.org.", "main", tc.content, folder, most)
			if got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("error %v, want %s...", err, tc.err)
			}
		})
	}
}

// A master file that includes others told its first fault alone: all are told, of each file with its own lines, and no more than of one.
func TestExpandTellsAllFaults(t *testing.T) {
	folder := fstest.MapFS{
		"hosts": {Data: []byte("a A 192.0.2.1\nb A 192.0.2.999\n A 192.0.2.2\nc AAAA (\n 2001:db8::1\n x )\n" +
			"d TXT \\25\ne MX\nf A 192.0.2.3\n$TTL x\n")},
		"twice": {Data: []byte("g A 1\n")},
		"many":  {Data: []byte(strings.Repeat("h A 1\n", maxProblems))},
		"loop":  {Data: []byte("i A 192.0.2.300\n$INCLUDE loop\n")},
	}
	for _, tc := range []struct {
		name, content string
		want          []string
	}{
		{"in all files", "x A 1\n$INCLUDE hosts\n$INCLUDE nothing\ny A 2\n", []string{"main:1: bad A", "main:3: failed", "main:4: bad A",
			"hosts:2: bad A", "hosts:6: ", "hosts:7: a backslash", "hosts:8: unexpected newline", "hosts:10: expecting $TTL"}},
		{"once in a file that is included twice", "$INCLUDE twice\n$INCLUDE twice\nx A 1\n", []string{"main:3: bad A", "twice:1: bad A"}},
		{"up to a bound", "$INCLUDE many\nx A 1\n", append(slices.Repeat([]string{"many:"}, maxProblems), "main: and perhaps more")},
		{"in a loop", "$INCLUDE loop\nx A 1\n", []string{"main:2: bad A", "loop:1: bad A", "loop:2: too deep"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Expand("example.org.", "main", tc.content, folder)
			if err == nil {
				t.Fatal("no fault")
			}
			got := strings.Split(err.Error(), "\n")
			for i := range max(len(got), len(tc.want)) {
				if i >= len(got) || i >= len(tc.want) || !strings.HasPrefix(got[i], tc.want[i]) {
					t.Fatalf("got\n%s\nwant\n%s", err, strings.Join(tc.want, "\n"))
				}
			}
		})
	}
}

// TestExpandedLinesHavePlaces: faults of records that can be read, but not be together, were told without the file that they stand in.
func TestExpandedLinesHavePlaces(t *testing.T) {
	folder := fstest.MapFS{
		"sub/a": {Data: []byte("; first\na A (\n 192.0.2.1 )\n$INCLUDE b\nlast A 192.0.2.3\n")},
		"sub/b": {Data: []byte("\n$GENERATE 1-2 g$ A 192.0.2.$\n")},
	}
	text, sources, err := Expand("example.org.", "main", "$TTL 60\n$INCLUDE sub/a\nz A 192.0.2.2\n", folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		file, at := sources.Of(i + 1)
		owner, _, _ := strings.Cut(line, ".")
		got = append(got, fmt.Sprintf("%s %s:%d", owner, file, at))
	}
	if want := "[a sub/a:3 g1 sub/b:2 g2 sub/b:2 last sub/a:5 z main:3]"; fmt.Sprint(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, line := range []int{-1, 0, len(got) + 1} {
		if file, at := sources.Of(line); file != "" || at != 0 {
			t.Errorf("line %d stood at %s:%d", line, file, at)
		}
	}
}

// FuzzExpand: whatever a master file and what it includes say, expanding ends, opens nothing outside, and what is lawful can be read.
func FuzzExpand(f *testing.F) {
	f.Add("$TTL 60\n$INCLUDE b.zone sub\nx A 192.0.2.1\n", "a A 192.0.2.2\n$INCLUDE b.zone\n")
	f.Add("$INCLUDE ../etc/passwd\n", "")
	f.Add("$INCLUDE b.zone\n", "$GENERATE 1-3 h$ A 192.0.2.$\n\\065 TXT \"\\\\\"\n")
	f.Fuzz(func(t *testing.T, content, included string) {
		if len(content)+len(included) > 2000 || strings.Contains(content+included, "GENERATE") && len(content)+len(included) > 200 {
			return
		}
		text, sources, err := Expand("example.org.", "a.zone", content,
			fstest.MapFS{"a.zone": {Data: []byte(content)}, "b.zone": {Data: []byte(included)}})
		if err != nil {
			if list, ok := err.(Problems); !ok || len(list) == 0 || len(list) > maxProblems+1 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if n := strings.Count(text, "\n"); sources != nil && len(sources.at) != n {
			t.Fatalf("%d lines have %d places", n, len(sources.at))
		}
		for _, p := range []string{"/etc", "root:"} {
			if strings.Contains(text, p) && !strings.Contains(content+included, p) {
				t.Fatalf("opened something else: %s", text)
			}
		}
		if text, _, err = Canonical("example.org.", "a.zone", text, defaults); err == nil {
			if _, err := Parse("example.org.", text); err != nil {
				t.Fatalf("what was expanded cannot be parsed: %v\n%s", err, text)
			}
		}
	})
}
