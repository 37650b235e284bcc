package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/control/files"
	"github.com/gti/gtm/pkg/geo/mapfile"
	"github.com/gti/gtm/pkg/spec"
)

func (a *app) checkCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|DIR...",
		Short: "Check files without a server (they must be complete by themselves)",
		Long: `Check files without a server: their form, their meaning, what refers to what, and what apply would refuse or
warn of. The files are taken as all there is, so that a pool whose monitor is declared
elsewhere is a fault; gtmctl diff checks against what a server has.`,
		Example: `  gtmctl check config/
  gtmctl check platform/ shop/`,
		Args: needArgs(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			resources, err := files.Load(args, a.in)
			if err != nil {
				return err
			}
			warnings, err := lawful.Declared(resources)
			warnings.Locate(resources)
			for _, w := range warnings {
				fmt.Fprintf(a.err, "%s: %s\n", a.paint(odd, "warning"), line(w.Error()))
			}
			var faults spec.Errors
			if errors.As(err, &faults) {
				faults.Locate(resources)
				return faults
			}
			a.printf("%s, no faults\n", plural(len(resources), "resource"))
			return nil
		},
	}
}

func (a *app) mapCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "map",
		Short: "Check the files of large maps (no server needed)",
		Args:  a.subcommand,
		RunE:  showHelp,
	}
	c.AddCommand(a.mapCheckCmd())
	return c
}

func (a *app) mapCheckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE...",
		Short: "Check map files before edges get them, and count what they hold",
		Long: `Check map files (gtmd --maps) before edges get them: lines of a network and the name of a map. Several files are checked as
an edge reads them: of equal networks, that of the first file counts. Lines without effect are told, and are no fault.`,
		Example: `  gtmctl map check partners.txt
  gtmctl map check own.txt bought.txt -o json`,
		Args: needArgs(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := mapfile.Check(args...)
			var faults *mapfile.Faults
			if errors.As(err, &faults) {
				return errors.New(faultLines(faults))
			}
			if err != nil {
				return err
			}
			return a.emit(reportOf(report), func() { a.showMapReport(report) })
		},
	}
}

// faultLines tells the faults of a map file, each with its line.
func faultLines(f *mapfile.Faults) string {
	var b strings.Builder
	for _, x := range f.List {
		fmt.Fprintf(&b, "%s:%d: %s\n", x.File, x.Line, x.Text)
	}
	if more := f.Count - len(f.List); more > 0 {
		fmt.Fprintf(&b, "and %s more\n", plural(more, "fault"))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// mapReport is what gtmctl map check tells programs.
type mapReport struct {
	Files []mapFile  `json:"files"`
	Maps  []mapCount `json:"maps"`
	Idle  int        `json:"idle"` // lines without effect
	Lines []idleLine `json:"lines,omitempty"`
}

type mapFile struct {
	File     string `json:"file"`
	Lines    int    `json:"lines"`
	Networks int    `json:"networks"`
	Repeated int    `json:"repeated"`
	SHA256   string `json:"sha256"`
}

type mapCount struct {
	Map      string `json:"map"`
	Networks int    `json:"networks"`
}

type idleLine struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Network string `json:"network"`
	Why     string `json:"why"`
}

func reportOf(r *mapfile.Report) mapReport {
	out := mapReport{Maps: []mapCount{}, Idle: r.Idle}
	for _, f := range r.Files {
		out.Files = append(out.Files, mapFile{f.File, f.Lines, f.Networks, f.Repeated, f.SHA256})
	}
	for _, m := range r.Maps {
		out.Maps = append(out.Maps, mapCount{m.Name, m.Networks})
	}
	for _, i := range r.Examples {
		out.Lines = append(out.Lines, idleLine(i))
	}
	return out
}

func (a *app) showMapReport(r *mapfile.Report) {
	rows := make([][]string, 0, len(r.Maps))
	for _, m := range r.Maps {
		rows = append(rows, []string{m.Name, strconv.Itoa(m.Networks)})
	}
	a.table([]string{"map", "networks"}, rows)
	for _, f := range r.Files {
		a.printf("%s: %s of %s in %s, no faults", f.File, plural(f.Networks, "network"), plural(f.Names, "map"), plural(f.Lines, "line"))
		if f.Repeated > 0 {
			a.printf("; %s said twice", plural(f.Repeated, "network"))
		}
		a.printf("\n")
	}
	for _, i := range r.Examples {
		a.printf("%s %s:%d: %s has no effect: %s\n", a.paint(odd, "i"), i.File, i.Line, i.Network, i.Why)
	}
	if more := r.Idle - len(r.Examples); more > 0 {
		a.printf("%s and %s more without effect\n", a.paint(odd, "i"), plural(more, "line"))
	}
}
