package datagram

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func TestShortenSlice(t *testing.T) {
	type attrs struct{ before, after *unix.SchedAttr }
	done := make(chan attrs)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		before, _ := unix.SchedGetAttr(0, 0)
		shortenSlice()
		after, _ := unix.SchedGetAttr(0, 0)
		done <- attrs{before, after}
	}()
	a := <-done
	if a.before == nil || a.after == nil {
		t.Fatal("sched_getattr(2) failed")
	}
	want := *a.before
	if want.Policy == unix.SCHED_NORMAL && want.Runtime != 0 { // kernels before 6.12 tell no slice, and have none
		want.Runtime = workerSlice
	}
	if *a.after != want {
		t.Errorf("the thread had %+v and has %+v, want %+v", *a.before, *a.after, want)
	}
}
