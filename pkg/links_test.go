package pkg_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkForm    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingForm = regexp.MustCompile(`(?m)^#+ (.*)$`)
	recordForm  = regexp.MustCompile(`docs/decisions/([0-9]{4})`)
)

// Records were removed, and renamed, while comments and pages went on naming them.
func TestReferencesLeadSomewhere(t *testing.T) {
	links, records := 0, 0
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); len(name) > 2 && name[0] == '.' || name == "testdata" {
				return filepath.SkipDir
			}
			return nil
		}
		switch filepath.Ext(file) {
		case ".md":
			links += checkLinks(t, file)
		case ".go":
			records += checkRecords(t, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links < 100 || records < 3 {
		t.Errorf("only %d links and %d names of records were found", links, records)
	}
}

// checkLinks follows a page's links to other pages here and to their headings, and tells how many there are.
func checkLinks(t *testing.T, page string) (n int) {
	for _, m := range linkForm.FindAllStringSubmatch(textOf(t, page), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		n++
		to, heading, _ := strings.Cut(m[1], "#")
		if to == "" {
			to = filepath.Base(page)
		}
		to = filepath.Join(filepath.Dir(page), to)
		if _, err := os.Stat(to); err != nil {
			t.Errorf("%s links to %s, which is not there", page, m[1])
		} else if heading != "" && !hasHeading(textOf(t, to), heading) {
			t.Errorf("%s links to %s, and that page has no such heading", page, m[1])
		}
	}
	return n
}

// checkRecords looks for the records of decisions that a file of code names, and tells how many those are.
func checkRecords(t *testing.T, file string) (n int) {
	for _, m := range recordForm.FindAllStringSubmatch(textOf(t, file), -1) {
		n++
		if found, _ := filepath.Glob("../docs/decisions/" + m[1] + "-*.md"); len(found) != 1 {
			t.Errorf("%s names record %s of docs/decisions, which is not there", file, m[1])
		}
	}
	return n
}

// hasHeading reports whether a page has a heading to which the anchor leads, as the usual forges make anchors of headings.
func hasHeading(page, anchor string) bool {
	for _, m := range headingForm.FindAllStringSubmatch(page, -1) {
		if regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ReplaceAll(strings.ToLower(m[1]), " ", "-"), "") == anchor {
			return true
		}
	}
	return false
}

func textOf(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
