package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
	"github.com/gti/gtm/pkg/store"
)

// NoStore is an etcd that nobody serves, for edges that start from their snapshot.
const NoStore = "http://127.0.0.1:1"

// Gtmd is a running gtmd.
type Gtmd struct {
	*process.Process
	Data string
	DNS  int // the port at 127.0.0.1
	HTTP int // likewise
}

// Start starts gtmd at free ports, on a core as taskset takes it, or on all where it is empty. Its output goes to the file log in its
// data folder.
func (p *Places) Start(core, data string, args ...string) (*Gtmd, error) {
	g := &Gtmd{Data: data}
	var err error
	if g.DNS, err = freePort(); err != nil {
		return nil, err
	}
	if g.HTTP, err = freePort(); err != nil {
		return nil, err
	}
	args = append([]string{p.Gtmd(), "--data", data, "--dns", local(g.DNS), "--http", local(g.HTTP)}, args...)
	g.Process, err = process.Start(process.Command{Name: "gtmd", Args: args, Core: core, Env: strings.Fields(p.env),
		Log: filepath.Join(data, "log")})
	return g, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Socket is the etcd of a gtmd that has its own.
func (g *Gtmd) Socket() string { return "unix://" + filepath.Join(g.Data, "etcd", "etcd.sock") }

// Store opens the store of a gtmd that has its own etcd.
func (g *Gtmd) Store(ctx context.Context) (*store.Client, error) {
	return store.Open(ctx, store.Config{Endpoints: []string{g.Socket()}})
}

// Page fetches one of its pages.
func (g *Gtmd) Page(path string) ([]byte, error) {
	r, err := http.Get("http://" + local(g.HTTP) + path)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// AwaitHTTP waits until the status page answers.
func (g *Gtmd) AwaitHTTP(ctx context.Context, patience time.Duration) error {
	return g.Await(ctx, patience, 20*time.Millisecond, func() error {
		_, err := g.Page("/metrics")
		return err
	})
}

// AwaitAnswer waits until name has an address, asking every millisecond, and tells how long that was after the start.
func (g *Gtmd) AwaitAnswer(ctx context.Context, name string, patience time.Duration) (time.Duration, error) {
	_, after, err := g.AwaitReply(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), patience)
	return after, err
}

// AwaitReply is AwaitAnswer for any query, and gives the reply.
func (g *Gtmd) AwaitReply(ctx context.Context, query *dns.Msg, patience time.Duration) (reply *dns.Msg, after time.Duration, err error) {
	client := &dns.Client{Timeout: 100 * time.Millisecond}
	err = g.Await(ctx, patience, time.Millisecond, func() (err error) {
		reply, _, err = client.ExchangeContext(ctx, query, local(g.DNS))
		if err == nil && len(reply.Answer) == 0 {
			err = errors.New(dns.RcodeToString[reply.Rcode])
		}
		after = time.Since(g.Executed)
		return err
	})
	return reply, after, err
}

// OwnCPU is what the process alone, without children, has computed so far.
func (g *Gtmd) OwnCPU() (time.Duration, error) { return process.CPU(g.Pid()) }

// Apply runs gtmctl, which applies what file, or the folder of that name, has.
func (g *Gtmd) Apply(ctx context.Context, gtmctl, file string) error {
	_, err := process.Output(ctx, process.Command{Args: []string{gtmctl, "apply", "-f", file, "--server", "http://" + local(g.HTTP),
		"--token-file", filepath.Join(g.Data, "token")}})
	return err
}

// Metric gives the value of a series of /metrics, written with its labels as they stand there.
func (g *Gtmd) Metric(series string) (float64, error) {
	page, err := g.Page("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(page)) {
		if rest, found := strings.CutPrefix(line, series+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(rest), 64)
		}
	}
	return 0, fmt.Errorf("/metrics has no %s", series)
}
