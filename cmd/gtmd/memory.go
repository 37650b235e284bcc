package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

// How much the heap may grow between two collections, in percent of what lives. At the start nearly all that is allocated stays,
// so that collecting early is in vain. Later little is allocated: a low share keeps memory small, and costs little.
const (
	startGrowth  = 120
	steadyGrowth = 25
	// roomyGrowth holds during a collection that is asked for. It begins with the heap as large as it happens to be, and where that is
	// as large as it may become, whoever allocates is made to collect nearly all of it first: a change waited for 0.7 s.
	roomyGrowth = 1000
)

// settleAfter is when what follows the first view is over: tables that were put off, and then comparing the store with what the
// edge has. What they took is given back, too.
var settleAfter = []time.Duration{3 * time.Second, 30 * time.Second}

// hurry has the garbage collector wait while the first view is made. Where the environment says how the collector is to work
// (GOGC, GOMEMLIMIT), that holds, and settle does nothing.
func hurry() (settle func(context.Context)) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func(context.Context) {}
	}
	debug.SetGCPercent(startGrowth)
	return func(ctx context.Context) {
		for _, wait := range settleAfter {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
			debug.SetGCPercent(roomyGrowth)
			debug.FreeOSMemory() // what the start took and does not need any more
			debug.SetGCPercent(steadyGrowth)
		}
	}
}
