package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// commitSize is how many resources one generation takes.
const commitSize = 500

// fillStore commits a configuration, unless the store has one from a former run.
func fillStore(ctx context.Context, c *store.Client, u *state.Update) error {
	heads, err := c.Heads(ctx)
	if err != nil || len(heads) > 0 {
		return err
	}
	return commit(ctx, c, u)
}

// commit brings the configuration into a store that is empty.
func commit(ctx context.Context, c *store.Client, u *state.Update) error {
	for _, t := range u.Tenants {
		base := state.Generation(0)
		for part := range slices.Chunk(t.Put, commitSize) {
			ch := store.Change{Tenant: t.Tenant, Base: base, Author: "bench", Message: "configuration", Time: time.Now()}
			for _, v := range part {
				ch.Put = append(ch.Put, v.Resource)
			}
			rec, err := c.Commit(ctx, ch)
			if err != nil {
				return err
			}
			base = rec.Generation
		}
	}
	return judge(ctx, c, state.Verdicts.In(*u).Put)
}

// judge writes verdicts, as the elected prober does.
func judge(ctx context.Context, c *store.Client, verdicts []health.Verdict) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wrote error
	err := c.Campaign(ctx, "bench", func(ctx context.Context) error {
		wrote = c.PutVerdicts(ctx, verdicts)
		cancel()
		return wrote
	})
	if wrote == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return errors.Join(wrote, err)
}

// stir makes changes: verdicts on n pools, and n times another weight.
func (s size) stir(ctx context.Context, c *store.Client, n int) error {
	var verdicts []health.Verdict
	for i := range min(n, s.pools) {
		verdicts = append(verdicts, s.verdict(i, int(time.Now().UnixNano())%s.endpoints))
	}
	if err := judge(ctx, c, verdicts); err != nil {
		return err
	}
	tenant := tenantName(0)
	state, err := c.Read(ctx, tenant, 0)
	if err != nil {
		return err
	}
	head := state.Head
	for i := range n {
		v, ok := state.Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: poolName(i * s.tenants % s.pools)})
		if !ok {
			continue
		}
		p := *v.Resource.Spec.(*spec.Pool)
		p.Endpoints = slices.Clone(p.Endpoints)
		w := 1 + int(time.Now().UnixNano()%100)
		p.Endpoints[0].Weight = &w
		rec, err := c.Commit(ctx, store.Change{Tenant: tenant, Base: head, Author: "bench", Time: time.Now(), Put: []*spec.Resource{{Key: v.Resource.Key, Spec: &p}}})
		if err != nil {
			return err
		}
		head = rec.Generation
	}
	return nil
}
