package zone

import (
	"fmt"
	"strings"
	"testing"
)

// Only the first fault of a zone's content was told.
func TestEveryFaultOfTheContentIsTold(t *testing.T) {
	for _, tc := range []struct {
		name, content string
		lines         []int
	}{
		{"one after the other", head + "a A 192.0.2.999\nb A x\nc A 192.0.2.1\nd BOGUS x\n", []int{4, 5, 7}},
		{"a blank owner behind a fault", head + "a A 192.0.2.999\n A 192.0.2.1\n\tA 192.0.2.300\n", []int{4, 6}},
		{"many lines", head + "a TXT ( \"x;(\" ; \"(\n y\n z ) w ( \"1\n2\"\n) \\)\nb MX ( x\n a\n )\nc A 1\nd A 192.0.2.1\n",
			[]int{10, 12}},
		{"data is missing", head + "a MX\nb A 192.0.2.1\nc MX 10\nd SRV 1 2\n", []int{4, 6, 7}},
		{"directives", head + "$ORIGIN a..b\n$TTL x\n$INCLUDE /etc/passwd\n$NONE\n$GENERATE 1-x a A 192.0.2.1\na A 1\n",
			[]int{4, 5, 6, 7, 8, 9}},
		{"escapes too", head + "a TXT \\25\nb A 1\nc TXT \\3\n", []int{4, 5, 6}},
		{"at the end", head + "a A 1\nb A", []int{4, 5}},
		{"a parenthesis that stays open", head + "a A 1\nb TXT ( x\nc A 1\n", []int{4, 6}},
		{"one that was none", head + "a A 1\nb TXT x )\nc A 1\n", []int{4, 5, 6}},
		{"in the first record", "x A 1\n" + head + "a A 1\n", []int{1, 5}},
		{"checks beside what is missing", "ns A 192.0.2.1\na.other. A 192.0.2.1\nb CNAME x\nb A 192.0.2.1\n", []int{0, 0, 2, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Canonical("example.org.", "f", tc.content, Defaults{})
			problems, _ := err.(Problems)
			var lines []int
			for _, p := range problems {
				lines = append(lines, p.Line)
			}
			if fmt.Sprint(lines) != fmt.Sprint(tc.lines) {
				t.Errorf("got lines %v, want %v:\n%v", lines, tc.lines, err)
			}
		})
	}
}

// Lists had no end: a file of faults made one of its own size.
func TestLongListsOfFaultsAreCutAndSaySo(t *testing.T) {
	for name, tc := range map[string]struct{ line, last string }{
		"syntax":  {"a A 1\n", ""}, // reading ends there
		"checks":  {"x%d.other. A 192.0.2.1\n", "f: and 150 more of these"},
		"doubts":  {"a%d NS b%[1]d\n", "f: and 150 more of these"},
		"escapes": {"a TXT \\3\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			content := head
			for i := range 250 {
				content += strings.ReplaceAll(strings.ReplaceAll(tc.line, "%[1]d", fmt.Sprint(i)), "%d", fmt.Sprint(i))
			}
			_, warnings, err := Canonical("example.org.", "f", content, Defaults{})
			problems, _ := err.(Problems)
			if name == "doubts" {
				problems = warnings
			}
			if n := len(problems); n < maxProblems || n > maxProblems+1 {
				t.Fatalf("%d problems", n)
			}
			if last := problems[len(problems)-1].String(); tc.last != "" && last != tc.last || tc.last == "" &&
				!strings.Contains(last, "more") {
				t.Errorf("the list ends with %s", last)
			}
		})
	}
}

// A file that is no master file was quoted: its first word, which may be a token.
func TestFilesThatAreNoMasterFilesAreNotQuoted(t *testing.T) {
	for name, content := range map[string]string{
		"a token": "s3cr3t\n", "without an end": "s3cr3t", "pairs": "KEY=s3cr3t\nOTHER=s3cr3t\n",
		"words":  "password s3cr3t\nlogin s3cr3t s3cr3t\n",
		"a type": "x A s3cr3t\n", "yaml": "keys:\n- name: s3cr3t\n  secret: \"s3cr3t\"\n", "a number": "1 2 s3cr3t\n",
		"an escape": `s3cr3t\1`,
		"class":     "x IN s3cr3t y\n", "directive": "$TTL s3cr3t\n$ORIGIN s3cr3t..\n", "generate": "$GENERATE s3cr3t x A 192.0.2.1\n",
		"PEM": "-----BEGIN s3cr3t-----\ns3cr3t+/=\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Canonical("example.org.", "f", content, Defaults{})
			if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzFaults: reading goes on behind faults, ends, and tells lines of the content in their order.
func FuzzFaults(f *testing.F) {
	f.Add("a A 1\n b A 1\n(\n")
	f.Add("\"\n\\\n;(\n)\n$ORIGIN x\n @ A 1")
	f.Fuzz(func(t *testing.T, content string) {
		if len(content) > 2000 || strings.Contains(content, "GENERATE") && len(content) > 200 {
			return
		}
		rrs, problems := read("example.org.", "f", content, 1<<20)
		if len(problems) > 0 && rrs != nil || len(problems) > maxProblems+1 {
			t.Fatalf("%d records and %d problems", len(rrs), len(problems))
		}
		last := 0
		for _, p := range problems {
			if p.Line < last || p.Line > strings.Count(content, "\n")+2 {
				t.Fatalf("line %d behind %d:\n%v", p.Line, last, problems)
			}
			last = p.Line
		}
	})
}
