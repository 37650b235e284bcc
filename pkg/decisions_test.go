package pkg_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The index of decisions was kept by hand: two titles were not those of their records, and nothing would have told of a record that was
// missing or stood there twice.
func TestEveryDecisionIsListedOnce(t *testing.T) {
	index, err := os.ReadFile("../docs/decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^- \[(.*)\]\(([^)]*)\)`).FindAllStringSubmatch(string(index), -1) {
		if _, ok := listed[m[2]]; ok {
			t.Errorf("%s is listed twice", m[2])
		}
		listed[m[2]] = m[1]
	}
	files, err := filepath.Glob("../docs/decisions/[0-9]*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no records: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		if got, ok := listed[name]; !ok || got != title {
			t.Errorf("%s is listed as %q, and its title is %q", name, got, title)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is listed, and there is no such record", name)
	}
}
