package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is what processes have computed, all threads of each, also those that have ended (clock_getcpuclockid(3)). One that is not
// there has computed nothing.
func CPU(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		const whole = 2 // CPUCLOCK_SCHED: nanoseconds of run time
		var t unix.Timespec
		err := unix.ClockGettime(int32(^pid<<3|whole), &t)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("the clock of process %d: %w", pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// CPU is what the living processes of the group have computed.
func (p *Process) CPU() (time.Duration, error) {
	pids, err := p.members()
	if err != nil {
		return 0, err
	}
	return CPU(pids...)
}

// members are the processes of the group: proc_pid_stat(5), the field pgrp.
func (p *Process) members() ([]int, error) {
	pids, err := pidsOf("stat", func(stat string) bool {
		_, rest, _ := strings.Cut(stat, ") ") // behind the name, which may hold blanks
		fields := strings.Fields(rest)
		return len(fields) > 2 && fields[2] == strconv.Itoa(p.Pid())
	})
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("%s has no process any more: has it ended?", p.name)
	}
	return pids, err
}

// Named lists the processes, the kernel's included, whose names begin so.
func Named(prefix string) ([]int, error) {
	return pidsOf("comm", func(name string) bool { return strings.HasPrefix(name, prefix) })
}

// pidsOf lists the processes of whose file in /proc that is true.
func pidsOf(file string, is func(text string) bool) (pids []int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/" + file)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !is(string(text)) {
			continue // perhaps it ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Memory is what the process alone, without children, holds resident, and the most that it held, in bytes: VmRSS and VmHWM of
// proc_pid_status(5).
func (p *Process) Memory() (rss, peak int64, err error) { return memory(p.Pid()) }

// GroupMemory is what the group's processes hold resident together, in bytes.
func (p *Process) GroupMemory() (sum int64, err error) {
	pids, err := p.members()
	for _, pid := range pids {
		if rss, _, err := memory(pid); err == nil { // else it ended meanwhile
			sum += rss
		}
	}
	return sum, err
}

func memory(pid int) (rss, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64) // of other lines, words
		switch f[0] {
		case "VmRSS:":
			rss = kb << 10
		case "VmHWM:":
			peak = kb << 10
		}
	}
	return rss, peak, nil
}

// ResetPeak has the most that Memory tells of begin anew (proc_pid_clear_refs(5)).
func (p *Process) ResetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Pid()), []byte("5"), 0)
}

// Bind leaves the process, all its threads, so many cores.
func (p *Process) Bind(cores string) error { return Bind(p.Pid(), cores) }

// Bind leaves a process, all its threads, so many cores.
func Bind(pid int, cores string) error {
	_, err := Output(context.Background(), Command{Args: []string{"taskset", "-apc", cores, strconv.Itoa(pid)}})
	return err
}

// Stat is what the kernel tells of each core (proc_stat(5)).
type Stat []struct{ All, Idle time.Duration }

// Tick is the unit of the times in /proc: USER_HZ is 100 on every platform of Linux that Go runs on.
const Tick = 10 * time.Millisecond

// ReadStat reads it.
func ReadStat() (Stat, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	return parseStat(string(text))
}

// parseStat reads the lines "cpu0 user nice system idle iowait irq softirq steal guest guest_nice"; the last two
// are parts of the first.
func parseStat(text string) (s Stat, err error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 9 || !strings.HasPrefix(line, "cpu") || fields[0] == "cpu" {
			continue
		}
		core := struct{ All, Idle time.Duration }{}
		for i, field := range fields[1:9] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("/proc/stat: %q: %w", line, err)
			}
			core.All += time.Duration(n) * Tick
			if i == 3 || i == 4 {
				core.Idle += time.Duration(n) * Tick
			}
		}
		s = append(s, core)
	}
	if len(s) == 0 {
		return nil, fmt.Errorf("/proc/stat tells of no core: %q", text)
	}
	return s, nil
}

// Busy is the share of time in which a core had work since before.
func (s Stat) Busy(before Stat, core int) float64 {
	all, idle := s[core].All-before[core].All, s[core].Idle-before[core].Idle
	return 1 - float64(idle)/float64(max(1, all))
}

// Idle is for how long all cores together had nothing to do since before.
func (s Stat) Idle(before Stat) (sum time.Duration) {
	for i := range s {
		sum += s[i].Idle - before[i].Idle
	}
	return sum
}

// Worked is for how long all cores together had work since before.
func (s Stat) Worked(before Stat) (sum time.Duration) {
	for i := range s {
		sum += s[i].All - before[i].All
	}
	return sum - s.Idle(before)
}
