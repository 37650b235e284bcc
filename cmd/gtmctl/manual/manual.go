// Package manual writes what commands say of themselves as pages: docs/cli.md, and pages of man(1).
package manual

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// width is that of the lines of flags.
const width = 130

// Markdown is the page of all commands below root, in the order of its help. head stands above it.
func Markdown(root *cobra.Command, head string) string {
	var b strings.Builder
	b.WriteString(head)
	fmt.Fprintf(&b, "\n%s\n", text(root))
	flags(&b, "Flags of all commands:", root.PersistentFlags())
	for _, group := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(group.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == group.ID && c.IsAvailableCommand() {
				command(&b, c)
			}
		}
	}
	return b.String()
}

// command writes a command, and those below it.
func command(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n", c.CommandPath(), text(c))
	if c.Runnable() && !c.HasAvailableSubCommands() {
		fmt.Fprintf(b, "\n    %s\n", c.UseLine())
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n%s\n", indented(strings.Trim(c.Example, "\n"), "  "))
	}
	flags(b, "Flags:", c.LocalFlags())
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			command(b, sub)
		}
	}
}

// text is what a command says of itself, which is plain text but for what Markdown would take for its own.
func text(c *cobra.Command) string {
	said := c.Long
	if said == "" {
		said = c.Short + "."
	}
	return strings.NewReplacer("<", `\<`, "*", `\*`).Replace(strings.TrimSpace(said))
}

func flags(b *strings.Builder, title string, all *pflag.FlagSet) {
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	all.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden {
			shown.AddFlag(f)
		}
	})
	if shown.HasFlags() {
		fmt.Fprintf(b, "\n%s\n\n%s", title, indented(strings.Trim(shown.FlagUsagesWrapped(width), "\n"), "")+"\n")
	}
}

// indented has each line begin with four spaces at least, in the place of those given.
func indented(said, instead string) string {
	var b strings.Builder
	for line := range strings.Lines(said) {
		b.WriteString(strings.TrimRight("    "+strings.TrimPrefix(line, instead), " \n") + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Man writes a page of man(1) for each command into a folder, which is made.
func Man(root *cobra.Command, dir, version string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true // no date: equal programs have equal pages
	return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "gtm " + version, Manual: "gtm"}, dir)
}
