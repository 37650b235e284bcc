package datagram

import (
	"runtime"
	"time"
)

// restEvery is how often a worker that sleeps in system calls goes through Go's scheduler: well within the 10 ms that the runtime
// grants a goroutine.
const restEvery = 5 * time.Millisecond

// rest is when a worker last went through Go's scheduler. One that only ever sleeps in system calls never does by itself, and after
// 10 ms the runtime takes it for one that computes without end: from then on its monitor takes the worker's processor away in each
// call that it finds it in, so that the call ends with a search for another, and looks every 20 us for more of the kind. A worker
// that often sleeps pays a tenth of what its answers cost for that. See AF_XDP in docs/performance.md.
type rest struct{ last time.Time }

// take goes through the scheduler, if it is time. It is to be called before the worker sleeps.
func (r *rest) take() {
	if r.due(time.Now()) {
		runtime.Gosched()
	}
}

// due reports whether it is time, and if so, counts from now.
func (r *rest) due(now time.Time) bool {
	if now.Sub(r.last) < restEvery {
		return false
	}
	r.last = now
	return true
}
