package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
	"github.com/theory/jsonpath"
	"golang.org/x/term"
	"gopkg.in/yaml.v3"
)

// emit prints v for programs, or calls people to print it for people.
func (a *app) emit(v any, people func()) error {
	switch a.output {
	case "json":
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(v); err != nil {
			return err
		}
		_, err := io.WriteString(a.out, escapedJSON(b.String()))
		return err
	case "yaml":
		node, err := yamlOf(v)
		if err != nil {
			return err
		}
		return writeYAML(a.out, node)
	case "jsonpath":
		return a.emitPath(v)
	}
	people()
	return nil
}

// outputs are the forms of what is printed.
const outputs = "table, json, yaml or jsonpath=PATH, and of get name or wide, too"

// takeForm reads --output.
func (a *app) takeForm(c *cobra.Command) error {
	form, path, _ := strings.Cut(a.output, "=")
	get := c.CommandPath() == "gtmctl get"
	switch {
	case form == "jsonpath":
		p, err := jsonpath.Parse(path)
		if err != nil {
			return fmt.Errorf("--output jsonpath=%s: %w; write it as RFC 9535 does, as in jsonpath='$.resources[*].name'", path, err)
		}
		a.output, a.path = form, p
	case a.output == "table" || a.output == "json" || a.output == "yaml" || get && (a.output == "name" || a.output == "wide"):
	case a.output == "name" || a.output == "wide":
		return fmt.Errorf("--output %s is for gtmctl get; of %s it can be table, json, yaml or jsonpath=PATH", a.output, c.CommandPath())
	default:
		return fmt.Errorf("--output %s is not known; it can be %s", a.output, outputs)
	}
	return nil
}

// emitPath prints what a path finds in the JSON of v, each on a line: texts as they are, all else as JSON.
func (a *app) emitPath(v any) error {
	encoded, err := json.Marshal(v)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber() // generations have more digits than a float64
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return err
	}
	var b strings.Builder
	for _, found := range a.path.Select(tree) {
		text, ok := found.(string)
		if !ok {
			part, err := json.Marshal(found)
			if err != nil {
				return err
			}
			text = escapedJSON(string(part))
		}
		b.WriteString(line(text) + "\n")
	}
	_, err = io.WriteString(a.out, b.String())
	return err
}

// yamlOf gives v as YAML with the fields, and their order, of its JSON.
func yamlOf(v any) (*yaml.Node, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(escaped(string(encoded))), node); err != nil { // JSON is YAML, but for some raw characters
		return nil, err
	}
	plain(node)
	return node, nil
}

// plain takes JSON's braces and quotes away; the encoder quotes again what needs it.
func plain(node *yaml.Node) {
	node.Style = 0
	if strings.ContainsFunc(node.Value, unsafe) {
		node.Style = yaml.DoubleQuotedStyle // in which escapes mean what they stand for
	}
	for _, child := range node.Content {
		plain(child)
	}
}

func writeYAML(w io.Writer, node *yaml.Node) error {
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return err
	}
	return encoder.Close()
}

// printf prints; each text among args stays on its line.
func (a *app) printf(format string, args ...any) {
	for i := range args {
		if text, ok := args[i].(string); ok {
			args[i] = line(text)
		}
	}
	fmt.Fprintf(a.out, format, args...)
}

// Colours of states. They are used on a terminal only, and not where NO_COLOR is set.
var (
	good = text.Colors{text.FgGreen}
	bad  = text.Colors{text.FgRed}
	odd  = text.Colors{text.FgYellow}
)

func (a *app) paint(colors text.Colors, s string) string {
	if s == "" || a.getenv("NO_COLOR") != "" || !isTerminal(a.out) {
		return s
	}
	return colour + strings.TrimPrefix(colors.EscapeSeq(), "\x1b[") + s + colour + "0m"
}

// state paints a state by what it means.
func (a *app) state(s string) string {
	switch s {
	case "up", "current", "alive":
		return a.paint(good, s)
	case "down", "refused", "unreachable", "absent":
		return a.paint(bad, s)
	}
	return a.paint(odd, s)
}

// age tells how long ago t was, in at most two units; "" for no time.
func (a *app) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(a.now().Sub(t))
}

// span writes a duration as people say it: 12s, 3m5s, 2h10m, 4d.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < time.Hour:
		d = d.Truncate(time.Second)
	case d < 48*time.Hour:
		d = d.Truncate(time.Minute)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if cut, ok := strings.CutSuffix(s, zero); ok {
			s = cut + zero[:1]
		}
	}
	return s
}

// number writes a weight or a score without useless digits.
func number(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}

// percent writes a share from 0 to 1.
func percent(f float64) string { return number(f*100) + "%" }

// orDash keeps an empty cell visible.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// table prints rows under a header: on a terminal in a frame that is no wider than it is, and to anything else in plain columns, one
// row a line, with two spaces or more between cells and - in empty ones, so that programs can cut them.
func (a *app) table(header []string, rows [][]string) {
	if width := columnsOf(a.out); width > 0 {
		framed(a.out, header, rows, width)
		return
	}
	plainTable(a.out, header, rows)
}

// columnsOf gives a terminal's width; 0: w is none.
func columnsOf(w io.Writer) int {
	file, ok := terminal(w)
	if !ok {
		return 0
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		return width
	}
	return 80 // a terminal that does not tell, as a serial one
}

func framed(w io.Writer, header []string, rows [][]string, width int) {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(cells(header))
	widths := make([]int, len(header))
	for _, r := range append([][]string{header}, rows...) {
		for i, cell := range r {
			widths[i] = max(widths[i], text.StringWidthWithoutEscSequences(cell))
		}
	}
	most := widest(widths, width-3*len(header)-1)
	var columns []table.ColumnConfig
	for i := range header {
		if widths[i] > most {
			columns = append(columns, table.ColumnConfig{Number: i + 1, WidthMax: most, WidthMaxEnforcer: text.WrapSoft})
		}
	}
	t.SetColumnConfigs(columns)
	for _, r := range rows {
		t.AppendRow(cells(r))
	}
	t.Render()
}

// widest gives the most that a column may be wide, so that all of them fit into width; at least 8, where even that does not do.
func widest(widths []int, width int) int {
	const least = 8
	for most := slices.Max(widths); most > least; most-- {
		sum := 0
		for _, w := range widths {
			sum += min(w, most)
		}
		if sum <= width {
			return most
		}
	}
	return least
}

func plainTable(w io.Writer, header []string, rows [][]string) {
	all := make([][]string, 0, len(rows)+1)
	head := make([]string, len(header))
	for i, word := range header {
		head[i] = strings.ToUpper(word)
	}
	for _, r := range append([][]string{head}, rows...) {
		line := make([]string, len(r))
		for i, cell := range r {
			line[i] = orDash(strings.Join(strings.Fields(cell), " ")) // a row is a line
		}
		all = append(all, line)
	}
	widths := make([]int, len(header))
	for _, r := range all {
		for i, cell := range r {
			widths[i] = max(widths[i], text.StringWidthWithoutEscSequences(cell))
		}
	}
	for _, r := range all {
		var b strings.Builder
		for i, cell := range r {
			b.WriteString(cell)
			if i+1 < len(r) {
				b.WriteString(strings.Repeat(" ", widths[i]-text.StringWidthWithoutEscSequences(cell)+2))
			}
		}
		fmt.Fprintln(w, b.String())
	}
}

func cells(words []string) table.Row {
	r := make(table.Row, len(words))
	for i, word := range words {
		r[i] = line(word)
	}
	return r
}

// keeper passes output on and keeps the first error, so that what did not get out is not taken for said.
type keeper struct {
	io.Writer
	err error
}

func (k *keeper) Write(p []byte) (int, error) {
	n, err := k.Writer.Write(p)
	if err != nil && k.err == nil {
		k.err = err
	}
	return n, err
}

func isTerminal(w io.Writer) bool {
	_, is := terminal(w)
	return is
}

// terminal gives the file that w writes to, if that is one.
func terminal(w io.Writer) (*os.File, bool) {
	if s, ok := w.(*screen); ok {
		w = s.raw
	}
	if k, ok := w.(*keeper); ok {
		w = k.Writer
	}
	file, ok := w.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}
