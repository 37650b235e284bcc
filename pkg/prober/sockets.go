package prober

import (
	"math"
	"syscall"
)

// How many sockets checks have: quickSockets while they are quick, and 16 times as many when they hang. Half of what the process may open
// is left for the rest of it. leastSockets are needed to check an endpoint of many addresses at all.
const (
	quickSockets = 256
	allSockets   = 17 * quickSockets
	leastSockets = 4 * 16
)

// socketBudgets shares what the process may open out to quick checks and to those that hang.
func socketBudgets(descriptors uint64) (quick, slow int) {
	all := max(leastSockets, int(min(allSockets, descriptors/2)))
	quick = min(quickSockets, all/4)
	return quick, all - quick
}

// descriptors is how many files and sockets the process may have open. Go has raised the soft limit to the hard one.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxUint64 // the kernel says when there are no more
	}
	return limit.Cur
}
