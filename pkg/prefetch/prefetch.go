package prefetch

import "unsafe"

// Of asks for the cache line that *p begins in. p may be nil.
//
// The address of a field, &x.f, is not a good p: Go then reads *x to be sure that x is not nil, and waits for what was to be
// prefetched. Give x.
func Of[T any](p *T) { line(unsafe.Pointer(p)) }
