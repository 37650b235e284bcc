package prober

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/pieces"
	"github.com/gti/gtm/pkg/store/state"
)

// judge is the half of a prober that decides, while it is elected.
type judge struct {
	cfg     Config
	world   *world
	metrics *metrics
}

// term is one time in office.
type term struct {
	*judge
	news *listener
	ages *ages
	beat *time.Ticker
	held map[string]map[health.PoolID]health.Verdict // by tenant: what is stored, as far as this judge knows
	// followed are the releases that were: that they are gone from the store may not have been heard yet.
	followed map[store.Release]bool
	budget   *pace.Budget
	waiting  map[string]time.Time      // tenants of which something waits: until when
	refused  map[health.PoolID]refusal // verdicts that the store did not take, while it took others
	wholes   map[health.PoolID]*wholes // of large pools
	plain    bool                      // a program is alive that reads the old form alone
	late     map[string]bool           // tenants of which the log said that they are
	unheard  map[health.PoolID]unheard // what was written just now
	census   census
	counted  bool // all tenants, once
}

// unheard is a write of which the watch may not have told yet.
type unheard struct {
	revision int64
	at       time.Time
}

// hearing is how long what was written is waited for before what is stored is believed to be something else.
const hearing = 2 * time.Second

// isUnheard reports whether what is known of the store may be older than what was written.
func (t *term) isUnheard(id health.PoolID) bool {
	u, is := t.unheard[id]
	return is && u.revision > t.world.mirror.Revision() && time.Since(u.at) < hearing
}

// refusal is a verdict that the store did not take.
type refusal struct {
	backoff
	why string
}

// verdictWork is what one pass over some tenants wants written.
type verdictWork struct {
	put    []store.VerdictWrite
	gone   []health.PoolID
	taken  []store.Release         // that are followed with it
	tally  map[string]health.Tally // by tenant, and by tenantIn
	judged []string
}

// lead judges until ctx ends. It goes on from the stored verdicts.
func (j *judge) lead(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-j.world.complete:
	}
	j.cfg.Logger.Info("this prober is the judge now", "vantage", j.cfg.ID)
	t := &term{judge: j, news: j.world.listen(true), held: map[string]map[health.PoolID]health.Verdict{},
		followed: map[store.Release]bool{}, budget: pace.New(), waiting: map[string]time.Time{}, refused: map[health.PoolID]refusal{},
		wholes: map[health.PoolID]*wholes{}, late: map[string]bool{},
		unheard: map[health.PoolID]unheard{},
		census:  census{tenants: map[string]health.Census{}, regions: map[string]map[string]health.Census{}}}
	t.ages, t.beat = newAges(j.world.lastPulse().Time, j.cfg.now()), time.NewTicker(beat)
	defer t.beat.Stop()
	defer t.news.stop()
	defer j.metrics.endTerm()
	j.metrics.leading.Set(1)
	for id, v := range j.world.mirror.Verdicts() {
		t.hold(id, v)
		if len(v.Endpoints) > pieces.WholeMost {
			t.wholes[id] = &wholes{inPieces: true} // maybe
		}
	}
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	due := time.NewTimer(sweep)
	defer due.Stop()
	retry, err := retryMin, t.pulse(ctx)
	for {
		switch {
		case err == nil:
			retry = retryMin
		case ctx.Err() != nil || errors.Is(err, store.ErrNotLeader):
			return nil
		default:
			j.cfg.Logger.Warn("what the judge says could not be written; it will be, again", "error", err)
			if !pause(ctx, retry) {
				return nil
			}
			retry = min(2*retry, retryMax)
		}
		err = nil
		if wait, is := t.nextWaiting(time.Now()); is {
			due.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
			if tenants := t.waited(time.Now()); len(tenants) > 0 {
				t.news.again(tenants...)
			}
		case <-t.beat.C:
			err = t.pulse(ctx)
		case <-t.news.wake:
			if !pause(ctx, max(gather, j.world.unsettled())) {
				return nil
			}
			t.notice(t.news.takeVerdicts())
			err = t.pass(ctx, t.news.take())
		case <-ticker.C:
			t.compare()
			t.tidy(time.Now())
			t.news.again()
		}
	}
}

// pulse says that the judge lives, and who looks. While the store is refused nothing is judged, and nothing is said.
func (t *term) pulse(ctx context.Context) error {
	if t.world.isRefused() {
		return nil
	}
	alive, silent := t.world.vantages()
	err := t.cfg.Store.PutPulse(ctx, state.Pulse{Judge: t.cfg.ID, Time: t.cfg.now(), Nonce: rand.Text(), Alive: alive, Silent: silent,
		Troubles: t.troubles()})
	if t.beat.Reset(beat); err != nil {
		t.beat.Reset(beat / 5) // edges wait for it
	}
	return err
}

func (t *term) hold(id health.PoolID, v health.Verdict) {
	if t.held[id.Tenant] == nil {
		t.held[id.Tenant] = map[health.PoolID]health.Verdict{}
	}
	t.held[id.Tenant][id] = v
}

// compare forgets what is held and not stored, so that it is written again; and takes up what is stored and not held.
func (t *term) compare() {
	stored := t.world.mirror.Verdicts()
	for _, verdicts := range t.held {
		for id, v := range verdicts {
			if s, ok := stored[id]; (!ok || !s.Equal(v)) && !t.isUnheard(id) {
				v.Judge = "" // differs from every verdict that is written
				verdicts[id] = v
			}
		}
	}
	for id, v := range stored {
		if _, ok := t.held[id.Tenant][id]; !ok {
			t.hold(id, v)
		}
	}
}

// notice compares what is stored now of some pools with what is held. Tenants where it differs, as after a restore of the store, are
// news: what differs is written again.
func (t *term) notice(pools []health.PoolID, all bool) {
	if all {
		clear(t.unheard) // it may be another store
		t.compare()
		t.news.again()
		return
	}
	for _, id := range pools {
		stored, is := t.world.mirror.Verdict(id)
		held, holds := t.held[id.Tenant][id]
		switch {
		case t.isUnheard(id):
			continue
		case holds && (!is || !stored.Equal(held)):
			held.Judge = "" // differs from every verdict that is written
			t.hold(id, held)
		case !holds && is:
			t.hold(id, stored)
		default:
			continue
		}
		t.news.again(id.Tenant)
	}
}

// pass judges tenants and writes what changed. On an error they are news again.
func (t *term) pass(ctx context.Context, tenants []string) error {
	if t.world.isRefused() {
		return nil // acceptance makes them news again
	}
	work := verdictWork{tally: map[string]health.Tally{}}
	now := time.Now()
	t.countFirst(tenants)
	for _, tenant := range tenants {
		if wait := t.budget.WaitTenant(tenant, now); wait > 0 && len(t.releases(tenant)) == 0 {
			t.wait(tenant, now.Add(wait))
			t.noteLate(tenant)
			continue
		}
		work.judged = append(work.judged, tenant)
		t.judgeTenant(tenant, &work)
	}
	t.metrics.late.WithLabelValues("verdicts").Set(float64(len(t.late)))
	t.recount(work.judged, work.tally)
	if err := t.carryOut(ctx, work); err != nil {
		t.news.again(tenants...)
		return err
	}
	return nil
}

// docket is what is declared and seen of a tenant, judged pool by pool for all; the cases of regions; and who wants something released or
// resumed.
type docket struct {
	health.Docket
	regions regional
	words   []store.Release
}

func (t *term) docket(tenant string) *docket {
	p := t.world.plan(tenant)
	held := t.held[tenant]
	now := t.cfg.now()
	d := &docket{regions: regional{}, words: t.releases(tenant)}
	d.Docket = health.Docket{Previous: map[health.PoolID]health.Verdict{}, Proposed: map[health.PoolID]health.Verdict{},
		Pools: p.declared(held, now), Others: t.census.others(tenant), Now: now}
	d.Age = func(id health.PoolID, endpoint string) time.Duration {
		return t.ages.down(id, endpoint, held[id].Endpoints[endpoint])
	}
	d.FrozenFor = func(since time.Time) time.Duration { return t.ages.frozen(tenant, since) }
	d.HeldFor = func(id health.PoolID) time.Duration { return t.ages.heldFor(held[id]) }
	d.Release = func(id health.PoolID) bool { return said(d.words, id, false) }
	about := t.world.known()
	for id, pp := range p.pools {
		seen, alive := t.world.evidence(id)
		previous, ok := held[id]
		if previous = previous.For(pp.endpoints, pp.of); ok {
			d.Previous[id] = previous // the brake goes by names
		}
		c := health.Case{
			Pool: id, Endpoints: pp.endpoints, Of: pp.of, Previous: previous, Vantages: pp.vantages, Quorum: pp.quorum, Agree: pp.agree,
			Observations: seen, Alive: alive, About: about, Now: now, Unsure: pp.unsure, Recovery: pp.recovery,
		}
		if d.Proposed[id] = health.Judge(c); pp.regions {
			d.regions.add(id, &c, inRegions(held, id))
		}
	}
	return d
}

// said reports whether a person wants a pool released, or resumed.
func said(words []store.Release, id health.PoolID, resume bool) bool {
	return slices.ContainsFunc(words, func(r store.Release) bool { return r.Resume == resume && r.Covers(id) })
}

// judgeTenant adds to work what changes for one tenant.
func (t *term) judgeTenant(tenant string, work *verdictWork) {
	d := t.docket(tenant)
	p := t.world.plan(tenant)
	work.taken = append(work.taken, d.words...)
	verdicts, tally := t.brake(tenant).Apply(d.Docket)
	work.tally[tenant] = tally
	for id, v := range verdicts {
		t.propose(d, d.Pools[id], v, work)
	}
	t.judgeRegions(tenant, d, verdicts, work)
	for id := range t.held[tenant] {
		if of, _ := id.Declared(); !p.held[of] && (p.pools[of] == nil || !d.regions.judges(id)) {
			work.gone = append(work.gone, id)
		}
	}
}

// propose adds a verdict to work, if it says something new, and may be written now.
func (t *term) propose(d *docket, declared health.Declared, v health.Verdict, work *verdictWork) {
	id := v.Pool
	brake, held := t.brake(id.Tenant), t.held[id.Tenant]
	v = declared.StayOut(held[id], v, said(d.words, id, true), d.Now)
	if v.Frozen {
		left := brake.Proves(declared) // what stands until then proves what is held: B8
		if v.HeldSince.Equal(held[id].HeldSince) {
			left -= t.ages.heldFor(v)
		}
		if left > 0 {
			t.wait(id.Tenant, time.Now().Add(left))
		}
	}
	if old, ok := held[id]; !ok || old.Judge == "" || !old.Equal(v) {
		if until := t.notBefore(id); len(d.words) == 0 && until.After(time.Now()) {
			t.wait(id.Tenant, until) // what is held is what is stored: it is judged again then
			return
		}
		v.Judge = t.cfg.ID
		work.put = append(work.put, t.writeOf(v, old))
	}
}

// carryOut writes, and then holds what it wrote.
func (t *term) carryOut(ctx context.Context, work verdictWork) error {
	slices.SortFunc(work.put, func(a, b store.VerdictWrite) int { return comparePools(a.Verdict.Pool, b.Verdict.Pool) })
	var written map[health.PoolID]store.Written
	var err error
	if len(work.put) > 0 {
		written, err = t.cfg.Store.WriteVerdicts(ctx, work.put)
	}
	wrote := 0
	failed := map[string]bool{}
	for _, w := range work.put {
		v := w.Verdict
		got, confirmed := written[v.Pool]
		t.account(v, got, confirmed)
		if !confirmed || got.Err != nil {
			failed[v.Pool.Tenant] = true
			continue
		}
		was := t.held[v.Pool.Tenant][v.Pool]
		t.logChanges(was, v)
		t.ages.note(was, v)
		t.hold(v.Pool, v)
		wrote++
	}
	t.metrics.countVerdicts(wrote)
	t.metrics.refused.Set(float64(len(t.refused)))
	if err != nil {
		return err
	}
	for _, r := range work.taken {
		if failed[r.Tenant] {
			continue // it still waits
		}
		if err := t.cfg.Store.TakeRelease(ctx, r); err != nil {
			return err
		}
		t.followed[r] = true
		said := "a person released what the brake held"
		if r.Resume {
			said = "a person resumed a pool that was kept out"
		}
		t.cfg.Logger.Warn(said, "tenant", r.Tenant, "pool", r.Pool, "author", r.Author, "reason", r.Reason)
	}
	slices.SortFunc(work.gone, comparePools)
	for _, id := range work.gone {
		if err := t.cfg.Store.DeleteVerdict(ctx, id); err != nil {
			return err
		}
		delete(t.held[id.Tenant], id)
		delete(t.ages.fell, id)
		delete(t.refused, id)
		delete(t.wholes, id)
	}
	for _, tenant := range work.judged {
		if len(t.held[tenant]) == 0 {
			delete(t.held, tenant)
		}
		t.ages.noteBrake(tenant, work.tally[tenant].Frozen)
		for _, region := range geo.Continents {
			t.ages.noteBrake(tenantIn(tenant, region), work.tally[tenantIn(tenant, region)].Frozen)
		}
		news, regions := t.metrics.judged(tenant, t.held[tenant])
		for _, region := range news {
			t.logBrake(tenant, region, work.tally[tenantIn(tenant, region)], regions[region])
		}
	}
	return nil
}

// logChanges tells people what moved.
func (t *term) logChanges(old, now health.Verdict) {
	for _, name := range slices.Sorted(maps.Keys(now.Endpoints)) {
		f, before := now.Endpoints[name], old.Endpoints[name]
		if f.State != before.State && (before.State != "" || f.State != health.Unknown) {
			t.cfg.Logger.Info("an endpoint is "+string(f.State), "endpoint", now.Pool.String()+"/"+name, "reason", f.Reason)
		}
	}
	switch out := now.Out; {
	case out != nil && old.Out == nil && out.Observed:
		t.cfg.Logger.Warn("a pool failed, and would stay out until a person resumes it, were that not only observed",
			"pool", now.Pool.String(), "seen", out.Why)
	case out != nil && old.Out == nil:
		t.cfg.Logger.Error("a pool failed, and stays out until a person resumes it: gtmctl pool resume",
			"pool", now.Pool.String(), "seen", out.Why)
	}
}

// logBrake tells people what the brake does now for clients of a region, or for all.
func (t *term) logBrake(tenant, region string, tally health.Tally, does braked) {
	log := t.cfg.Logger.With("tenant", tenant, "failing", tally.Failing, "endpoints", tally.Total)
	if region != "" {
		log = log.With("region", region)
	}
	switch {
	case does.held > 0:
		log.Error("the brake holds: so many endpoints fail at once that the observer is likelier to have broken; "+
			"look at the probers; if they have really failed: gtmctl health release", "held", does.held)
	case does.would > 0:
		log.Warn("the brake would hold what fails, and only observes", "would hold", does.would)
	default:
		log.Info("the brake lets go")
	}
}

func comparePools(a, b health.PoolID) int {
	return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Pool, b.Pool))
}
