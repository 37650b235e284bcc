package edge

import (
	"runtime"
	"syscall"
	"testing"
)

func TestStandBack(t *testing.T) {
	done := make(chan [2]int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		before, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		standBack()
		after, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		done <- [2]int{20 - before, 20 - after}
	}()
	if nice := <-done; nice[1] != min(19, nice[0]+nicer) {
		t.Errorf("nice was %d and is %d, want %d more, at most 19", nice[0], nice[1], nicer)
	}
}
