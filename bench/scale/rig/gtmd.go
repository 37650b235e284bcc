package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// Command says how a gtmd is to run.
type Command struct {
	Binary string
	Data   string
	Core   string // as taskset takes it; empty: any
	Args   []string
	Env    []string
}

// Gtmd is a running gtmd, with its children in a process group of its own.
type Gtmd struct {
	Data     string
	DNS      int // the port at 127.0.0.1
	HTTP     int // likewise
	Executed time.Time
	cmd      *exec.Cmd
	done     chan error
	stopped  bool
}

// Start starts gtmd at free ports. Its output goes to the file log in its data folder.
func Start(c Command) (*Gtmd, error) {
	g := &Gtmd{Data: c.Data, done: make(chan error, 1)}
	var err error
	if g.DNS, err = freePort(); err != nil {
		return nil, err
	}
	if g.HTTP, err = freePort(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(c.Data, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{c.Binary, "--data", c.Data, "--dns", g.dns(), "--http", g.http()}, c.Args...)
	if c.Core != "" {
		args = append([]string{"taskset", "-c", c.Core}, args...)
	}
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.Env = append(os.Environ(), c.Env...)
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.Executed = time.Now()
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w (make build builds it)", c.Binary, err)
	}
	go func() { g.done <- g.cmd.Wait() }()
	return g, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (g *Gtmd) dns() string  { return net.JoinHostPort("127.0.0.1", strconv.Itoa(g.DNS)) }
func (g *Gtmd) http() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(g.HTTP)) }

// Server is the URL of its API.
func (g *Gtmd) Server() string { return "http://" + g.http() }

// Socket is the etcd of a gtmd that has its own.
func (g *Gtmd) Socket() string { return "unix://" + filepath.Join(g.Data, "etcd", "etcd.sock") }

// AwaitHTTP waits until the status page answers.
func (g *Gtmd) AwaitHTTP(ctx context.Context, patience time.Duration) error {
	return g.await(ctx, patience, 20*time.Millisecond, func() error {
		r, err := http.Get(g.Server() + "/metrics")
		if err != nil {
			return err
		}
		return r.Body.Close()
	})
}

// AwaitAnswer waits until name has an address, asking every millisecond, and tells when that was.
func (g *Gtmd) AwaitAnswer(ctx context.Context, name string, patience time.Duration) (at time.Time, err error) {
	client := &dns.Client{Timeout: 100 * time.Millisecond}
	query := new(dns.Msg).SetQuestion(name, dns.TypeA)
	err = g.await(ctx, patience, time.Millisecond, func() error {
		reply, _, err := client.ExchangeContext(ctx, query, g.dns())
		if err == nil && len(reply.Answer) == 0 {
			err = errors.New(dns.RcodeToString[reply.Rcode])
		}
		at = time.Now()
		return err
	})
	return at, err
}

func (g *Gtmd) await(ctx context.Context, patience, pause time.Duration, try func() error) error {
	var last error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pause) {
		select {
		case err := <-g.done:
			g.done <- err
			text, _ := os.ReadFile(filepath.Join(g.Data, "log"))
			return fmt.Errorf("gtmd ended: %v\n%s", err, text)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if last = try(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("gtmd did not answer in %s (%v); see %s", patience, last, filepath.Join(g.Data, "log"))
}

// Bind leaves the process, all its threads, so many cores.
func (g *Gtmd) Bind(cores string) error {
	output, err := exec.Command("taskset", "-apc", cores, strconv.Itoa(g.cmd.Process.Pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("binding gtmd to core %s: %w\n%s", cores, err, output)
	}
	return nil
}

// Stop ends gtmd and its children, and waits for them. It may be called again.
func (g *Gtmd) Stop() {
	if g.stopped {
		return
	}
	g.stopped = true
	group := -g.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-g.done:
	case <-time.After(10 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
}

// Memory gives what the process holds resident, and the most that it held, in bytes: VmRSS and VmHWM of proc(5).
func (g *Gtmd) Memory() (rss, peak int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
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

// CPU is what the process alone, without children, has computed so far.
func (g *Gtmd) CPU() (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it ended meanwhile
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", thread, err)
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// Metric gives the value of a series of /metrics, written with its labels as they stand there; ok is false without it.
func (g *Gtmd) Metric(series string) (value float64, ok bool, err error) {
	r, err := http.Get(g.Server() + "/metrics")
	if err != nil {
		return 0, false, err
	}
	defer r.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r.Body); err != nil {
		return 0, false, err
	}
	for line := range strings.Lines(b.String()) {
		if rest, found := strings.CutPrefix(line, series+" "); found {
			value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return value, err == nil, err
		}
	}
	return 0, false, nil
}
