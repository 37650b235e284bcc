package edge

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/geo/mapfile"
)

// mapState is what an edge tells of its map files.
type mapState struct {
	files   *geo.FileMaps
	change  mapfile.Change // the last one
	changed time.Time      // zero: none since the start
	fault   string         // why a file is not used as it is; empty: all are
}

// openMaps opens the map files, or what was kept of them; nil: there are none.
func (e *Edge) openMaps() (*geo.FileMaps, []error) {
	if len(e.cfg.MapFiles) == 0 {
		return nil, nil
	}
	files, faults := mapfile.OpenKept(e.geoDir(), e.cfg.MapFiles...)
	return geo.NewFileMaps(files), faults
}

// tellMaps tells what was wrong with map files at the start, and what is used in their place.
func (e *Edge) tellMaps(files *geo.FileMaps, faults []error) {
	e.setMaps(func(s *mapState) { s.files = files })
	for _, err := range faults {
		e.metrics.mapsRefused.Inc()
		e.setMaps(func(s *mapState) { s.fault = err.Error() })
		e.log.Error("a map file is refused", "error", err)
	}
}

// watchMaps takes new map files until ctx ends, as watchGeo does those of geography.
func (e *Edge) watchMaps(ctx context.Context, files *geo.FileMaps) {
	runtime.LockOSThread()
	standBack()
	e.keepMaps(files.Files)
	select {
	case <-e.opened: // then it is known which maps are declared
	case <-ctx.Done():
		return
	}
	e.logMaps(files)
	mapfile.Watch(ctx, files.Files, func(f *mapfile.Files, c mapfile.Change) { e.takeMaps(ctx, f, c) }, e.refuseMaps)
}

func (e *Edge) takeMaps(ctx context.Context, f *mapfile.Files, change mapfile.Change) {
	files := geo.NewFileMaps(f)
	g, took := e.compileBeside(ctx, geoQuestion{files: files})
	if g == nil {
		return
	}
	e.keepMaps(f)
	e.setMaps(func(s *mapState) { *s = mapState{files: files, change: change, changed: e.cfg.Now()} })
	e.metrics.mapChanges.WithLabelValues("added").Add(float64(change.Added))
	e.metrics.mapChanges.WithLabelValues("removed").Add(float64(change.Removed))
	e.metrics.mapChanges.WithLabelValues("renamed").Add(float64(change.Renamed))
	e.log.Info("map files", "change", change.String(), "partitions", g.Partitions(), "compiled", took.Round(time.Millisecond))
	e.logMaps(files)
}

// logMaps tells what the files hold, and which of their names have no effect.
func (e *Edge) logMaps(files *geo.FileMaps) {
	for _, i := range files.Info() {
		e.log.Info("map file", "file", i.File, "networks", i.Networks, "maps", i.Names)
	}
	if names := files.Undeclared(e.view.Load().Maps); len(names) > 0 {
		e.log.Warn("names of map files have no effect: no Map with fromFiles has them", "count", len(names), "examples",
			strings.Join(someNames(names), ", "))
	}
}

// refuseMaps tells of files that cannot be used; nil: they are as those in use again.
func (e *Edge) refuseMaps(err error) {
	if err == nil {
		e.setMaps(func(s *mapState) { s.fault = "" })
		e.log.Info("the map files are as those in use again")
		return
	}
	e.metrics.mapsRefused.Inc()
	e.setMaps(func(s *mapState) { s.fault = err.Error() })
	e.log.Error("a new map file is refused; the old one serves on", "error", err)
}

// keepMaps keeps copies of the map files in use, so that the next start does not depend on what the files are like then.
func (e *Edge) keepMaps(f *mapfile.Files) {
	if err := f.Keep(e.geoDir()); err != nil {
		e.log.Warn("the map files in use have no copy for the next start", "error", err)
	}
}

func (e *Edge) setMaps(change func(*mapState)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.maps)
}

// status brings it into the form of the API, where maps are those that are declared; nil: there are no map files.
func (s *mapState) status(maps []geo.Map) *api.MapFiles {
	if s.files == nil {
		return nil
	}
	out := &api.MapFiles{Fault: s.fault, Networks: s.files.Len(), Added: s.change.Added, Removed: s.change.Removed,
		Renamed: s.change.Renamed, Changed: s.changed}
	for _, i := range s.files.Info() {
		out.Files = append(out.Files, api.MapFile{File: i.File, Networks: i.Networks, Maps: i.Names, SHA256: i.SHA256})
	}
	undeclared := s.files.Undeclared(maps)
	out.Undeclared, out.Examples = len(undeclared), someNames(undeclared)
	return out
}

// someNames shortens a list for people.
func someNames(names []string) []string { return names[:min(len(names), 5)] }
