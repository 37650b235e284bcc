package recur

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"sync"
	"time"
)

// zoneinfo is lib/time/zoneinfo.zip of the Go toolchain, which has the IANA database: see make zoneinfo. time.LoadLocation would take
// the machine's own before any that is compiled in.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// files are those of the database by zone.
var files = sync.OnceValue(func() map[string]*zip.File {
	r, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		panic("recur: the time zones that are compiled in cannot be read: " + err.Error())
	}
	byName := make(map[string]*zip.File, len(r.File))
	for _, f := range r.File {
		if !f.FileInfo().IsDir() {
			byName[f.Name] = f
		}
	}
	return byName
})

// read keeps the zones that were read: name to *time.Location.
var read sync.Map

// location gives the zone of an IANA name; empty: UTC.
func location(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if loc, ok := read.Load(name); ok {
		return loc.(*time.Location), nil
	}
	f := files()[name]
	if f == nil {
		return nil, fmt.Errorf("there is no time zone %q; write an IANA name, as in Europe/Berlin, Asia/Shanghai or UTC", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	loc, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil, fmt.Errorf("time zone %s: %w", name, err)
	}
	read.Store(name, loc)
	return loc, nil
}

// Zones gives the names of all zones, in any order.
func Zones() []string {
	names := make([]string, 0, len(files()))
	for name := range files() {
		names = append(names, name)
	}
	return names
}
