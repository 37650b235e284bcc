// Package discover finds endpoints of pools that declare sources of them: by DNS names, and in files of control. Of several controls one
// is elected to look, and writes what it finds where edges, probers and controls follow it. What was good last is kept.
package discover

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/share"
	"github.com/gti/gtm/pkg/probe/checks"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// How much is looked at once, in all and of one tenant, so that one whose resolvers hang takes nobody else's turn.
const (
	looksAtOnce = 64
	looksOfOne  = 4
	lookTime    = 20 * time.Second // for one source
	askTime     = 2 * time.Second  // for one resolver to answer
	syncEvery   = time.Second      // what is declared is looked at
	orphanTime  = 30 * time.Second // until what nobody declares any more is taken away
)

// Store is what a Finder needs of a *store.Client.
type Store interface {
	CampaignFinder(ctx context.Context, id string, lead func(context.Context) error) error
	PutFound(ctx context.Context, f spec.Found) error
	DropFound(ctx context.Context, id state.SourceID) error
	ExpireFound(ctx context.Context, was, is spec.Found) error
}

// Config is what a Finder needs.
type Config struct {
	ID     string // of this control
	Store  Store
	Mirror *state.Mirror
	// Resolvers are asked for the sources that name none.
	Resolvers []netip.AddrPort
	// Files is the folder of files: DIR/TENANT/NAME; empty: there are none.
	Files string
	// Networks open refused blocks, as checks.Guard.Allow does to checks: to what names lead to, and to resolvers of tenants.
	Networks []netip.Prefix
	// OwnPorts are gtm's, which no resolver of a tenant can be.
	OwnPorts []uint16
	Local    func() ([]net.Addr, error) // this machine's addresses; nil: net.InterfaceAddrs

	Logger     *slog.Logger                              // nil: silent
	Registerer prometheus.Registerer                     // nil: no metrics
	Now        func() time.Time                          // nil: time.Now
	Sleep      func(context.Context, time.Duration) bool // false: ctx ended. nil: by the clock
}

// Finder looks, while it is elected. It is safe for concurrent use.
type Finder struct {
	cfg     Config
	guard   *checks.Guard
	looks   chan struct{}
	metrics *metrics
	shares  *share.Shares // of what is written

	mu      sync.Mutex
	runs    map[state.SourceID]*run
	tenants map[string]chan struct{} // turns of a tenant
	sources map[string]tenantSources
	orphans map[state.SourceID]time.Time // since when nobody declares them
}

// tenantSources are the sources of a tenant at a generation.
type tenantSources struct {
	head state.Generation
	id   string
	all  map[state.SourceID]*spec.Source
	// unread are pools that this program cannot read: what their sources had stays.
	unread map[string]bool
}

// New makes a finder, which looks nowhere before Run.
func New(cfg Config) (*Finder, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Local == nil {
		cfg.Local = checks.Machine()
	}
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	f := &Finder{cfg: cfg, guard: &checks.Guard{Allow: cfg.Networks, Own: cfg.OwnPorts, Local: cfg.Local},
		looks: make(chan struct{}, looksAtOnce), runs: map[state.SourceID]*run{}, tenants: map[string]chan struct{}{},
		sources: map[string]tenantSources{}, orphans: map[state.SourceID]time.Time{}}
	var err error
	if f.metrics, err = newMetrics(cfg.Registerer, f); err != nil {
		return nil, err
	}
	f.shares, err = share.New(share.Config{Metric: "gtm_control_late_source_tenants",
		Help: "Tenants whose sources change more than their share of the store allows: what they had is kept for now.",
		Late: "a tenant's sources of endpoints change faster than its share of the store allows; what they had is kept for now",
		Now:  cfg.Now, Logger: cfg.Logger, Registerer: cfg.Registerer})
	return f, err
}

// Run looks until ctx ends. It stands for election where there is something to look for.
func (f *Finder) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if f.hasWork() {
			standing, stop := context.WithCancel(ctx)
			_ = f.cfg.Store.CampaignFinder(standing, f.cfg.ID, func(elected context.Context) error {
				err := f.lead(elected)
				if errors.Is(err, errNothing) {
					stop()
					return nil
				}
				return err
			})
			stop()
		}
		f.cfg.Sleep(ctx, syncEvery)
	}
}

// errNothing: there is nothing to look for any more.
var errNothing = errors.New("there are no sources of endpoints")

func (f *Finder) hasWork() bool {
	return len(f.declared()) > 0 || len(state.Discovered.All(f.cfg.Mirror)) > 0
}

// lead looks for all until ctx ends.
func (f *Finder) lead(ctx context.Context) error {
	f.cfg.Logger.Info("this control looks for endpoints now")
	f.metrics.finder.Set(1)
	clear(f.orphans) // whoever looked meanwhile may have taken away some, which came back
	defer f.metrics.finder.Set(0)
	defer f.stopAll()
	for {
		declared := f.declared()
		f.sync(ctx, declared)
		f.expire(ctx, declared)
		f.dropOrphans(ctx, declared)
		if len(declared) == 0 && len(state.Discovered.All(f.cfg.Mirror)) == 0 {
			return errNothing
		}
		if !f.cfg.Sleep(ctx, syncEvery) {
			return nil
		}
	}
}

// declared gives what tenants declare.
func (f *Finder) declared() map[state.SourceID]*spec.Source {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, tenants := map[state.SourceID]*spec.Source{}, f.cfg.Mirror.Tenants()
	for name := range f.sources {
		if !slices.Contains(tenants, name) {
			delete(f.sources, name)
		}
	}
	for _, name := range tenants {
		t := f.cfg.Mirror.Tenant(name)
		s, known := f.sources[name]
		if !known || s.head != t.Head || s.id != t.ID {
			s = sourcesOf(&t)
			f.sources[name] = s
		}
		for id, source := range s.all {
			all[id] = source
		}
	}
	return all
}

func sourcesOf(t *state.TenantState) tenantSources {
	s := tenantSources{head: t.Head, id: t.ID, all: map[state.SourceID]*spec.Source{}, unread: map[string]bool{}}
	for key := range t.Broken {
		s.unread[key.Name] = s.unread[key.Name] || key.Kind == spec.KindPool
	}
	for key, v := range t.Resources.All() {
		if key.Kind != spec.KindPool {
			continue
		}
		p, ok := v.Resource.Spec.(*spec.Pool)
		if !ok {
			s.unread[key.Name] = true
			continue
		}
		if p.DiscoverMode() == spec.ModeOff {
			continue
		}
		for i := range p.Discover {
			effective := p.Discover[i].Effective()
			s.all[state.SourceID{Tenant: key.Tenant, Pool: key.Name, Source: effective.Name}] = &effective
		}
	}
	return s
}

// lent gives the private networks that the platform opens to a tenant.
func (f *Finder) lent(tenant string) []netip.Prefix {
	key := spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform}
	v, ok := f.cfg.Mirror.Tenant(spec.Platform).Resources.Get(key)
	if !ok {
		return nil
	}
	platform, _ := v.Resource.Spec.(*spec.Tenant)
	return spec.Lent(platform, tenant)
}

// sync starts sources that are new, and ends those that are no more. One that is declared otherwise starts with what is known of it.
func (f *Finder) sync(ctx context.Context, declared map[state.SourceID]*spec.Source) {
	var ended []*run
	f.mu.Lock()
	for id, r := range f.runs {
		if is := declared[id]; is == nil || !sameSource(is, r.source) {
			r.stop()
			ended = append(ended, r)
			delete(f.runs, id)
		}
	}
	f.mu.Unlock()
	known := map[state.SourceID]memory{}
	for _, r := range ended {
		<-r.done
		known[r.id] = r.memory
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, is := range declared {
		if f.runs[id] != nil || is.Pushed {
			continue
		}
		m, ok := known[id]
		if !ok {
			m.is, _ = state.Discovered.Get(f.cfg.Mirror, id)
		}
		f.runs[id] = f.start(ctx, id, is, m)
	}
}

func (f *Finder) stopAll() {
	f.mu.Lock()
	all := f.runs
	f.runs = map[state.SourceID]*run{}
	f.mu.Unlock()
	for _, r := range all {
		r.stop()
	}
	for _, r := range all {
		<-r.done
	}
}

// expire ends what was pushed for a time that is over.
func (f *Finder) expire(ctx context.Context, declared map[state.SourceID]*spec.Source) {
	now := f.cfg.Now()
	for id, s := range declared {
		if !s.Pushed {
			continue
		}
		was, ok := state.Discovered.Get(f.cfg.Mirror, id)
		if !ok || was.Expires.IsZero() || was.Expires.After(now) || len(was.Endpoints) == 0 {
			continue
		}
		is := was
		const why = "nobody pushed a newer list before it expired"
		is.Endpoints, is.Since = nil, now.UTC()
		if s.Empty == spec.EmptyTake {
			is.Notes = why // to have none is no fault
		} else {
			is.Failed, is.Error = was.Expires, why
		}
		switch err := f.cfg.Store.ExpireFound(ctx, was, is); {
		case err == nil:
			f.cfg.Logger.Warn("endpoints that were pushed have expired", "tenant", id.Tenant, "pool", id.Pool, "source", id.Source,
				"endpoints", len(was.Endpoints), "by", was.By)
		case !errors.Is(err, store.ErrFoundChanged): // else there is a newer list
			f.cfg.Logger.Warn("endpoints that were pushed have expired, and that cannot be written", "tenant", id.Tenant, "pool", id.Pool,
				"source", id.Source, "error", err)
			return
		}
	}
}

// dropOrphans takes away what sources had that nobody declares any more. It waits a while: another control may have heard of a source
// sooner, and taken a push to it.
func (f *Finder) dropOrphans(ctx context.Context, declared map[state.SourceID]*spec.Source) {
	now, all := f.cfg.Now(), state.Discovered.All(f.cfg.Mirror)
	for id := range f.orphans {
		if _, there := all[id]; !there || declared[id] != nil {
			delete(f.orphans, id)
		}
	}
	for id := range all {
		if declared[id] != nil || f.isUnread(id) {
			continue
		}
		since, known := f.orphans[id]
		if !known {
			since, f.orphans[id] = now, now
		}
		if now.Sub(since) < orphanTime {
			continue
		}
		if err := f.cfg.Store.DropFound(ctx, id); err != nil {
			f.cfg.Logger.Warn("what a source had that is no more cannot be taken away", "tenant", id.Tenant, "pool", id.Pool,
				"source", id.Source, "error", err)
			return
		}
	}
}

func (f *Finder) isUnread(id state.SourceID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sources[id.Tenant].unread[id.Pool]
}

// turn waits for a turn of all and of a tenant, which free gives back; false: ctx ended.
func (f *Finder) turn(ctx context.Context, tenant string) (free func(), ok bool) {
	f.mu.Lock()
	own := f.tenants[tenant]
	if own == nil {
		own = make(chan struct{}, looksOfOne)
		f.tenants[tenant] = own
	}
	f.mu.Unlock()
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case f.looks <- struct{}{}:
		return func() { <-f.looks; <-own }, true
	case <-ctx.Done():
		<-own
		return nil, false
	}
}

// client asks for a source.
func (f *Finder) client(resolvers []netip.AddrPort) *resolve.Client {
	return &resolve.Client{Resolvers: resolvers, Timeout: askTime, Random: rand.Uint64}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
