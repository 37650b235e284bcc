package control

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

type committer interface {
	Commit(context.Context, store.Change) (store.Record, error)
	Read(context.Context, string, store.Generation) (store.TenantState, error)
}

// direct carries out changes by itself: it validates, plans and commits one generation per tenant.
type direct struct {
	s   committer
	m   *store.Mirror
	now func() time.Time
}

func newChanges(cfg Config) (changes, error) {
	s, ok := cfg.Store.(committer)
	if !ok {
		return nil, nil
	}
	return &direct{s, cfg.Mirror, cfg.Now}, nil
}

func (t *direct) all() (spec.Set, map[string]store.Generation) {
	set, heads := spec.Set{}, map[string]store.Generation{}
	for _, n := range t.m.Tenants() {
		st := t.m.Tenant(n)
		heads[n] = st.Head
		for k, v := range st.Resources {
			set[k] = v.Resource
		}
	}
	return set, heads
}

func (t *direct) apply(ctx context.Context, c change) (*api.ApplyReply, error) {
	before, heads := t.all()
	after := maps.Clone(before)
	for _, r := range c.put {
		after[r.Key] = r
	}
	for _, k := range c.remove {
		delete(after, k)
	}
	warnings, err := spec.ValidateSet(after, c.put, c.remove)
	if err != nil {
		var es spec.Errors
		if errors.As(err, &es) {
			es.Locate(c.put)
		}
		return nil, err
	}
	out := &api.ApplyReply{Plan: []api.PlanItem{}, Warnings: api.Issues(warnings), Heads: map[string]uint64{}}
	by := map[string]*store.Change{}
	get := func(tn string) *store.Change {
		if by[tn] == nil {
			by[tn] = &store.Change{Tenant: tn, Base: heads[tn], Author: c.author, Message: c.message, Time: t.now()}
		}
		return by[tn]
	}
	for _, r := range c.put {
		out.Heads[r.Tenant] = uint64(heads[r.Tenant])
	}
	for _, d := range spec.DiffSets(before, after) {
		item := api.PlanItem{Key: d.Key, Action: api.Update, Fields: d.Changes}
		switch {
		case d.Old == nil:
			item.Action, item.Fields = api.Create, nil
			get(d.Key.Tenant).Put = append(get(d.Key.Tenant).Put, d.New)
		case d.New == nil:
			item.Action, item.Fields = api.Delete, nil
			get(d.Key.Tenant).Delete = append(get(d.Key.Tenant).Delete, d.Key)
		default:
			get(d.Key.Tenant).Put = append(get(d.Key.Tenant).Put, d.New)
		}
		out.Plan = append(out.Plan, item)
	}
	if c.dryRun {
		return out, nil
	}
	for _, tn := range slices.Sorted(maps.Keys(by)) {
		rec, err := t.s.Commit(ctx, *by[tn])
		if err != nil {
			return nil, err
		}
		out.Records = append(out.Records, wireRecord(rec))
		out.Heads[tn] = uint64(rec.Generation)
	}
	return out, nil
}

func (t *direct) weights(ctx context.Context, tenant, pool string, weights map[string]int, c change) (*api.ApplyReply, error) {
	key := spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool}
	r := *t.m.Tenant(tenant).Resources[key].Resource
	p := *r.Spec.(*spec.Pool)
	p.Endpoints = slices.Clone(p.Endpoints)
	for i := range p.Endpoints {
		if w, ok := weights[p.Endpoints[i].Name]; ok {
			p.Endpoints[i].Weight = &w
		}
	}
	r.Spec = &p
	c.put = []*spec.Resource{&r}
	return t.apply(ctx, c)
}

func (d drain) key() spec.Key {
	n := "drain-" + d.pool
	if d.endpoint != "" {
		n += "-" + d.endpoint
	}
	return spec.Key{Tenant: d.tenant, Kind: spec.KindOverride, Name: n}
}

func (t *direct) drain(ctx context.Context, d drain, c change) (*api.ApplyReply, error) {
	o := &spec.Override{Pool: d.pool, Endpoint: d.endpoint, State: "drain", Reason: d.reason, Author: c.author}
	if !d.until.IsZero() {
		o.Expires = d.until.UTC().Format(time.RFC3339)
	}
	c.put = []*spec.Resource{{Key: d.key(), Spec: o}}
	return t.apply(ctx, c)
}

func (t *direct) undrain(ctx context.Context, d drain, c change) (*api.ApplyReply, error) {
	if _, ok := t.m.Tenant(d.tenant).Resources[d.key()]; ok {
		c.remove = []spec.Key{d.key()}
	}
	return t.apply(ctx, c)
}

func (t *direct) rollback(ctx context.Context, tenant string, to store.Generation, c change) (*api.ApplyReply, error) {
	old, err := t.s.Read(ctx, tenant, to)
	if err != nil {
		return nil, fmt.Errorf("%s@%d: %w", tenant, to, err)
	}
	for _, v := range old.Resources {
		c.put = append(c.put, v.Resource)
	}
	for k := range t.m.Tenant(tenant).Resources {
		if _, ok := old.Resources[k]; !ok {
			c.remove = append(c.remove, k)
		}
	}
	return t.apply(ctx, c)
}
