package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

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
