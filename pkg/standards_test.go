package pkg_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	standardsRow  = regexp.MustCompile(`^\| ([0-9, ]+) \| (.+) \| (.*) \|$`)
	standardsTest = regexp.MustCompile("`([a-z]+)\\.((?:Test|Fuzz)\\w+)`")
	testFunc      = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// testNames gives all tests of the module, as the last folder and the name.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	house := os.DirFS("..")
	for _, top := range []string{"pkg", "cmd"} {
		err := fs.WalkDir(house, top, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(house, file)
			for _, m := range testFunc.FindAllSubmatch(text, -1) {
				names[path.Base(path.Dir(file))+"."+string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// Every test that docs/security.md names exists.
func TestSecurityIsShown(t *testing.T) {
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for name := range testNames(t) {
		_, test, _ := strings.Cut(name, ".")
		there[test] = true
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 10 {
		t.Errorf("docs/security.md names only %d tests", len(named))
	}
	for _, m := range named {
		if !there[m[1]] {
			t.Errorf("docs/security.md names %s, which is not there: correct the page, or bring the test back", m[1])
		}
	}
}

// Every test that docs/standards.md names exists, and every row names one, unless it says what is left out.
func TestStandardsAreShown(t *testing.T) {
	page, err := os.ReadFile("../docs/standards.md")
	if err != nil {
		t.Fatal(err)
	}
	names, rows := testNames(t), 0
	for line := range strings.Lines(string(page)) {
		named := standardsTest.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if !names[m[1]+"."+m[2]] {
				t.Errorf("docs/standards.md names %s.%s, which is not there: correct the page, or bring the test back", m[1], m[2])
			}
		}
		row := standardsRow.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			continue
		}
		if rows++; len(named) == 0 && !strings.HasPrefix(row[2], "Left out:") {
			t.Errorf("docs/standards.md says of RFC %s what nothing shows: name a test", row[1])
		}
	}
	if rows < 40 {
		t.Errorf("only %d rows of docs/standards.md were understood", rows)
	}
}
