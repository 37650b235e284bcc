// Package fields explains the fields of resources: what the types of pkg/spec have, in the words of the tables of docs/resources.md.
package fields

import (
	"regexp"
	"slices"
	"strings"
)

// section is what the page says of a kind.
type section struct {
	example string
	text    string
	tables  []table
}

// table describes fields of one type.
type table struct {
	rows map[string]row // by field, as in dnssec.algorithm
}

// row is what a table says of a field.
type row struct{ meaning, standard, limits string }

// read takes the page apart, by the first word of each of its second-level headings.
func read(page string) map[string]*section {
	all := map[string]*section{}
	for _, part := range strings.Split(page, "\n## ")[1:] {
		heading, body, _ := strings.Cut(part, "\n")
		name, _, _ := strings.Cut(heading, " ")
		s := &section{text: body}
		if _, rest, ok := strings.Cut(body, "```yaml\n"); ok {
			s.example, _, _ = strings.Cut(rest, "```")
			s.example, _, _ = strings.Cut(s.example, "---\n")
		}
		s.tables = tablesOf(body)
		all[name] = s
	}
	return all
}

func tablesOf(body string) (all []table) {
	var now *table
	var head []string
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			now = nil
			continue
		}
		cells := cellsOf(line)
		switch {
		case now == nil && strings.HasPrefix(cells[0], "field"):
			all = append(all, table{rows: map[string]row{}})
			now, head = &all[len(all)-1], cells
		case now == nil || strings.HasPrefix(cells[0], "---"):
		default:
			for _, found := range code.FindAllStringSubmatch(cells[0], -1) {
				now.rows[found[1]] = rowOf(head, cells)
			}
		}
	}
	return all
}

var code = regexp.MustCompile("`([^`]+)`")

// cellsOf cuts a line of a table. A bar of a cell's text is written \|.
func cellsOf(line string) []string {
	line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00")
	cells := strings.Split(line, "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
	}
	return cells
}

func rowOf(head, cells []string) (r row) {
	for i, name := range head[:min(len(head), len(cells))] {
		text := plain(cells[i])
		switch {
		case i == 0:
		case name == "default":
			r.standard = text
		case name == "limits":
			r.limits = text
		default:
			r.meaning = text
		}
	}
	return r
}

var link = regexp.MustCompile(`\[([^\]]+)\]\([^)]*\)`)

// plain takes Markdown's links and backticks away.
func plain(text string) string { return strings.ReplaceAll(link.ReplaceAllString(text, "$1"), "`", "") }

// of finds what the section says of a field, whose path from the spec is given, of a type that has the fields given. The same name can
// stand in several tables: that with the whole path comes first, and else that which has most of the type's fields.
func (s *section) of(path []string, siblings []string) (row, bool) {
	for i := range len(path) - 1 {
		for _, t := range s.tables {
			if r, ok := t.rows[strings.Join(path[i:], ".")]; ok {
				return r, true
			}
		}
	}
	name := path[len(path)-1]
	best, most := row{}, 0
	for _, t := range s.tables {
		r, ok := t.rows[name]
		if n := t.common(siblings); ok && n > most {
			best, most = r, n
		}
	}
	return best, most > 0
}

func (t *table) common(names []string) (n int) {
	for name := range t.rows {
		if slices.Contains(names, name) {
			n++
		}
	}
	return n
}
