package edge

import (
	"context"
	"runtime"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table"
)

// geoQuestion asks the compiling goroutine what it will want of a new atlas.
type geoQuestion struct {
	atlas  *geo.Atlas
	answer chan *table.Geography // with room for it
}

// watchGeo takes new geography files until ctx ends. They are walked, and their partitions compiled, in this goroutine, so that the
// compiling one goes on with other news. It has a thread of its own, which ends with it and stands back behind those that answer.
func (e *Edge) watchGeo(ctx context.Context, atlas *geo.Atlas) {
	runtime.LockOSThread()
	standBack()
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
	q := geoQuestion{a, make(chan *table.Geography, 1)}
	var g *table.Geography
	select {
	case e.geoAsked <- q:
		g = <-q.answer
	case <-ctx.Done():
		return
	}
	begun := e.cfg.Now()
	g.Compile(ctx)
	compiled := e.cfg.Now().Sub(begun)
	if e.tell(ctx, news{geography: g}) != nil {
		return
	}
	e.metrics.geoOpened.Observe(a.OpenedIn().Seconds())
	e.metrics.geoCompiled.Observe(compiled.Seconds())
	for _, i := range a.Info() {
		e.log.Info("geography", "file", i.File, "type", i.Type, "built", i.Built, "networks", i.Networks)
	}
	e.log.Info("geography", "opened", a.OpenedIn().Round(time.Millisecond), "partitions", g.Partitions(), "compiled", compiled.Round(time.Millisecond))
}

func (e *Edge) refuseGeo(err error) {
	e.metrics.geoRefused.Inc()
	e.log.Error("a new geography file is refused; the old one serves on", "error", err)
}
