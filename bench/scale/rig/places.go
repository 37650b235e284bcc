package rig

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
)

// Places are the folders that a measuring program works with, and which of its parts it is to measure.
type Places struct {
	root, work, bin string
	only            string
}

// Flags adds the flags of a program with that name and those parts.
func (p *Places) Flags(name string, parts []string) {
	flag.StringVar(&p.root, "root", ".", "the repository's `folder`")
	flag.StringVar(&p.work, "work", filepath.Join(os.TempDir(), "gtm-"+name), "`folder` for working files; geography files are kept there for the next run")
	flag.StringVar(&p.bin, "bin", "", "`folder` of gtmd and gtmctl (default: bin in the repository)")
	flag.StringVar(&p.only, "only", strings.Join(parts, ","), "what to measure")
}

// Gtmd is the server that is measured.
func (p *Places) Gtmd() string { return filepath.Join(p.bin, "gtmd") }

// Gtmctl is its client.
func (p *Places) Gtmctl() string { return filepath.Join(p.bin, "gtmctl") }

// Work is the folder for working files.
func (p *Places) Work() string { return p.work }

// Folder gives an empty folder of that name below the work folder.
func (p *Places) Folder(name string) (string, error) {
	dir := filepath.Join(p.work, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// Measure makes the places ready, measures those of the parts that were asked for, and keeps a report under that name.
func (p *Places) Measure(name, title string, parts []string, measure func(part string, to *figures.Report) error) error {
	var err error
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
	report := figures.NewReport(p.root, name, title, time.Now())
	wanted := strings.Split(p.only, ",")
	for _, part := range parts {
		if !slices.Contains(wanted, part) {
			continue
		}
		if err := measure(part, report); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	file, err := report.Save()
	fmt.Println(report.String())
	fmt.Println(file)
	return err
}
