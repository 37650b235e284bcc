package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

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
