package past

import (
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// change is what one pool's verdict was before it changed: with the changes since then taken back, the present becomes the past.
type change struct {
	at     time.Time
	pool   health.PoolID
	before *health.Verdict // nil: there was none
	size   int             // bytes, about
}

// News is what an update changed.
type News struct {
	At     time.Time
	Cursor state.Cursor // its IDs and heads are left out
	// Anew: of another store, or the first one. What verdicts were before is not known, and Changes are none.
	Anew    bool
	Changes []Change
	// Declared are the tenants of which a pool, a service, an override or what a source found changed, sorted.
	Declared []string
	// Moved are the tenants that have another head, but of another store.
	Moved []Moved
}

// Moved is one tenant's way to a newer generation.
type Moved struct {
	Tenant  string
	Was, Is state.Generation
}

// Change is what one pool's verdict was and is. nil: there was none, or there is none any more.
type Change struct {
	Pool    health.PoolID
	Was, Is *health.Verdict
}

// Apply has the mirror take in an update, and keeps what that changes of verdicts.
func (p *Past) Apply(u state.Update) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	news := News{At: now, Cursor: state.Cursor{Cluster: u.Cluster, Revision: u.Cursor, Epoch: u.Epoch}}
	for i := range u.Tenants {
		t := &u.Tenants[i]
		if steers(t) {
			news.Declared = append(news.Declared, t.Tenant)
		}
		if was := p.cfg.Mirror.Tenant(t.Tenant).Head; t.Head > was {
			news.Moved = append(news.Moved, Moved{t.Tenant, was, t.Head})
		}
	}
	news.Declared = append(news.Declared, p.cfg.Mirror.Rejoined(&u)...) // what was found takes pools up and down as what is declared does
	slices.Sort(news.Declared)
	news.Declared = slices.Compact(news.Declared)
	switch {
	case p.since.IsZero() || u.Full && (u.Epoch != p.epoch || u.Cluster != p.cluster): // of another store no state leads here
		p.cfg.Mirror.Apply(u)
		p.changes, p.bytes, p.since, p.epoch, p.cluster = nil, 0, now, u.Epoch, u.Cluster
		news.Anew, news.Moved = true, nil
	case u.Full:
		news.Changes = p.applyFull(u)
	default:
		news.Changes = p.applyNews(u)
	}
	for _, c := range news.Changes {
		p.keep(now, c.Pool, c.Was)
	}
	p.forget(now)
	if p.cfg.Replaced != nil {
		p.cfg.Replaced(news)
	}
}

// steers reports whether an update of a tenant can take pools up or down.
func steers(t *state.TenantUpdate) bool {
	is := func(kind spec.Kind) bool {
		return kind == spec.KindPool || kind == spec.KindService || kind == spec.KindOverride
	}
	return slices.ContainsFunc(t.Put, func(v state.Version) bool { return is(v.Resource.Kind) }) ||
		slices.ContainsFunc(t.Deleted, func(k spec.Key) bool { return is(k.Kind) })
}

func (p *Past) applyFull(u state.Update) (changes []Change) {
	before := p.cfg.Mirror.Verdicts()
	p.cfg.Mirror.Apply(u)
	after := p.cfg.Mirror.Verdicts()
	for id, was := range before {
		if is, ok := after[id]; !ok {
			changes = append(changes, Change{Pool: id, Was: &was})
		} else if !was.Equal(is) {
			changes = append(changes, Change{id, &was, &is})
		}
	}
	for id, is := range after {
		if _, ok := before[id]; !ok {
			changes = append(changes, Change{Pool: id, Is: &is})
		}
	}
	return changes
}

func (p *Past) applyNews(u state.Update) (changes []Change) {
	news := state.Verdicts.In(u)
	for i := range news.Put {
		is := &news.Put[i]
		if was, ok := p.cfg.Mirror.Verdict(is.Pool); !ok {
			changes = append(changes, Change{Pool: is.Pool, Is: is})
		} else if !was.Equal(*is) {
			changes = append(changes, Change{is.Pool, &was, is})
		}
	}
	for _, id := range news.Deleted {
		if was, ok := p.cfg.Mirror.Verdict(id); ok {
			changes = append(changes, Change{Pool: id, Was: &was})
		}
	}
	p.cfg.Mirror.Apply(u)
	return changes
}

func (p *Past) keep(at time.Time, id health.PoolID, before *health.Verdict) {
	c := change{at, id, before, sizeOf(before)}
	p.bytes += c.size
	p.changes = append(p.changes, c)
}

// sizeOf tells about how many bytes a change holds.
func sizeOf(v *health.Verdict) int {
	const itself, verdict, finding = 96, 256, 224 // as measured, with four endpoints
	if v == nil {
		return itself
	}
	size := itself + verdict + len(v.Cause)
	for name, f := range v.Endpoints {
		size += finding + len(name) + len(f.Reason)
	}
	return size
}

// forget drops what is too old, and the oldest where there is too much.
func (p *Past) forget(now time.Time) {
	n := 0
	for n < len(p.changes) && (p.bytes > p.cfg.Most || now.Sub(p.changes[n].at) > p.cfg.Keep) {
		p.bytes -= p.changes[n].size
		p.since = p.changes[n].at
		p.changes[n] = change{}
		n++
	}
	p.changes = p.changes[n:]
}

// verdictsAt gives the verdicts of some tenants' pools at a time.
func (p *Past) verdictsAt(at time.Time, tenants []state.TenantState, names []string) []health.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	then := map[health.PoolID]*health.Verdict{}
	wanted := map[string]bool{}
	for i, name := range names {
		wanted[name] = true
		for key := range tenants[i].Resources.All() {
			if key.Kind != spec.KindPool {
				continue
			}
			for _, region := range append([]string{""}, geo.Continents[:]...) {
				id := health.PoolID{Tenant: name, Pool: key.Name}.For(region)
				if v, ok := p.cfg.Mirror.Verdict(id); ok {
					then[id] = &v
				}
			}
		}
	}
	for i := len(p.changes) - 1; i >= 0 && p.changes[i].at.After(at); i-- {
		if c := &p.changes[i]; wanted[c.pool.Tenant] {
			then[c.pool] = c.before
		}
	}
	var out []health.Verdict
	for _, v := range then {
		if v != nil {
			out = append(out, *v)
		}
	}
	return out
}
