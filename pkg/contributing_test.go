package pkg_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestContributingNamesWhatIsThere looks for each function that docs/contributing.md names, in the file that it names.
func TestContributingNamesWhatIsThere(t *testing.T) {
	doc, err := os.ReadFile("../docs/contributing.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\|[^|]+\\| `([^`]+\\.go)` \\| `([^`]+)` \\|$").FindAllStringSubmatch(string(doc), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d functions: are the tables written otherwise?", len(rows))
	}
	for _, row := range rows {
		file, function := row[1], row[2]
		source, err := os.ReadFile("../" + file)
		if err != nil {
			t.Error(err)
			continue
		}
		start := `func ` + function
		if receiver, method, ok := strings.Cut(function, "."); ok {
			start = fmt.Sprintf(`func \(\w+ \*?%s\) %s`, receiver, method)
		}
		if !regexp.MustCompile(`(?m)^` + start + `\(`).Match(source) {
			t.Errorf("%s has no %s", file, function)
		}
	}
}
