package prober

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/pieces"
)

// agent is the half of a prober that looks: it has the plans' endpoints checked, and writes what it sees on transitions.
type agent struct {
	cfg        Config
	world      *world
	metrics    *metrics
	scheduler  *probe.Scheduler
	wake       chan struct{} // has a token when something is dirty
	firstRound chan struct{} // closed when every target of the first assignment had a result

	mu       sync.Mutex
	pools    map[string]map[health.PoolID]*watched // by tenant
	dirty    map[health.PoolID]bool                // to be written, or deleted where it is not watched any more
	budget   *pace.Budget
	failed   map[health.PoolID]backoff             // what the store did not take
	late     map[string]bool                       // tenants of which the log said that they are
	looked   map[string]map[probe.Signal]time.Time // by tenant: since when signals are looked at
	unseen   map[probe.ID]bool                     // of the first assignment; nil after the first round
	assigned bool
	plain    bool // a program is alive that reads the old form alone
}

// watched is one pool that this vantage checks.
type watched struct {
	rule      *health.Rule
	endpoints map[string]*tracked
	written
}

// tracked is what this vantage knows of one endpoint, and of what that is true: see spec.Endpoint.Checked.
type tracked struct {
	health.Combined
	of string
}

// Sight tells what the vantage knows.
func (l *tracked) Sight() health.Sight {
	s := l.Combined.Sight()
	s.Of = l.of
	return s
}

func newAgent(cfg Config, w *world, m *metrics) *agent {
	a := &agent{
		cfg: cfg, world: w, metrics: m,
		wake: make(chan struct{}, 1), firstRound: make(chan struct{}),
		pools: map[string]map[health.PoolID]*watched{}, dirty: map[health.PoolID]bool{}, unseen: map[probe.ID]bool{},
		looked: map[string]map[probe.Signal]time.Time{},
		budget: pace.New(), failed: map[health.PoolID]backoff{}, late: map[string]bool{},
	}
	quick, slow := socketBudgets(cfg.Descriptors)
	if all := quick + slow; all < allSockets {
		cfg.Logger.Warn("checks have fewer sockets than they could: raise the limit of open files (LimitNOFILE)",
			"sockets", all, "limit", cfg.Descriptors, "wanted", 2*allSockets)
	}
	a.scheduler = probe.NewScheduler(probe.SchedulerConfig{
		Check: a.check, OnResult: a.result, Concurrency: quick, Slow: slow, Vantage: cfg.ID,
		Clock: cfg.Clock, Logger: cfg.Logger, Registerer: cfg.Registerer,
	})
	return a
}

// assign keeps what is checked in step with the plans. It begins when this vantage's own stored observations are known, so
// that it goes on from them.
func (a *agent) assign(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.world.complete:
	}
	news := a.world.listen(false)
	defer news.stop()
	for {
		for _, tenant := range news.take() {
			a.scheduler.Set(tenant, a.adopt(tenant))
		}
		a.firstAssigned()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news.wake:
		}
	}
}

// adopt brings what is watched of a tenant in step with its plan, and gives its targets. Thresholds go on with the addresses that
// they are about, also under changed settings and other names: what was known holds until new results say otherwise.
func (a *agent) adopt(tenant string) []probe.Target {
	p := a.world.plan(tenant)
	stored, lent := a.world.seenBy(a.cfg.ID, tenant), spec.Lent(a.world.plan(spec.Platform).settings(), tenant)
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.pools[tenant]
	now := make(map[health.PoolID]*watched, len(p.pools))
	var targets []probe.Target
	looked := map[probe.Signal]time.Time{}
	for id, pp := range p.pools {
		if !pp.asks(a.cfg.ID) {
			continue
		}
		w, changed := watch(pp, before[id], stored[id])
		now[id] = w
		if changed {
			a.touch(id)
		}
		for name, list := range pp.checks {
			for part, check := range list {
				if check.Type == "" {
					continue
				}
				check.Lent = lent
				if check.Type == spec.TypeSignal {
					looked[check.Signal] = cmp.Or(a.looked[tenant][check.Signal], a.cfg.Clock())
				}
				id := probe.ID{Tenant: tenant, Pool: id.Pool, Endpoint: target(name, pp.rule, part)}
				targets = append(targets, probe.Target{ID: id, Of: pp.of[name], Check: check})
				if !a.assigned {
					a.unseen[id] = true
				}
			}
		}
	}
	for id, w := range before {
		switch {
		case now[id] != nil:
		case p.held[id]:
			now[id] = w
		default:
			a.touch(id)
		}
	}
	for id := range stored {
		if now[id] == nil && !p.held[id] {
			a.touch(id)
		}
	}
	if a.pools[tenant] = now; len(now) == 0 {
		delete(a.pools, tenant)
	}
	if a.looked[tenant] = looked; len(looked) == 0 {
		delete(a.looked, tenant)
	}
	return targets
}

// watch gives the watched form of a pool: from what is watched already, or else from what was stored. changed: endpoints that
// were told of are gone, or are checked elsewhere.
func watch(pp *poolPlan, before *watched, stored health.Observation) (w *watched, changed bool) {
	w = &watched{rule: pp.rule, endpoints: make(map[string]*tracked, len(pp.endpoints))}
	known := map[string]*tracked{}
	if before != nil {
		known, w.written = before.endpoints, before.written
	} else {
		w.inPieces = len(stored.Endpoints) > pieces.WholeMost // maybe
		for name, sight := range stored.Endpoints {
			known[name] = &tracked{health.CombineFrom(pp.rule, sight), sight.Of}
		}
	}
	firstNames := make(map[string]string, len(known)) // by what is checked: the first name
	for name, l := range known {
		if first, ok := firstNames[l.of]; l.of != "" && (!ok || name < first) {
			firstNames[l.of] = name
		}
	}
	for _, name := range pp.endpoints {
		of, own := pp.of[name], known[name]
		moved, found := firstNames[of]
		switch {
		case own != nil && (own.of == of || own.of == ""):
			w.endpoints[name] = &tracked{health.Combine(pp.rule, &own.Combined), of}
		case found:
			w.endpoints[name] = &tracked{health.Combine(pp.rule, &known[moved].Combined), of}
		default:
			w.endpoints[name] = &tracked{health.Combine(pp.rule, nil), of}
		}
		changed = changed || own != nil && (own.of != of || own.Sight() != w.endpoints[name].Sight())
	}
	for name := range known {
		changed = changed || w.endpoints[name] == nil
	}
	return w, changed
}

// touch marks a pool to be written; a.mu is held.
func (a *agent) touch(id health.PoolID) {
	a.dirty[id] = true
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// result takes what came of one check, and reports whether it calls for another one soon. The scheduler calls it.
func (a *agent) result(r probe.Result) (soon bool) {
	id := health.PoolID{Tenant: r.ID.Tenant, Pool: r.ID.Pool}
	at := r.At.UTC().Truncate(time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.pools[id.Tenant][id]
	if w == nil {
		return false // of what is not watched any more
	}
	endpoint, part := targetOf(r.ID.Endpoint, w.rule)
	t := w.endpoints[endpoint]
	if t == nil || t.of != r.Of || part < 0 {
		return false // likewise
	}
	changed := false
	switch {
	case r.Outcome == probe.Unable:
		changed = t.Miss(part, r.Reason, at)
	case r.Word != nil:
		changed = t.AddWord(part, *r.Word, at)
	default:
		changed = t.AddTimed(part, r.Outcome == probe.Passed, r.Latency, r.Reason, at)
	}
	if changed {
		s := t.Sight()
		a.cfg.Logger.Debug("a sight changed", "endpoint", r.ID.String(), "state", s.State, "score", s.Score, "blind", s.Blind,
			"reason", s.Reason, "detail", r.Detail)
		a.touch(id)
	}
	if a.unseen != nil {
		delete(a.unseen, r.ID)
		a.endFirstRound()
	}
	return t.Recheck(part, at)
}

// firstAssigned tells that the targets of the first assignment are known.
func (a *agent) firstAssigned() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assigned = true
	a.endFirstRound()
}

func (a *agent) endFirstRound() {
	if a.assigned && a.unseen != nil && len(a.unseen) == 0 {
		a.unseen = nil
		close(a.firstRound)
	}
}

// keepAlive says that this vantage is alive, from the end of its first round: before that its stored observations are as old as its
// last life, and must not vote.
func (a *agent) keepAlive(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.world.complete:
	}
	timer := time.NewTimer(firstRoundTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-a.firstRound:
	}
	return a.cfg.Store.KeepVantage(ctx, store.Vantage{ID: a.cfg.ID, Region: a.cfg.Region, Network: a.cfg.Network}, vantageTTL)
}
