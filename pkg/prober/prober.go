// Package prober puts a prober together: it follows what is to be checked, checks it, tells what it sees, and stands for
// election as the judge that turns what all probers see into verdicts.
package prober

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/probe/checks"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Store is what a prober needs of a *store.Client.
type Store interface {
	Follow(context.Context, store.FollowConfig) error
	FollowObservations(context.Context, func(store.ObservationUpdate) error) error
	WriteObservations(context.Context, []store.ObservationWrite) map[health.PoolID]store.Written
	DeleteObservation(ctx context.Context, vantage string, p health.PoolID) error
	KeepVantage(ctx context.Context, v store.Vantage, ttl time.Duration) error
	Campaign(ctx context.Context, id string, lead func(context.Context) error) error
	WriteVerdicts(context.Context, []store.VerdictWrite) (map[health.PoolID]store.Written, error)
	DeleteVerdict(context.Context, health.PoolID) error
	PutPulse(context.Context, state.Pulse) error
	TakeRelease(context.Context, store.Release) error
	SurveyReaders(context.Context) (older string, err error)
}

// Config says how a prober works.
type Config struct {
	// ID is the vantage's name, as monitors list it. No two probers may have the same.
	ID    string
	Store Store
	// Region is where it is, as in EU-DE, and Network what it shares with those that fail with it, as in AS64500. Empty: nobody is to know.
	Region, Network string
	// ObserveOnly has it never stand for election: it needs no right to write verdicts then.
	ObserveOnly bool
	// Allow opens networks that are refused otherwise, Deny closes others; OwnPorts are gtm's own, which stay closed: see checks.Guard.
	Allow, Deny []netip.Prefix
	OwnPorts    []uint16
	// Secrets is the folder of the secrets that monitors name, each in the folder of its tenant. Empty: there are none.
	Secrets string
	// Resolver looks up endpoints that are host names. nil: the system's.
	Resolver *net.Resolver
	// Descriptors is how many files and sockets the process may have open: checks have half of them, and 4,352 at most. 0: its limit.
	Descriptors uint64
	Clock       func() time.Time // nil: time.Now
	Logger      *slog.Logger
	Registerer  prometheus.Registerer

	// check replaces the real checks in tests.
	check func(context.Context, probe.Check) probe.Result
}

const (
	// vantageTTL is how long after its death a prober counts as alive.
	vantageTTL = 10 * time.Second
	// firstRoundTime is how long a prober that starts may take for its first round of checks before it says that it is alive.
	firstRoundTime = 10 * time.Second
	// gather is how long news are gathered before they are worked on, so that a burst is one piece of work.
	gather = 5 * time.Millisecond
	// correctTime is how long vantages have to correct observations that were read anew, before they are judged.
	correctTime = time.Second
	// sweep is how often everything is checked again: overrides expire, and what is stored may not be what was written.
	sweep = 30 * time.Second
	// beat is how often the judge says that it lives.
	beat = 5 * time.Second
)

// Prober is a running prober. Its methods are safe for concurrent use.
type Prober struct {
	cfg     Config
	metrics *metrics
	world   *world
	agent   *agent
}

// New makes a prober that has heard nothing yet.
func New(cfg Config) (*Prober, error) {
	if cfg.ID == "" || strings.ContainsAny(cfg.ID, "/ \t\n") {
		return nil, fmt.Errorf("prober: %q cannot be the name of a vantage; give it one without slashes and spaces", cfg.ID)
	}
	cfg.setDefaults()
	w := newWorld(cfg.Logger)
	w.clock = cfg.Clock
	p := &Prober{cfg: cfg, metrics: newMetrics(cfg.Registerer), world: w}
	p.agent = newAgent(cfg, p.world, p.metrics)
	return p, nil
}

// Run probes until ctx ends; then it returns nil. It runs once.
func (p *Prober) Run(ctx context.Context) error {
	cfg, w, a := p.cfg, p.world, p.agent
	j := &judge{cfg: cfg, world: w, metrics: p.metrics}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return cfg.Store.Follow(ctx, store.FollowConfig{OnUpdate: w.applyConfig, OnStatus: w.applyStatus, OnPulse: w.applyPulse})
	})
	g.Go(func() error { return cfg.Store.FollowObservations(ctx, w.applyObservations) })
	g.Go(func() error { return a.scheduler.Run(ctx) })
	g.Go(func() error { return a.assign(ctx) })
	g.Go(func() error { return a.heed(ctx) })
	g.Go(func() error { return a.report(ctx) })
	g.Go(func() error { return a.keepAlive(ctx) })
	g.Go(func() error { return p.survey(ctx) })
	if !cfg.ObserveOnly {
		g.Go(func() error { return cfg.Store.Campaign(ctx, cfg.ID, j.lead) })
	}
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Ready reports whether the prober's word counts: it has heard the configuration, follows it, and the store holds its lease. If
// not, it tells why.
func (p *Prober) Ready() error { return p.world.ready(p.cfg.ID) }

func (cfg *Config) setDefaults() {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Descriptors == 0 {
		cfg.Descriptors = descriptors()
	}
	if cfg.check == nil {
		guard := checks.Guard{Allow: cfg.Allow, Deny: cfg.Deny, Own: cfg.OwnPorts, Local: checks.Machine()}
		checker := checks.Checker{Guard: guard, Resolver: cfg.Resolver, Secrets: cfg.Secrets, Clock: cfg.Clock}
		cfg.check = checker.Check
	}
}

// now is the time as it is stored.
func (cfg *Config) now() time.Time { return cfg.Clock().UTC().Truncate(time.Millisecond) }

// pause waits, and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
