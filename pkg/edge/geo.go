package edge

import (
	"context"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table/compile"
)

// geoQuestion asks the compiling goroutine what it will want of a new atlas.
type geoQuestion struct {
	atlas  *geo.Atlas
	files  *geo.FileMaps           // or, if not nil, of new map files
	answer chan *compile.Geography // with room for it
}

// watchGeo takes new geography files until ctx ends. They are walked, and their partitions compiled, in this goroutine, so that the
// compiling one goes on with other news. It has a thread of its own, which ends with it and stands back behind those that answer.
func (e *Edge) watchGeo(ctx context.Context, atlas *geo.Atlas) {
	runtime.LockOSThread()
	standBack()
	e.keepGeo(atlas)
	geo.Watch(ctx, atlas, func(a *geo.Atlas) { e.takeGeo(ctx, a) }, e.refuseGeo)
}

// nicer is by how much: beside a busy UDP worker, a tenth of a CPU is left.
const nicer = 10

// standBack lowers the calling thread's priority.
func standBack() {
	if left, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil { // on Linux 20 less the nice value
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(19, 20-left+nicer)) // it can't be refused, and would do no harm if it were
	}
}

func (e *Edge) takeGeo(ctx context.Context, a *geo.Atlas) {
	g, compiled := e.compileBeside(ctx, geoQuestion{atlas: a})
	if g == nil {
		return
	}
	e.keepGeo(a)
	e.setGeoFault("")
	e.metrics.geoOpened.Observe(a.OpenedIn().Seconds())
	e.metrics.geoCompiled.Observe(compiled.Seconds())
	for _, i := range a.Info() {
		e.log.Info("geography", "file", i.File, "type", i.Type, "built", i.Built, "networks", i.Networks)
	}
	e.log.Info("geography", "opened", a.OpenedIn().Round(time.Millisecond), "partitions", g.Partitions(), "compiled",
		compiled.Round(time.Millisecond))
}

// compileBeside compiles what is wanted of new files in this goroutine, and tells the compiling one. It gives nil if ctx ends.
func (e *Edge) compileBeside(ctx context.Context, q geoQuestion) (g *compile.Geography, took time.Duration) {
	q.answer = make(chan *compile.Geography, 1)
	select {
	case e.geoAsked <- q:
		g = <-q.answer
	case <-ctx.Done():
		return nil, 0
	}
	begun := e.cfg.Now()
	g.Compile(ctx)
	took = e.cfg.Now().Sub(begun)
	if e.tell(ctx, news{geography: g}) != nil {
		return nil, 0
	}
	return g, took
}

// of lists what is wanted.
func (q *geoQuestion) of(c *compile.Compiler) *compile.Geography {
	if q.files != nil {
		return c.FileMaps(q.files)
	}
	return c.Geography(q.atlas)
}

// refuseGeo tells of files that cannot be used; nil: they are as those in use again.
func (e *Edge) refuseGeo(err error) {
	if err == nil {
		e.setGeoFault("")
		e.log.Info("the geography files are as those in use again")
		return
	}
	e.metrics.geoRefused.Inc()
	e.setGeoFault(err.Error())
	e.log.Error("a new geography file is refused; the old one serves on", "error", err)
}

// openGeo opens the geography files, or what was kept of them.
func (e *Edge) openGeo() (*geo.Atlas, []error) {
	return geo.OpenKept(e.geoDir(), e.cfg.GeoFiles...)
}

// tellGeo tells what was wrong with geography files at the start, and what is used in their place.
func (e *Edge) tellGeo(faults []error) {
	for _, err := range faults {
		e.metrics.geoRefused.Inc()
		e.setGeoFault(err.Error())
		e.log.Error("a geography file is refused", "error", err)
	}
}

// keepGeo keeps copies of the geography files in use, so that the next start does not depend on what the files are like then.
func (e *Edge) keepGeo(a *geo.Atlas) {
	if err := a.Keep(e.geoDir()); err != nil {
		e.log.Warn("the geography files in use have no copy for the next start", "error", err)
	}
}

func (e *Edge) geoDir() string { return filepath.Join(e.cfg.Dir, "geo") }

func (e *Edge) setGeoFault(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.geoFault = text
}
