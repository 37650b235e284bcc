package main

import (
	"os"
	"runtime/debug"
)

// How much the heap may grow between two collections, in percent of what lives. At the start nearly all that is allocated stays,
// so that collecting early is in vain. Later little is allocated: a low share keeps memory small, and costs little.
const (
	startGrowth  = 120
	steadyGrowth = 25
)

// hurry has the garbage collector wait while the first view is made. Where the environment says how the collector is to work
// (GOGC, GOMEMLIMIT), that holds, and settle does nothing.
func hurry() (settle func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(startGrowth)
	return func() {
		debug.SetGCPercent(steadyGrowth)
		debug.FreeOSMemory() // what the start took and does not need any more
	}
}
