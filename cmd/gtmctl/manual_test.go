package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmctl/manual"
)

var write = flag.Bool("write", false, "write docs/cli.md anew")

const cliHead = `# gtmctl

Made from what the commands say of themselves: ` + "`go test ./cmd/gtmctl -run TestManual -write`" + `. gtmctl help COMMAND says the same;
` + "`make install`" + ` installs it as pages of man(1), with completions for bash, zsh and fish.
`

// TestManual: docs/cli.md says what the commands say of themselves.
func TestManual(t *testing.T) {
	a := &app{world: world{getenv: func(string) string { return "" }}, timeout: 30 * time.Second}
	page := manual.Markdown(a.root(), cliHead)
	const file = "../../docs/cli.md"
	if *write {
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(was) != page {
		t.Error("docs/cli.md is not what gtmctl says: run the test with -write")
	}
	if !strings.Contains(page, "\n### gtmctl explain-field\n") || strings.Contains(page, "__complete") {
		t.Error("the page lacks commands, or has hidden ones")
	}
}

// TestManPages: they are pages that man(1) can show.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	a := &app{world: world{getenv: func(string) string { return "" }}, timeout: 30 * time.Second}
	if err := manual.Man(a.root(), dir, "test"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "gtmctl-get.1"))
	if err != nil || !strings.HasPrefix(string(page), ".nh\n.TH \"GTMCTL-GET\" \"1\"") || !strings.Contains(string(page), "jsonpath") {
		t.Errorf("%v: %s", err, page)
	}
}
