package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

// Others tells how much of the CPUs went to what is no part of a measurement, while it went on: what waits for a CPU is late,
// whatever gtm does. The zero value has watched nothing.
type Others struct {
	taken, watched time.Duration
	most           float64 // of what Watch watched once, in CPUs
}

// mostOthers is how much of a CPU others may take before figures say little.
const mostOthers = 0.1

// Watch runs f and watches.
func (o *Others) Watch(f func() error) error {
	before, err := readCPU()
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := readCPU()
	if err != nil {
		return err
	}
	o.add(before, after)
	return nil
}

func (o *Others) add(before, after cpu) {
	length := after.at.Sub(before.at)
	taken := time.Duration(len(after.stat))*length - after.stat.Idle(before.stat) - (after.own - before.own)
	o.taken, o.watched = o.taken+taken, o.watched+length
	o.most = max(o.most, taken.Seconds()/length.Seconds())
}

// cpus is how many CPUs others had, all in all.
func (o *Others) cpus() float64 {
	if o.watched == 0 {
		return 0
	}
	return max(0, o.taken.Seconds()/o.watched.Seconds()) // ticks may make it a little less than nothing
}

func (o *Others) restless() bool { return o.cpus() > mostOthers }

// Tell says how quiet the machine was.
func (o *Others) Tell(to *figures.Report) {
	quiet := "Others took %s of a CPU meanwhile, and %s in the run in which they took the most."
	if o.restless() {
		quiet = "**The machine was not quiet**: others took %s of a CPU meanwhile, and %s in the run in which they took the most. No " +
			"mark counts as met."
	}
	to.Text(quiet, figures.Number(o.cpus()), figures.Number(o.most))
}

// Mark is one row of a table of marks. One that was measured beside others is not met.
func (o *Others) Mark(what string, measured, most float64, unit string) []string {
	return figures.MarkRow(what, measured, most, unit, map[bool]string{true: "unknown: not quiet"}[o.restless()])
}

// cpu is what the machine and this program have done up to a time.
type cpu struct {
	at   time.Time
	stat process.Stat
	own  time.Duration // what this process and its children computed, and the kernel's threads, which send and receive for them
}

func readCPU() (c cpu, err error) {
	if c.stat, err = process.ReadStat(); err != nil {
		return c, err
	}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return c, err
	}
	c.at = time.Now()
	var processes []string
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil { // else it ended meanwhile
			processes = append(processes, string(text))
		}
	}
	ours := []int{os.Getpid()}
	if slices.ContainsFunc(processes, func(p string) bool { return strings.HasPrefix(p, "2 (kthreadd) ") }) { // a container may not show it
		ours = append(ours, 2)
	}
	c.own, err = computedBy(ours, processes)
	return c, err
}

// computedBy adds up what some processes, their children and theirs have computed, and those of theirs that have ended. Each of
// processes is a stat file (proc_pid_stat(5)).
func computedBy(roots []int, processes []string) (time.Duration, error) {
	ticks, children := map[int]int64{}, map[int][]int{}
	for _, text := range processes {
		pid, err := strconv.Atoi(text[:max(0, strings.IndexByte(text, ' '))])
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // behind the name, which may hold anything
		if err != nil || len(fields) < 15 {
			return 0, fmt.Errorf("/proc/*/stat: %q", text)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
		}
		children[parent] = append(children[parent], pid)
		for _, field := range fields[11:15] { // user and system, and those of children that were waited for
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
			}
			ticks[pid] += n
		}
	}
	sum := int64(0)
	for todo := slices.Clone(roots); len(todo) > 0; {
		pid := todo[len(todo)-1]
		sum, todo = sum+ticks[pid], append(todo[:len(todo)-1], children[pid]...)
	}
	return time.Duration(sum) * process.Tick, nil
}
