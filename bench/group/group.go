// Package group tells what a process group has computed, and what memory it holds: a server with its children.
package group

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// members gives the folders in /proc of a process group's processes: proc(5), the field pgrp of stat.
func members(group int) ([]string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold blanks
		if fields := strings.Fields(rest); len(fields) > 2 && fields[2] == strconv.Itoa(group) {
			found = append(found, filepath.Dir(stat))
		}
	}
	return found, nil
}

// CPU is the time that the living threads of a process group have computed: the first field of schedstat, which
// counts nanoseconds where stat counts ticks.
func CPU(group int) (time.Duration, error) {
	processes, err := members(group)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, process := range processes {
		threads, err := filepath.Glob(filepath.Join(process, "task", "*", "schedstat"))
		if err != nil {
			return 0, err
		}
		for _, thread := range threads {
			text, err := os.ReadFile(thread)
			if err != nil {
				continue
			}
			first, _, _ := strings.Cut(string(text), " ")
			computed, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", thread, err)
			}
			sum += time.Duration(computed)
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("no thread of the process group %d has computed: has it ended?", group)
	}
	return sum, nil
}

// Memory is the resident memory of a process group in MB (1e6 bytes): the second field of statm, in pages.
func Memory(group int) (float64, error) {
	processes, err := members(group)
	if err != nil {
		return 0, err
	}
	pages := 0
	for _, process := range processes {
		text, err := os.ReadFile(filepath.Join(process, "statm"))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return 0, fmt.Errorf("%s/statm: %q", process, text)
		}
		resident, err := strconv.Atoi(fields[1])
		if err != nil {
			return 0, fmt.Errorf("%s/statm: %w", process, err)
		}
		pages += resident
	}
	return float64(pages) * float64(os.Getpagesize()) / 1e6, nil
}
