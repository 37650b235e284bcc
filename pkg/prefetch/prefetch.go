package prefetch

import "unsafe"

// Line is a place in memory to bring near. The zero Line is one that nobody reads; fill unused places of a list with one that is
// near anyway. A Line keeps nothing alive, and a stale one does no harm.
type Line uintptr

// At gives the cache line that *p begins in. p may be nil.
//
// The address of a field, &x.f, is not a good p: Go then reads *x to be sure that x is not nil, and waits for what was to be
// prefetched. Give x.
func At[T any](p *T) Line { return Line(unsafe.Pointer(p)) }

// Of asks for one line.
func Of[T any](p *T) { line(unsafe.Pointer(p)) }

// Lines asks for many with one call.
func Lines(at []Line) { lines(at) }
