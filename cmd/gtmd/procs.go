package main

import (
	"os"
	"runtime"
)

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
