package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// edgeRun is one start of the edge.
type edgeRun struct {
	options
	etcd    string
	current bool // wait until it follows the store
}

// result is what one start showed. Memory is in MB (1e6 bytes) of resident memory.
type result struct {
	answer                time.Duration
	cpu                   time.Duration // of the process until then
	atAnswer, later, peak int
	stirred, busy         int // after changes, and at most during them; 0: there were none
}

func (r result) String() string {
	s := fmt.Sprintf("first answer after %v (%v of CPU); %d MB then, %d MB at most, %d MB later", r.answer.Round(time.Millisecond), r.cpu,
		r.atAnswer, r.peak, r.later)
	if r.stirred > 0 {
		s += fmt.Sprintf("; %d MB at most during changes, %d MB after them", r.busy, r.stirred)
	}
	return s
}

// run starts the edge, asks until it answers, looks at its memory, and ends it.
func (e edgeRun) run(ctx context.Context, stir func(context.Context) error) (result, error) {
	log, err := os.OpenFile(filepath.Join(e.dir, "gtmd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return result{}, err
	}
	defer log.Close()
	dnsAddr, httpAddr := fmt.Sprintf("127.0.0.1:%d", e.port), fmt.Sprintf("127.0.0.1:%d", e.port+1)
	cmd := exec.CommandContext(ctx, e.gtmd, "--roles", "edge", "--data", filepath.Join(e.dir, "data"), "--etcd", e.etcd,
		"--dns", dnsAddr, "--http", httpAddr, "--id", "start")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return result{}, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	var r result
	if err := e.await(ctx, dnsAddr, e.size.services/2); err != nil {
		return r, err
	}
	r.answer, r.cpu = time.Since(begun), cpuTime(cmd.Process.Pid)
	r.atAnswer = memory(cmd.Process.Pid, "VmRSS")
	if e.current {
		if err := awaitCurrent(ctx, httpAddr); err != nil {
			return r, err
		}
	}
	if err := rest(ctx, e.rest); err != nil {
		return r, err
	}
	r.later, r.peak = memory(cmd.Process.Pid, "VmRSS"), memory(cmd.Process.Pid, "VmHWM")
	if stir == nil {
		return r, nil
	}
	if err := resetPeak(cmd.Process.Pid); err != nil {
		return r, err
	}
	if err := stir(ctx); err != nil {
		return r, err
	}
	if err := rest(ctx, e.rest); err != nil {
		return r, err
	}
	r.stirred, r.busy = memory(cmd.Process.Pid, "VmRSS"), memory(cmd.Process.Pid, "VmHWM")
	return r, nil
}

// resetPeak has VmHWM begin anew (proc_pid_clear_refs(5)).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await asks for service i until the answer is an address of its pools.
func (e edgeRun) await(ctx context.Context, addr string, i int) error {
	q := new(dns.Msg)
	q.SetQuestion(e.size.hostName(i), dns.TypeA)
	q.Extra = append(q.Extra, &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}, Option: []dns.EDNS0{
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(81, 2, 69, 0)}}})
	client := &dns.Client{Timeout: 100 * time.Millisecond}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m, _, err := client.ExchangeContext(ctx, q, addr)
		if err != nil || m.Rcode != dns.RcodeSuccess {
			continue
		}
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); !ok || !ownPrefix.Contains(netip.AddrFrom4([4]byte(a.A.To4()))) {
				return fmt.Errorf("%s is answered with %v", q.Question[0].Name, rr)
			}
		}
		if len(m.Answer) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no answer within a minute; see %s", filepath.Join(e.dir, "gtmd.log"))
}

// ownPrefix holds the IPv4 addresses of all endpoints.
var ownPrefix = netip.MustParsePrefix("10.0.0.0/8")

// awaitCurrent waits until the edge follows the store.
func awaitCurrent(ctx context.Context, addr string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + addr + "/edge/status")
		if err != nil {
			return err
		}
		var status struct {
			Source struct {
				State string `json:"state"`
			} `json:"source"`
		}
		err = json.NewDecoder(resp.Body).Decode(&status)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if status.Source.State == "current" {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the edge does not follow the store within a minute")
}

// cpuTime is the CPU time that a process has used, in steps of 10 ms (proc_pid_stat(5)).
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory reads a line of a process's status, in MB.
func memory(pid int, field string) int {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			kib, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			return kib * 1024 / 1_000_000
		}
	}
	return 0
}
