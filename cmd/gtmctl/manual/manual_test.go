package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// tree is a program with a group, a command with one below it, and a hidden one.
func tree() *cobra.Command {
	run := func(*cobra.Command, []string) {}
	root := &cobra.Command{Use: "prog", Long: "prog does <things> to *.yaml files.", Run: run}
	root.PersistentFlags().String("server", "here", "where it is")
	root.AddGroup(&cobra.Group{ID: "show", Title: "Show:"})
	get := &cobra.Command{Use: "get NAME", Short: "Get things", Example: "  prog get a\n  prog get b", GroupID: "show", Run: run}
	get.Flags().Bool("all", false, "all of them")
	get.Flags().Bool("secret", false, "not told")
	_ = get.Flags().MarkHidden("secret")
	get.AddCommand(&cobra.Command{Use: "one", Short: "Get one", Run: run})
	root.AddCommand(get, &cobra.Command{Use: "inner", Short: "Hidden", GroupID: "show", Hidden: true, Run: run})
	return root
}

func TestMarkdown(t *testing.T) {
	const want = "# prog\n\nprog does \\<things> to \\*.yaml files.\n\nFlags of all commands:\n\n" +
		"          --server string   where it is (default \"here\")\n" +
		"\n## Show\n\n### prog get\n\nGet things.\n\nFor example:\n\n    prog get a\n    prog get b\n" +
		"\nFlags:\n\n          --all[=true|false]   all of them\n" +
		"\n### prog get one\n\nGet one.\n\n    prog get one\n"
	if got := Markdown(tree(), "# prog\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if err := Man(tree(), dir, "1"); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "prog-get.1"))
	if err != nil || !strings.Contains(string(page), "Get things") || strings.Contains(string(page), "secret") {
		t.Errorf("%v: %s", err, page)
	}
	if _, err := os.Stat(filepath.Join(dir, "prog-inner.1")); err == nil {
		t.Error("a hidden command has a page")
	}
}
