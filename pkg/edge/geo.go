package edge

import (
	"context"
	"path/filepath"
	"runtime"
	"sync"
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

// watchGeo takes new files of geography and latency until ctx ends. They are walked, and their partitions compiled, in this goroutine, so
// that the compiling one goes on with other news. It has a thread of its own, which ends with it and stands back behind those that answer.
func (e *Edge) watchGeo(ctx context.Context, atlas *geo.Atlas) {
	runtime.LockOSThread()
	standBack()
	e.keepGeo(atlas)
	geo.Watch(ctx, atlas, func(s geo.Source, a *geo.Atlas) { e.takeGeo(ctx, s, a) }, e.refuseGeo)
}

// nicer is by how much: beside a busy UDP worker, a tenth of a CPU is left.
const nicer = 10

// standBack lowers the calling thread's priority.
func standBack() {
	if left, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil { // on Linux 20 less the nice value
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(19, 20-left+nicer)) // it can't be refused, and would do no harm if it were
	}
}

func (e *Edge) takeGeo(ctx context.Context, source geo.Source, a *geo.Atlas) {
	g, compiled := e.compileBeside(ctx, geoQuestion{atlas: a})
	if g == nil {
		return
	}
	e.keepGeo(a)
	e.setGeoFault(source, "")
	infos, opened := a.Info(), a.OpenedIn()
	if source == geo.LatencySource {
		infos, opened = []geo.Info{a.Latency().Info()}, a.Latency().OpenedIn()
	}
	e.metrics.files[source].opened.Observe(opened.Seconds())
	e.metrics.files[source].compiled.Observe(compiled.Seconds())
	for _, i := range infos {
		e.log.Info(source.String(), "file", i.File, "type", i.Type, "built", i.Built, "networks", i.Networks)
	}
	e.log.Info(source.String(), "opened", opened.Round(time.Millisecond), "partitions", g.Partitions(), "compiled",
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
func (e *Edge) refuseGeo(source geo.Source, err error) {
	if err == nil {
		e.setGeoFault(source, "")
		e.log.Info("the " + source.String() + " files are as those in use again")
		return
	}
	e.metrics.files[source].refused.Inc()
	e.setGeoFault(source, err.Error())
	e.log.Error("a new "+source.String()+" file is refused; the old one serves on", "error", err)
}

// fileFaults tell, by source, what was wrong with files at the start, and what is used in their place.
type fileFaults [2][]error

// without gives the faults of a source of which nothing is used, nil where there are none.
func (f *fileFaults) without(a *geo.Atlas) []error {
	var errs []error
	if a.Builtin() {
		errs = append(errs, f[geo.Geography]...)
	}
	if t := a.Latency(); t != nil && t.Empty() {
		errs = append(errs, f[geo.LatencySource]...)
	}
	return errs
}

// openGeo opens the files of geography and latency, or what was kept of them.
func (e *Edge) openGeo() (a *geo.Atlas, faults fileFaults) {
	var t *geo.LatencyTable
	var opening sync.WaitGroup
	if e.cfg.LatencyFile != "" {
		opening.Go(func() {
			var err error
			if t, err = geo.OpenKeptLatency(e.geoDir(), e.cfg.LatencyFile); err != nil {
				faults[geo.LatencySource] = []error{err}
			}
		})
	}
	a, faults[geo.Geography] = geo.OpenKept(e.geoDir(), e.cfg.GeoFiles...)
	opening.Wait()
	if t != nil {
		a = a.WithLatency(t)
	}
	return a, faults
}

// tellGeo tells what was wrong with files at the start.
func (e *Edge) tellGeo(faults fileFaults) {
	for s := range faults {
		source := geo.Source(s)
		for _, err := range faults[s] {
			e.metrics.files[source].refused.Inc()
			e.setGeoFault(source, err.Error())
			e.log.Error("a "+source.String()+" file is refused", "error", err)
		}
	}
}

// keepGeo keeps copies of the files in use, so that the next start does not depend on what the files are like then.
func (e *Edge) keepGeo(a *geo.Atlas) {
	if err := a.Keep(e.geoDir()); err != nil {
		e.log.Warn("the files of geography or latency in use have no copy for the next start", "error", err)
	}
}

func (e *Edge) geoDir() string { return filepath.Join(e.cfg.Dir, "geo") }

func (e *Edge) setGeoFault(source geo.Source, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults[source] = text
}
