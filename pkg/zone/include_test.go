package zone

import (
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
		{"origins come back", "$TTL 60\n$ORIGIN h.example.org.\n@ A 192.0.2.8\n$INCLUDE sub/hosts other.org.\n\tA 192.0.2.9\nc A 192.0.2.10\n",
			"h.example.org.\t60\tIN\tA\t192.0.2.8\na.other.org.\t7\tIN\tA\t192.0.2.1\nb.deep.x.org.\t7\tIN\tA\t192.0.2.3\na.other.org.\t7\tIN\tA\t192.0.2.2\n" +
				"h.example.org.\t60\tIN\tA\t192.0.2.9\nc.h.example.org.\t60\tIN\tA\t192.0.2.10\n", ""},
		{"a loop", "$INCLUDE loop\n", "", "loop:1: too deeply nested $INCLUDE"},
		{"a loop of many ways", "$INCLUDE two\n", "", "two:1: too deeply nested $INCLUDE"},
		{"outside", "a A 192.0.2.1\n$INCLUDE ../../etc/passwd\n", "", "main:2: failed to open"},
		{"absolute", "$INCLUDE /etc/passwd\n", "", "main:1: failed to open"},
		{"missing", "$INCLUDE nothing\n", "", "main:1: failed to open"},
		{"a fault inside", "$INCLUDE bad\n", "", "bad:2: bad A"},
		{"a bad escape inside", "$INCLUDE badescape\n", "", "main:1: failed to open `badescape': badescape:2: a backslash"},
		{"too much", "$INCLUDE huge\n", "", "main:1: failed to open `huge': the included files are larger"},
		{"too much generated", "$INCLUDE generating\n", "", "main: what it includes and generates is larger"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := expand("example.org.", "main", tc.content, folder, most)
			if got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("error %v, want %s...", err, tc.err)
			}
		})
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
		text, err := Expand("example.org.", "a.zone", content, fstest.MapFS{"a.zone": {Data: []byte(content)}, "b.zone": {Data: []byte(included)}})
		if err != nil {
			return
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
