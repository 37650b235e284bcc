package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// stat is what /proc/stat tells of each core, in ticks: all, and those without work.
type stat []struct{ all, idle uint64 }

const tick = 10 * time.Millisecond // USER_HZ is 100 on every platform of Linux that Go runs on

func readStat() (stat, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	return parseStat(string(text))
}

// parseStat reads the lines "cpu0 user nice system idle iowait irq softirq steal guest guest_nice"; the last two
// are parts of the first.
func parseStat(text string) (s stat, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(line, "cpu") || fields[0] == "cpu" {
			continue
		}
		core := struct{ all, idle uint64 }{}
		for i, field := range fields[1:9] {
			var n uint64
			if _, err := fmt.Sscan(field, &n); err != nil {
				return nil, fmt.Errorf("/proc/stat: %q: %w", line, err)
			}
			core.all += n
			if i == 3 || i == 4 {
				core.idle += n
			}
		}
		s = append(s, core)
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("/proc/stat tells of no core: %q", text)
	}
	return s, nil
}

// busy is the share of time in which a core had work since before.
func (s stat) busy(before stat, core int) float64 {
	all, idle := s[core].all-before[core].all, s[core].idle-before[core].idle
	return 1 - float64(idle)/float64(max(1, all))
}

// worked is for how long all cores together had work since before.
func (s stat) worked(before stat) time.Duration {
	var ticks uint64
	for i := range s {
		ticks += s[i].all - before[i].all - (s[i].idle - before[i].idle)
	}
	return time.Duration(ticks) * tick
}

// nobody is no process.
const nobody = -1

// worktime is how long the threads of a process, and the kernel's threads whose names begin so, have run on any core. Unlike the
// share of a core it does not count what else the machine does.
func worktime(pid int, kernel string) (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	threads, err := threadsOf(kernel)
	if err != nil {
		return 0, err
	}
	for _, id := range threads {
		files = append(files, filepath.Join("/proc", id, "schedstat"))
	}
	for _, file := range files {
		var ran int64
		if text, err := os.ReadFile(file); err != nil {
			continue // the thread has ended
		} else if _, err := fmt.Sscan(string(text), &ran); err != nil {
			return 0, fmt.Errorf("%s: %q: %w", file, text, err)
		}
		total += time.Duration(ran)
	}
	return total, nil
}
