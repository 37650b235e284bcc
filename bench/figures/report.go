package figures

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Report is a page of results in markdown, with its pictures beside it. It is built from top to bottom by one
// goroutine.
type Report struct {
	name  string // in the names of its files
	dir   string
	stamp string // the date in the names of its files
	text  strings.Builder
}

// NewReport begins a report: a title with the date, and a line with the machine, the versions of gtm and Go, and
// the further versions that are given ("knot 3.2.6"). root is the repository's folder; the report's files will be
// bench/results/DATE-name.md and DATE-name*.svg there.
func NewReport(root, name, title string, now time.Time, versions ...string) *Report {
	r := &Report{name: name, dir: filepath.Join(root, "bench", "results"), stamp: now.UTC().Format("2006-01-02-1504")}
	r.Text("# %s, %s", title, now.UTC().Format("2 January 2006, 15:04 UTC"))
	head := append([]string{Machine(), "gtm " + Output("git", "-C", root, "describe", "--always", "--dirty", "--tags")}, versions...)
	r.Text("%s", strings.Join(head, "; "))
	return r
}

// Section begins a section.
func (r *Report) Section(title string) { r.Text("## %s", title) }

// Text adds a paragraph.
func (r *Report) Text(format string, args ...any) {
	if r.text.Len() > 0 {
		r.text.WriteByte('\n')
	}
	fmt.Fprintf(&r.text, format, args...)
	r.text.WriteByte('\n')
}

// Table adds a table. Rows shorter than the head are filled with empty cells.
func (r *Report) Table(head []string, rows [][]string) {
	r.text.WriteByte('\n')
	r.row(head, len(head))
	fmt.Fprintf(&r.text, "|%s\n", strings.Repeat("---|", len(head)))
	for _, row := range rows {
		r.row(row, len(head))
	}
}

func (r *Report) row(cells []string, width int) {
	for i := range width {
		cell := ""
		if i < len(cells) {
			cell = strings.ReplaceAll(cells[i], "|", "\\|")
		}
		fmt.Fprintf(&r.text, "| %s ", cell)
	}
	r.text.WriteString("|\n")
}

// A Ratio is one comparison: two columns that were measured in pairs, and the mark that the lower end of the
// interval is held against. Mark 0 is no mark.
type Ratio struct {
	Of, Over string // what is compared, and with what
	Figure   string // "answers/s"
	Ratios   []float64
	Mark     float64
}

// Met reports whether the whole interval lies on the right side of the mark.
func (r Ratio) Met() bool { return Summarize(r.Ratios).Low >= r.Mark }

// Ratios adds a table of ratios: the median, both ends of the interval, the mark and whether it is met.
func (r *Report) Ratios(ratios []Ratio) {
	var rows [][]string
	for _, ratio := range ratios {
		s := Summarize(ratio.Ratios)
		row := []string{ratio.Of + " / " + ratio.Over, ratio.Figure, fmt.Sprint(s.N), fmt.Sprintf("%.3f", s.Median),
			fmt.Sprintf("%.3f", s.Low), fmt.Sprintf("%.3f", s.High), "", ""}
		if ratio.Mark != 0 {
			row[6] = "at least " + Number(ratio.Mark)
			row[7] = map[bool]string{false: "no", true: "yes"}[ratio.Met()]
		}
		rows = append(rows, row)
	}
	r.Table([]string{"ratio", "of", "pairs", "median", "lower end of 95 %", "upper end", "mark", "met"}, rows)
}

// Picture draws one picture and shows it: draw is given the file's path. part tells pictures of one report apart and
// may be empty where there is only one.
func (r *Report) Picture(part, caption string, draw func(file string) error) error {
	name := r.stamp + "-" + r.name
	if part != "" {
		name += "-" + part
	}
	name += ".svg"
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	if err := draw(filepath.Join(r.dir, name)); err != nil {
		return fmt.Errorf("drawing %s: %w", name, err)
	}
	r.Text("![%s](%s)", caption, name)
	return nil
}

// String is the page so far.
func (r *Report) String() string { return r.text.String() }

// Keep saves the page, prints it and says where it is.
func (r *Report) Keep() error {
	file, err := r.Save()
	if err == nil {
		fmt.Printf("\n%s\n(kept as %s)\n", r, file)
	}
	return err
}

// MarkHead is the head of a table of marks, MarkRow one of its rows: what was measured, and the most that it is to be.
var MarkHead = []string{"what", "measured", "mark", "met"}

// MarkRow is a row of that table. Where the measurement is in doubt, a mark that seems to be met is not.
func MarkRow(what string, measured, most float64, unit, doubt string) []string {
	met := "yes"
	switch {
	case measured > most:
		met = "no"
	case doubt != "":
		met = doubt
	}
	return []string{what, Number(measured) + " " + unit, "at most " + Number(most) + " " + unit, met}
}

// Save writes the page and gives its path.
func (r *Report) Save() (string, error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(r.dir, r.stamp+"-"+r.name+".md")
	return file, os.WriteFile(file, []byte(r.String()), 0o644)
}

// Machine names the processor, the cores, the memory, the kernel and Go's version.
func Machine() string {
	return fmt.Sprintf("%s, %d cores, %s; %s; %s", procField("/proc/cpuinfo", "model name", runtime.GOARCH), runtime.NumCPU(),
		procField("/proc/meminfo", "MemTotal", "memory unknown"), Output("uname", "-sr"), runtime.Version())
}

// Debian names an installed Debian package with its version, "knot 3.2.6-1".
func Debian(name string) string {
	return name + " " + Output("dpkg-query", "-W", "-f", "${Version}", name)
}

// Output is what a command prints, without the last newline, or "unknown".
func Output(name string, args ...string) string {
	text, err := exec.Command(name, args...).Output()
	if err != nil || len(text) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// procField gives the first field of that name in a file of "name: value" lines.
func procField(file, name, otherwise string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return otherwise
	}
	for line := range strings.Lines(string(text)) {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(field) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}
