package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/client"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

const (
	edges    = 3
	writers  = 8 // that make the history, each for tenants of its own
	patience = 5 * time.Minute
	every    = 500 * time.Microsecond
	settle   = 50 * time.Millisecond
	calm     = 10 * time.Second
)

// company is a control with its etcd and an edge in one process, two more edges, and who speaks to them.
type company struct {
	o      options
	edges  []*rig.Gtmd
	client *client.Client
	askers []*rig.Asker
	heavy  bool
}

func (c *company) stop() {
	for _, e := range slices.Backward(c.edges) { // the one with etcd last
		e.Stop()
	}
}

func (c *company) start(ctx context.Context) error {
	dir, err := c.o.Folder("company")
	if err != nil {
		return err
	}
	for i := range edges {
		args := []string{"--roles", "edge,control"}
		if i > 0 {
			args = []string{"--roles", "edge", "--id", fmt.Sprint("edge", i), "--etcd", c.edges[0].Socket()}
		}
		e, err := c.o.Start("", filepath.Join(dir, fmt.Sprint("edge", i)), args...)
		if err != nil {
			return err
		}
		c.edges = append(c.edges, e)
		if err := e.AwaitHTTP(ctx, patience); err != nil {
			return err
		}
	}
	token, err := os.ReadFile(filepath.Join(c.edges[0].Data, "token"))
	if err != nil {
		return err
	}
	server := fmt.Sprintf("http://127.0.0.1:%d", c.edges[0].HTTP)
	c.client, err = client.New(client.Config{Server: server, Token: strings.TrimSpace(string(token)),
		HTTP: &http.Client{Timeout: patience}})
	return err
}

func (c *company) apply(ctx context.Context, dry bool, resources ...api.Resource) (api.ApplyReply, error) {
	return c.client.Apply(ctx, api.ApplyRequest{Resources: resources, DryRun: dry, Message: "a weight"}, "")
}

// fill declares everything by the API, and then writes to the store a history of changes, each of one pool, as long as the command line
// says: by the API it would take a quarter of an hour, and nothing of that is measured.
func (c *company) fill(ctx context.Context) (changes time.Duration, err error) {
	if _, err := c.apply(ctx, false, c.o.platform()...); err != nil {
		return 0, err
	}
	heads := make([]state.Generation, c.o.tenants)
	for t := range c.o.tenants {
		reply, err := c.apply(ctx, false, c.o.of(t)...)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", tenant(t), err)
		}
		heads[t] = state.Generation(reply.Heads[tenant(t)])
	}
	to, err := c.edges[0].Store(ctx)
	if err != nil {
		return 0, err
	}
	defer to.Close()
	began := time.Now()
	var group errgroup.Group
	for w := range writers {
		group.Go(func() error {
			for t := w; t < c.o.tenants; t += writers {
				if err := c.past(ctx, to, t, heads[t]); err != nil {
					return fmt.Errorf("the history of %s: %w", tenant(t), err)
				}
			}
			return nil
		})
	}
	err = errors.Join(group.Wait(), ctx.Err())
	return time.Since(began), err
}

// past writes the history of a tenant.
func (c *company) past(ctx context.Context, to *store.Client, t int, head state.Generation) error {
	for i := range c.o.history {
		r, err := pool(t, i%c.o.services, 2+i/c.o.services%2).ToSpec(spec.Strict)
		if err != nil {
			return err
		}
		record, err := to.Commit(ctx, store.Change{Tenant: tenant(t), Base: head, Put: []*spec.Resource{r}, Author: "bench",
			Message: "a weight", Time: time.Now()})
		if err != nil {
			return err
		}
		head = record.Generation
	}
	return nil
}

// The service whose answers tell when a change is there: the last tenant's first, which is given a pool of two endpoints.
var weighed = map[bool]netip.Addr{false: netip.MustParseAddr("198.51.100.1"), true: netip.MustParseAddr("198.51.100.2")}

// turn has the other endpoint of the pool take next to all clients.
func (c *company) turn(ctx context.Context, more ...api.Resource) error {
	c.heavy = !c.heavy
	weight := map[bool]int{true: 65535}[c.heavy]
	_, err := c.apply(ctx, false, append(more, resource(spec.KindPool, tenant(c.o.tenants-1), "weighed", fmt.Sprintf(
		`{"endpoints": [{"name": "a", "addresses": [%q], "weight": 1}, {"name": "b", "addresses": [%q], "weight": %d}]}`,
		weighed[false], weighed[true], weight)))...)
	return err
}

func (c *company) ask(ctx context.Context) error {
	last := tenant(c.o.tenants - 1)
	name := "weighed." + last + "." + zone
	err := c.turn(ctx, resource(spec.KindService, last, "weighed", fmt.Sprintf(`{"host": %q, "rules": [{"pools": ["weighed"]}]}`, name)))
	if err != nil {
		return err
	}
	for _, e := range c.edges {
		if _, err := e.AwaitAnswer(ctx, name, patience); err != nil {
			return err
		}
		asker, err := rig.NewAsker(e.DNS, peers.Query(name, rig.Elsewhere, false), every)
		if err != nil {
			return err
		}
		go asker.Run(ctx)
		c.askers = append(c.askers, asker)
	}
	return nil
}

// times does something again and again, and gives how long it took, in milliseconds.
func (c *company) times(ctx context.Context, n int, do func(i int) error) (all []float64, err error) {
	for i := range n {
		began := time.Now()
		if err := do(i); err != nil {
			return all, err
		}
		all = append(all, float64(time.Since(began))/1e6)
		if err := program.Rest(ctx, 50*time.Millisecond); err != nil {
			return all, err
		}
	}
	return all, nil
}

// spread changes weights, and gives the time to the last edge's answer, in milliseconds.
func (c *company) spread(ctx context.Context) (all []float64, err error) {
	for range c.o.rounds {
		began := time.Now()
		if err := c.turn(ctx); err != nil {
			return all, err
		}
		var last time.Time
		for _, a := range c.askers {
			turned, err := a.Turned(ctx, began, rig.Only(weighed[c.heavy]), settle, patience)
			if err != nil {
				return all, err
			}
			if turned.After(last) {
				last = turned
			}
		}
		all = append(all, float64(last.Sub(began))/1e6)
		if err := program.Rest(ctx, 50*time.Millisecond); err != nil {
			return all, err
		}
	}
	return all, nil
}

// part is one thing that is measured.
type part struct {
	name   string
	rounds int
	mark   float64 // p99, in milliseconds; 0: none
	do     func(i int) error
}

func (c *company) parts(ctx context.Context) []part {
	o := c.o
	planned := func(services int, r api.Resource) error {
		reply, err := c.apply(ctx, true, r)
		switch e := reply.Effect; {
		case err != nil:
			return err
		case e == nil || len(e.Services)+e.More+e.Same < services:
			return fmt.Errorf("the plan of %s %s tells of the answers of fewer than %d services", r.Kind, r.Name, services)
		}
		return nil
	}
	few := max(3, o.rounds/10)
	return []part{
		{"plan with its effect, of one service", o.rounds, 2000, func(i int) error { return planned(1, o.service(i%o.tenants, 1, 3)) }},
		{fmt.Sprintf("plan with its effect, of a policy of %d services", o.tenants*o.services/2), few, 2000,
			func(i int) error { return planned(o.tenants*o.services/2, o.policy(10+i)) }},
		{"plan with its effect, of a site that all stand at or beside", few, 2000, func(i int) error {
			return planned(o.tenants*o.services/2, resource(spec.KindSite, spec.Platform, "fra",
				fmt.Sprintf(`{"region": "EU-DE", "location": {"lat": %d, "lon": 8.7}}`, 30+i)))
		}},
		{"a change, until control replies", o.rounds, 200, func(i int) error {
			_, err := c.apply(ctx, false, pool(i%o.tenants, 5, 7+i))
			return err
		}},
		{"50 of a tenant's history", o.rounds, 0, func(i int) error { return c.history(ctx, i, 50) }},
		{"1,000 of a tenant's history", o.rounds, 0, func(i int) error { return c.history(ctx, i, 1000) }},
		{"a tenant's pools, all pages", o.rounds, 0, func(i int) error {
			return c.list(ctx, client.Filter{Tenant: tenant(i % o.tenants), Kind: spec.KindPool}, o.services)
		}},
		{"the pools of all tenants, all pages", few, 0, func(int) error {
			return c.list(ctx, client.Filter{Kind: spec.KindPool}, o.tenants*o.services)
		}},
	}
}

func (c *company) history(ctx context.Context, i, n int) error {
	h, err := c.client.History(ctx, tenant(i%c.o.tenants), n)
	if err == nil && len(h.Records) < min(n, c.o.history) {
		err = fmt.Errorf("only %d changes are listed", len(h.Records))
	}
	return err
}

func (c *company) list(ctx context.Context, f client.Filter, least int) error {
	n := 0
	for _, err := range c.client.Resources(ctx, f) {
		if n++; err != nil {
			return err
		}
	}
	if n < least {
		return fmt.Errorf("only %d pools are listed", n)
	}
	return nil
}

func measure(ctx context.Context, o options, report *figures.Report) error {
	ctx, cancel := context.WithCancel(ctx)
	c := &company{o: o}
	defer c.stop()
	defer cancel()
	if err := c.start(ctx); err != nil {
		return err
	}
	took, err := c.fill(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("the history is written: %s\n", took.Round(time.Second))
	if err := c.ask(ctx); err != nil {
		return err
	}
	if err := program.Rest(ctx, calm); err != nil {
		return err
	}
	var crowd rig.Others
	var rows, marks [][]string
	add := func(name string, ms []float64, mark float64) {
		rows = append(rows, append([]string{name, fmt.Sprint(len(ms))}, figures.Percentiles(ms, 0.5, 0.99, 1)...))
		if mark > 0 {
			marks = append(marks, crowd.Mark(name+": p99", figures.Percentile(ms, 0.99), mark, "ms"))
		}
		fmt.Println(rows[len(rows)-1])
	}
	err = crowd.Watch(func() error {
		for _, p := range c.parts(ctx) {
			ms, err := c.times(ctx, p.rounds, p.do)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			add(p.name, ms, p.mark)
		}
		ms, err := c.spread(ctx)
		if err == nil {
			add("a change, until the last of three edges answers by it", ms, 200)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.report(report, took, &crowd, rows, marks)
}

func (c *company) report(report *figures.Report, took time.Duration, crowd *rig.Others, rows, marks [][]string) error {
	o := c.o
	made := o.tenants * o.history
	resident, peak, err := c.edges[0].Memory()
	if err != nil {
		return err
	}
	report.Text("%d tenants with %d services, as many pools and %d endpoints each, on one control with its etcd and an edge in one "+
		"process, and two further edges. Each tenant had changed a pool %d times before: %d generations, written to the store in %s "+
		"(%.0f a second). Nothing is bound to a core. The process with control, etcd and an edge had %d MB then (%d MB at "+
		"most); the audit log of it all %.0f MB.", o.tenants, o.services, o.services*endpoints, o.history, made, took.Round(time.Second),
		float64(made)/took.Seconds(), resident/1e6, peak/1e6, folderMB(filepath.Join(c.edges[0].Data, "audit")))
	report.Table([]string{"what", "times", "p50 ms", "p99 ms", "most ms"}, rows)
	crowd.Tell(report)
	report.Table(figures.MarkHead, marks)
	return nil
}

// folderMB is the size of the files in a folder, in megabytes; 0 where there is none.
func folderMB(dir string) (sum float64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				sum += float64(info.Size()) / 1e6
			}
		}
		return nil
	})
	return sum
}
