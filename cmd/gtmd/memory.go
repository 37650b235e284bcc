package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// How much the heap may grow between two collections, in percent of what lives. At the start most of what is allocated stays,
// so that collecting often is in vain; with more than this the peak is all that was ever allocated. Later little is allocated: a low
// share keeps memory small, and costs little.
const (
	startGrowth  = 200
	steadyGrowth = 25
	// mostGrowthDuring bounds growthDuring.
	mostGrowthDuring = 1000
)

const (
	// startTime is when what follows the first view is over, but for comparing the store with what the edge has.
	startTime = 3 * time.Second
	// tidyEvery is how often it is checked whether that, or a change, left something behind that can be given back.
	tidyEvery = 10 * time.Second
	// tidyAnyway is how long that waits for a quiet time. Where streams come and go there never is one.
	tidyAnyway = 5 * time.Minute
)

// hurry has the garbage collector wait while the first view is made. Where the environment says how the collector is to work
// (GOGC, GOMEMLIMIT), that holds, and steady does nothing.
func hurry() (steady func(context.Context)) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func(context.Context) {}
	}
	debug.SetGCPercent(startGrowth)
	return func(ctx context.Context) {
		runtime.GC() // first with as much headroom as before
		debug.SetGCPercent(steadyGrowth)
		if !sleep(ctx, startTime) {
			return
		}
		giveBack() // what the start took and does not need any more
		waited := time.Duration(0)
		for was := measureHeap(); sleep(ctx, tidyEvery); {
			waited += tidyEvery
			now := measureHeap()
			if now.tidy(was, waited) {
				giveBack()
				now, waited = measureHeap(), 0
			}
			was = now
		}
	}
}

// relaxed says that giveBack wants more headroom for a while.
var relaxed atomic.Bool

// giveBack collects twice: what lies in a pool for the next user (sync.Pool) goes with the second collection.
func giveBack() {
	relaxed.Store(true)
	defer relaxed.Store(false)
	debug.SetGCPercent(int(measureHeap().growthDuring()))
	runtime.GC()
	debug.FreeOSMemory()
	debug.SetGCPercent(steadyGrowth)
}

// minHeadroomDuring is how many bytes may be allocated at least during a collection that is asked for.
const minHeadroomDuring = 32 << 20

// growthDuring is how much the heap may grow during a collection that is asked for, in percent of what lives. Where the heap is already as
// large as it may become, whoever allocates is made to collect nearly all of it first: a change waited for 0.7 s. But a collection lasts
// long where the processors are busy, and then whoever sends a lot allocates all that is allowed.
func (h heap) growthDuring() uint64 {
	garbage := max(h.objects, h.live) - h.live
	return min(mostGrowthDuring, (garbage+max(minHeadroomDuring, h.live/2))*100/max(h.live, 1))
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// heap is what the runtime tells of it, in bytes.
type heap struct {
	live      uint64 // after the last collection
	objects   uint64 // that, and all that was allocated since
	free      uint64 // held for what comes
	allocated uint64 // ever
}

// What makes tidying worthwhile, and what is quiet: shares of what lives, but never less than some bytes.
const (
	tidyShare, tidyLeast   = 16, 3 << 20
	quietShare, quietLeast = 128, 1 << 20
)

// tidy reports whether there is something to give back, and nothing going on: in the midst of changes the next ones would only
// take it again. before is how it was when last looked; waited is how long nothing has been given back, which is not to last for ever.
func (h heap) tidy(before heap, waited time.Duration) bool {
	left := h.free + max(h.objects, h.live) - h.live
	quiet := h.allocated-before.allocated < max(h.live/quietShare, quietLeast)
	return left > max(h.live/tidyShare, tidyLeast) && (quiet || waited >= tidyAnyway)
}

func measureHeap() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	var v [4]uint64
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			v[i] = s.Value.Uint64()
		}
	}
	return heap{live: v[0], objects: v[1], free: v[2], allocated: v[3]}
}

// minHeadroom is how many bytes may be allocated between two collections of an edge at rest, whatever lives. A new connection of TLS
// leaves some 50 KB of garbage, nearly all of it crypto/tls's: where little lives, a quarter of that would be collected every 50
// connections. It is a fifth of the memory that a small edge may have.
const minHeadroom = 16 << 20

// mostGrowth bounds what minHeadroom can come to, in percent of what lives.
const mostGrowth = 300

// keepHeadroom sees to it after each collection that the next one waits for minHeadroom. To be called once.
func keepHeadroom() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		afterCollection(adjustHeadroom)
	}
}

// afterCollection calls fn after each collection.
func afterCollection(fn func()) {
	type witness struct{ _ *byte } // a pointer, so that it shares its memory with nothing
	runtime.AddCleanup(new(witness), func(fn func()) {
		afterCollection(fn)
		fn()
	}, fn)
}

// adjustHeadroom sets the growth that fits what lives now, unless giveBack wants another one for a while, or it is about right: setting
// it stops everything for a moment.
func adjustHeadroom() {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(samples)
	now, want := samples[1].Value.Uint64(), growthFor(samples[0].Value.Uint64())
	if tooLow, tooHigh := now < want*3/4, now > want*5/4; !relaxed.Load() && (tooLow || tooHigh) {
		debug.SetGCPercent(int(want))
	}
}

// growthFor is how much the heap may grow, in percent of what lives.
func growthFor(live uint64) uint64 {
	return max(steadyGrowth, min(mostGrowth, minHeadroom*100/max(live, 1)))
}

// spareProcs is how many threads more may run Go code at once than there are CPUs and UDP workers.
const spareProcs = 1

// raiseProcs has Go's scheduler run more threads of an edge than there are CPUs, and leaves it to the kernel who gets a CPU. A UDP worker
// keeps its processor of Go's scheduler for as long as it has queries, and a verdict would wait for that. What follows the number of CPUs
// by default must have been decided before. Where the environment says GOMAXPROCS, that holds. See docs/decisions/0085.
func raiseProcs(cfg *config) {
	if cfg.roles[roleEdge] && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), cfg.workers) + spareProcs)
	}
}
