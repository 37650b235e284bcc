package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// PreferSession has this session run before other work of the machine, where the kernel weighs sessions rather than their threads
// (autogroups).
func PreferSession() error {
	err := os.WriteFile("/proc/self/autogroup", []byte("-20"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it weighs threads
	}
	return err
}

// Prefer has the threads of a process run before other work of the machine: with the highest weight, and in slices so short that
// they need not wait for others' to end.
func Prefer(pid int) error {
	const weight, slice = -20, 100_000 // ns, the least that the kernel takes
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: weight, Runtime: slice}
		if err := unix.SchedSetAttr(id, &attr, 0); err != nil && err != unix.ESRCH {
			return fmt.Errorf("preferring %s: %w", task, err)
		}
	}
	return nil
}
