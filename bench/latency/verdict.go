package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
)

const (
	partitions    = 1000
	settle        = 10 * time.Millisecond
	everyVerdict  = 100 * time.Millisecond
	questions     = 500_000
	patience      = 10 * time.Second
	verdictMark   = 5                // milliseconds
	leastRounds   = 3                // however little time is left
	calm          = 10 * time.Second // after the last start: edges collect what that left behind, on all cores
	startPatience = 3 * time.Minute
)

// verdictStage is an edge that follows an etcd through a proxy, and this program in the judge's place.
type verdictStage struct {
	o       options
	control *rig.Gtmd
	edge    *rig.Gtmd
	proxy   *rig.Proxy
	store   *store.Client
	queries string
	world   rig.World
	turns   map[health.PoolID]int // changes of each pool so far
	serial  int
	resign  func()
}

// verdictKind is one pool whose verdict changes, and the name that tells.
type verdictKind struct {
	name      string
	pool      health.PoolID
	endpoints int
	host      string
	address   func(j int) netip.Addr
}

// verdictRun is one run under load.
type verdictRun struct {
	load    rig.Figures
	latency []time.Duration // from the edge's socket to the first of the answers that all obey
	written []time.Duration // the same, from when the judge began to write it
	missed  int             // watched questions without an answer
}

// verdictKinds are the pools whose verdicts change, where services have pools of so many endpoints.
func verdictKinds(endpoints int) []verdictKind {
	return []verdictKind{
		{"one service's pool", rig.Pool(0), endpoints, rig.Alone,
			func(j int) netip.Addr { return rig.World{Endpoints: endpoints}.Address(0, j) }},
		{"one pool of all services", rig.Shared, 2, rig.Host(1), rig.SharedAddress},
	}
}

func verdicts(ctx context.Context, o options, report *figures.Report) error {
	over := curve{over: "services"}
	kinds := verdictKinds(o.endpoints)
	for i, services := range o.sizes {
		var crowd rig.Others
		runs, err := measureVerdicts(ctx, o.of(services), &crowd)
		if err != nil {
			return fmt.Errorf("%d services: %w", services, err)
		}
		for _, k := range kinds {
			over.add(k.name, services, latencies(runs[k.name]))
		}
		if i+1 < len(o.sizes) {
			continue
		}
		if err := reportVerdicts(o.of(services), report, kinds, runs, &crowd); err != nil {
			return err
		}
	}
	return over.report(report, "verdict-sizes", "verdict to answer, over services", verdictMark)
}

// poolServices is how many services there are where pools are larger: with the largest there are a million endpoints in all.
const poolServices = 1000

// pools measures how long a verdict takes with larger pools.
func pools(ctx context.Context, o options, report *figures.Report) error {
	report.Section("A verdict on larger pools")
	report.Text("As above, with %d services, whose pools have more endpoints.", poolServices)
	over := curve{over: "endpoints"}
	var crowd rig.Others
	slowest := map[int]float64{} // p99 by endpoints, of the kind that is slower
	for _, o.endpoints = range o.poolSizes {
		o.services, o.rounds = poolServices, leastRounds
		runs, err := measureVerdicts(ctx, o, &crowd)
		if err != nil {
			return fmt.Errorf("pools of %d endpoints: %w", o.endpoints, err)
		}
		for _, k := range verdictKinds(o.endpoints) {
			over.add(k.name, o.services*o.endpoints, latencies(runs[k.name]))
			slowest[o.endpoints] = max(slowest[o.endpoints], figures.Percentile(latencies(runs[k.name]), 0.99))
		}
	}
	crowd.Tell(report)
	var marks [][]string
	for _, n := range o.poolSizes {
		marks = append(marks, crowd.Mark(fmt.Sprintf("pools of %d endpoints: p99 of the verdict's time", n), slowest[n], verdictMark, "ms"))
	}
	report.Table(figures.MarkHead, marks)
	return over.report(report, "verdict-endpoints", "verdict to answer, over endpoints", verdictMark)
}

// latencies are those of all runs, in milliseconds.
func latencies(runs []verdictRun) []float64 {
	var all []float64
	for _, r := range runs {
		all = append(all, millis(r.latency)...)
	}
	return all
}

// measureVerdicts gives the runs of each kind, and the quiet ones, by name. crowd watches them.
func measureVerdicts(ctx context.Context, o options, crowd *rig.Others) (map[string][]verdictRun, error) {
	s, err := newVerdictStage(ctx, o)
	if s != nil {
		defer s.stop()
	}
	if err != nil {
		return nil, err
	}
	runs := map[string][]verdictRun{}
	for round := range o.rounds {
		if round >= leastRounds && o.Left() < 0 {
			break
		}
		quiet, err := s.watched(ctx, nil, crowd)
		if err != nil {
			return nil, err
		}
		runs["quiet"] = append(runs["quiet"], quiet)
		for _, k := range verdictKinds(o.endpoints) {
			r, err := s.watched(ctx, &k, crowd)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k.name, err)
			}
			runs[k.name] = append(runs[k.name], r)
			fmt.Printf("verdict %d/%d, %d services, %s: %d changes, p99 %.2f ms; load %.0f/s p999 %.0f us (quiet %.0f), lost %d, late "+
				"%.0f us\n", round+1, o.rounds,
				o.services, k.name, len(r.latency), figures.Percentile(millis(r.latency), 0.99), float64(r.load.Sent)/o.seconds,
				r.load.P999, quiet.load.P999, r.load.Lost, r.load.Late)
		}
	}
	return runs, nil
}

func newVerdictStage(ctx context.Context, o options) (*verdictStage, error) {
	s := &verdictStage{o: o, turns: map[health.PoolID]int{}, world: rig.World{Services: o.services, Endpoints: o.endpoints,
		Partitions: min(partitions, o.services)}}
	dir, err := o.Folder("verdict")
	if err != nil {
		return nil, err
	}
	s.control, err = o.Start(restCore, filepath.Join(dir, "control"), "--roles", "control")
	if err != nil {
		return s, err
	}
	if err := s.control.AwaitHTTP(ctx, patience); err != nil {
		return s, err
	}
	if s.store, err = s.control.Store(ctx); err != nil {
		return s, err
	}
	if err := s.world.Put(ctx, s.store); err != nil {
		return s, err
	}
	if s.proxy, err = rig.NewProxy(s.control.Socket()); err != nil {
		return s, err
	}
	s.edge, err = o.Start(edgeCore, filepath.Join(dir, "edge"), "--roles", "edge", "--workers", "1", "--etcd", s.proxy.Endpoint())
	if err != nil {
		return s, err
	}
	if _, err := s.edge.AwaitAnswer(ctx, rig.Host(o.services-1), startPatience); err != nil {
		return s, err
	}
	queries := filepath.Join(dir, "queries")
	if err := rig.WriteQueries(queries, questions, rig.Steered(o.services)); err != nil {
		return s, err
	}
	s.queries = queries
	if err := program.Rest(ctx, calm); err != nil {
		return s, err
	}
	s.resign, err = rig.Lead(ctx, s.store, patience)
	return s, err
}

func (s *verdictStage) stop() {
	if s.resign != nil {
		s.resign()
	}
	if s.store != nil {
		_ = s.store.Close()
	}
	if s.edge != nil {
		s.edge.Stop()
	}
	if s.proxy != nil {
		s.proxy.Close()
	}
	if s.control != nil {
		s.control.Stop()
	}
}

// watched is run, watched.
func (s *verdictStage) watched(ctx context.Context, k *verdictKind, crowd *rig.Others) (r verdictRun, err error) {
	err = crowd.Watch(func() error {
		r, err = s.run(ctx, k)
		return err
	})
	return r, err
}

// run loads the edge and meanwhile changes the verdict on a pool; nil: on none.
func (s *verdictStage) run(ctx context.Context, k *verdictKind) (verdictRun, error) {
	var r verdictRun
	asked := rig.Alone
	if k != nil {
		asked = k.host
	}
	asker, err := rig.NewAsker(s.edge.DNS, peers.Query(asked, rig.Elsewhere, false), 250*time.Microsecond)
	if err != nil {
		return r, err
	}
	asking, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan struct{})
	go func() { defer close(over); asker.Run(asking) }()
	time.Sleep(200 * time.Millisecond)
	runtime.GC() // rather now than in the middle
	loaded := make(chan error, 1)
	go func() {
		var err error
		r.load, err = rig.Load(ctx, s.queries, s.edge.DNS, loadCore, seconds(s.o.seconds), s.o.rate)
		loaded <- err
	}()
	for {
		select {
		case err := <-loaded:
			stop()
			<-over
			r.missed = asker.Lost()
			return r, err
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(everyVerdict):
		}
		if k == nil {
			continue
		}
		if err := s.change(ctx, *k, asker, &r); err != nil {
			return r, err
		}
	}
}

// change leaves another endpoint of the pool up, and waits until the answers tell so.
func (s *verdictStage) change(ctx context.Context, k verdictKind, asker *rig.Asker, r *verdictRun) error {
	s.serial++
	s.turns[k.pool]++
	j, judge := s.turns[k.pool]%2, fmt.Sprintf("bench-%09d", s.serial)
	s.proxy.Expect(judge)
	began := time.Now()
	err := s.store.PutVerdicts(ctx, []health.Verdict{rig.OneUp(k.pool, k.endpoints, j, judge)})
	// it may have lost its lease, and campaigns again
	for errors.Is(err, store.ErrNotLeader) && ctx.Err() == nil && time.Since(began) < patience {
		time.Sleep(settle)
		err = s.store.PutVerdicts(ctx, []health.Verdict{rig.OneUp(k.pool, k.endpoints, j, judge)})
	}
	if err != nil {
		return err
	}
	turned, err := asker.Turned(ctx, began, rig.Only(k.address(j)), settle, patience)
	if err != nil {
		return err
	}
	passed, err := s.proxy.Passed()
	if err != nil {
		return err
	}
	if s.turns[k.pool] > 1 { // the first turns from what is unknown
		r.latency = append(r.latency, turned.Sub(passed))
		r.written = append(r.written, turned.Sub(began))
	}
	return nil
}
