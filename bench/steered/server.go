package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/bench/peers"
)

// The cores of the server and of the load.
const serverCore, loadCore = "0", "1"

// A server is one process (with its children, in a process group of its own) that answers at a port.
type server struct {
	subject
	cmd  *exec.Cmd
	log  string
	done chan error
}

// A sample is one measurement.
type sample struct {
	qps, p50, p99 float64
	bytes         float64 // of an answer
	cpu           float64 // microseconds of the server's processes per answer
}

// startAll starts all of them, and waits until they answer. What it has started it gives back even when something
// failed.
func startAll(ctx context.Context, o options, subjects []subject) ([]*server, error) {
	var servers []*server
	for _, subject := range subjects {
		s, err := start(o, subject)
		if err != nil {
			return servers, err
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.await(ctx); err != nil {
			return servers, err
		}
	}
	return servers, nil
}

func start(o options, subject subject) (*server, error) {
	s := &server{subject: subject, log: filepath.Join(o.tmp, subject.name+".log"), done: make(chan error, 1)}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", serverCore}, s.args...)...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.name, err)
	}
	go func() { s.done <- s.cmd.Wait() }()
	return s, nil
}

// await waits until the server answers for a name of the job.
func (s *server) await(ctx context.Context) error {
	client := &dns.Client{Timeout: time.Second}
	name := "s0."
	if s.serves(peers.Steered) {
		name = "w0."
	}
	query := new(dns.Msg).SetQuestion(name+peers.Zone, dns.TypeA)
	var last error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		select {
		case err := <-s.done:
			text, _ := os.ReadFile(s.log)
			return fmt.Errorf("%s ended: %v\n%s", s.name, err, text)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		reply, _, err := client.ExchangeContext(ctx, query, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
		if last = err; err == nil && (len(reply.Answer) > 0 || s.port == floorPort) {
			return nil
		}
	}
	return fmt.Errorf("%s did not answer in 2 minutes (%v); see %s", s.name, last, s.log)
}

// stopAll ends what was started, by its process groups.
func stopAll(servers []*server) {
	for _, s := range servers {
		group := -s.cmd.Process.Pid
		_ = syscall.Kill(group, syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(group, syscall.SIGKILL)
	}
}

// measure loads the server for so many seconds, at saturation.
func (s *server) measure(ctx context.Context, o options, load string, seconds float64) (sample, error) {
	time.Sleep(pause)
	before, err := groupCPU(s.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	output, err := exec.CommandContext(ctx, "taskset", "-c", loadCore, filepath.Join(o.tmp, "dnsload"), strconv.Itoa(s.port),
		filepath.Join(o.tmp, load), strconv.FormatFloat(seconds, 'f', -1, 64), strconv.Itoa(o.window)).Output()
	if err != nil {
		return sample{}, fmt.Errorf("loading %s: %w", s.name, err)
	}
	after, err := groupCPU(s.cmd.Process.Pid)
	if err != nil {
		return sample{}, err
	}
	figures, err := parseFigures(string(output))
	if err != nil {
		return sample{}, err
	}
	if figures["got"] == 0 || figures["other"] > 0 && s.name != "floor" {
		return sample{}, fmt.Errorf("%s: not every answer was NOERROR: %s", s.name, output)
	}
	return sample{qps: figures["qps"], p50: figures["p50us"], p99: figures["p99us"], bytes: figures["bytes"],
		cpu: (after - before).Seconds() * 1e6 / figures["got"]}, nil
}

// parseFigures reads name=number fields.
func parseFigures(line string) (map[string]float64, error) {
	figures := map[string]float64{}
	for field := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(field, "=")
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("dnsload printed %q", line)
		}
		figures[name] = number
	}
	if len(figures) == 0 {
		return nil, errors.New("dnsload printed nothing")
	}
	return figures, nil
}

// groupCPU is the time that the living threads of a process group have computed: proc(5), the field pgrp of stat, and
// the first of schedstat, which counts nanoseconds where stat counts ticks.
func groupCPU(group int) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // it ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may hold blanks
		if fields := strings.Fields(rest); len(fields) < 3 || fields[2] != strconv.Itoa(group) {
			continue
		}
		threads, err := filepath.Glob(filepath.Join(filepath.Dir(stat), "task", "*", "schedstat"))
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
