package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/program"
)

// Places are the folders that a measuring program works with, which of its parts it is to measure, and how long it may take.
type Places struct {
	root, work, bin string
	only, env       string
	most            time.Duration
	until           time.Time       // when the part at hand is to be over
	made            map[string]bool // folders that Folder gave, also to a copy of this
}

// Flags adds the flags of a program with that name and those parts, which takes so long at most unless the command line says otherwise.
func (p *Places) Flags(name string, parts []string, most time.Duration) {
	p.made = map[string]bool{}
	flag.StringVar(&p.root, "root", "..", "the repository's `folder`")
	flag.StringVar(&p.work, "work", filepath.Join(os.TempDir(), "gtm-"+name),
		"`folder` for working files; geography files stay there for the next run, and what failed, with its logs")
	flag.StringVar(&p.bin, "bin", "", "`folder` of gtmd and gtmctl (default: bin in the repository)")
	flag.StringVar(&p.only, "only", strings.Join(parts, ","), "the `parts` to measure")
	flag.StringVar(&p.env, "env", "", "further environment of every gtmd, as in GOMAXPROCS=2 GODEBUG=gctrace=1")
	flag.DurationVar(&p.most, "most", most, "how `long` all may take; what would take longer has fewer rounds, or is left out")
}

// Gtmd is the server that is measured.
func (p *Places) Gtmd() string { return filepath.Join(p.bin, "gtmd") }

// Gtmctl is its client.
func (p *Places) Gtmctl() string { return filepath.Join(p.bin, "gtmctl") }

// Work is the folder for working files.
func (p *Places) Work() string { return p.work }

// Left is how much time the part that is being measured has left: what the parts before left over is shared by those that follow.
func (p *Places) Left() time.Duration { return time.Until(p.until) }

// Folder gives an empty folder of that name below the work folder.
func (p *Places) Folder(name string) (string, error) {
	dir := filepath.Join(p.work, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	p.made[dir] = true
	return dir, os.MkdirAll(dir, 0o700)
}

// clear removes the folders that Folder gave, and the work folder where nothing is left in it.
func (p *Places) clear() error {
	var all error
	for dir := range p.made {
		all = errors.Join(all, os.RemoveAll(dir))
	}
	_ = os.Remove(p.work) // which fails where geography files are in it
	return all
}

// Measure makes the places ready, measures those of the parts that were asked for, and keeps a report under that name. The
// folders that Folder gave go, unless something failed: their logs tell what. Once ctx has ended, whatever fails does so for that.
func (p *Places) Measure(ctx context.Context, name, title string, parts []string, measure func(part string, to *figures.Report) error) (
	err error) {
	if flag.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only (-help)", flag.Arg(0))
	}
	wanted, err := program.Choose(p.only, parts)
	if err != nil {
		return err
	}
	parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool { return !slices.Contains(wanted, part) })
	if err := program.Root("threads that go before others"); err != nil {
		return err
	}
	if p.root, err = filepath.Abs(p.root); err != nil {
		return err
	}
	if p.bin == "" {
		p.bin = filepath.Join(p.root, "bin")
	}
	if p.work, err = filepath.Abs(p.work); err != nil {
		return err
	}
	if err := os.MkdirAll(p.work, 0o755); err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err == nil || ctx.Err() != nil {
			err = errors.Join(err, p.clear())
		}
	}()
	began := time.Now()
	report := figures.NewReport(p.root, name, title, began)
	for i, part := range parts {
		p.until = time.Now().Add(time.Until(began.Add(p.most)) / time.Duration(len(parts)-i))
		if err := measure(part, report); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		if ctx.Err() != nil { // what was cut short is not reported
			return ctx.Err()
		}
	}
	report.Text("All of it took %s.", time.Since(began).Round(time.Second))
	return report.Keep()
}
