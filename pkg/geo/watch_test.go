package geo

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maxmind/mmdbwriter"
)

// watchedFile is a database file in a folder of its own.
type watchedFile struct {
	t    *testing.T
	name string
}

func (f watchedFile) database(country string) []byte {
	return makeMMDB(f.t, mmdbwriter.Options{},
		[]entry{{netip.MustParsePrefix("192.0.2.0/24"), Place{Continent: continentOf[country], Country: country}}})
}

// replace renames a new file over the old one.
func (f watchedFile) replace(content []byte) {
	if err := os.WriteFile(f.name+".new", content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.name+".new", f.name); err != nil {
		f.t.Fatal(err)
	}
}

// watchLog notes what a watcher tells.
type watchLog struct{ countries, errs []string }

func (l *watchLog) onNew(_ Source, a *Atlas) {
	p, _ := a.Lookup(netip.MustParseAddr("192.0.2.1"))
	l.countries = append(l.countries, p.Country)
}

func (l *watchLog) onErr(_ Source, err error) {
	if err == nil {
		err = errors.New("as before")
	}
	l.errs = append(l.errs, err.Error())
}

// take gives what was told since the last call.
func (l *watchLog) take() string {
	s := strings.Join(append(l.countries, l.errs...), "; ")
	*l = watchLog{}
	return s
}

func TestWatcher(t *testing.T) {
	f := watchedFile{t, filepath.Join(t.TempDir(), "country.mmdb")}
	f.replace(f.database("DE"))
	a, err := Open(f.name)
	if err != nil {
		t.Fatal(err)
	}
	var log watchLog
	w := newWatcher(a, log.onNew, log.onErr)
	steps := []struct {
		name string
		do   func()
		want string // after a poll that sees the change and one that finds it stable
	}{
		{"nothing", func() {}, ""},
		{"replaced", func() { f.replace(f.database("FR")) }, "FR"},
		{"still the same", func() {}, ""},
		{"corrupt", func() { f.replace(f.database("US")[:200]) }, "cannot be used"},
		{"still corrupt", func() {}, ""},
		{"whole again", func() { f.replace(f.database("JP")) }, "JP"},
		{"touched", func() { must(t, os.Chtimes(f.name, time.Time{}, time.Unix(1, 0))) }, ""},
		{"gone", func() { must(t, os.Remove(f.name)) }, "no such file"},
		{"still gone", func() {}, ""},
		{"back with what it had", func() { f.replace(f.database("JP")) }, "as before"},
		{"touched again", func() { must(t, os.Chtimes(f.name, time.Time{}, time.Unix(2, 0))) }, ""},
		{"back with another", func() { f.replace(f.database("DE")) }, "DE"},
	}
	for _, step := range steps {
		step.do()
		w.poll()
		w.poll()
		if got := log.take(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("%s: told %q; want %q", step.name, got, step.want)
		}
	}
}

// TestWatcherWaits has a file that is still being written.
func TestWatcherWaits(t *testing.T) {
	f := watchedFile{t, filepath.Join(t.TempDir(), "country.mmdb")}
	f.replace(f.database("DE"))
	a, err := Open(f.name)
	if err != nil {
		t.Fatal(err)
	}
	var log watchLog
	w := newWatcher(a, log.onNew, log.onErr)
	content := f.database("FR")
	for _, n := range []int{100, 200, 300, len(content)} {
		must(t, os.WriteFile(f.name, content[:n], 0o600))
		w.poll()
		if got := log.take(); got != "" {
			t.Errorf("after %d bytes: told %q", n, got)
		}
	}
	w.poll()
	if got := log.take(); got != "FR" {
		t.Errorf("when it is whole: told %q", got)
	}
}

func TestWatch(t *testing.T) {
	f := watchedFile{t, filepath.Join(t.TempDir(), "country.mmdb")}
	f.replace(f.database("DE"))
	a, err := Open(f.name)
	if err != nil {
		t.Fatal(err)
	}
	f.replace(f.database("FR")) // between Open and Watch
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var log watchLog
		Watch(ctx, a, func(s Source, a *Atlas) { log.onNew(s, a); cancel() }, log.onErr)
		if got := log.take(); got != "FR" {
			t.Errorf("told %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var log watchLog
		Watch(ctx, builtinAtlas(t), log.onNew, log.onErr)
		if got := log.take(); got != "" {
			t.Errorf("the built-in database told %q", got)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
