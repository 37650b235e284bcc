package rollout

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// see asks what there is to know of the group that soaks.
func (d *Driver) see(ctx context.Context, a *state.Aim, edges []api.Edge) sight {
	r := a.InForce
	s := sight{edges: edges, counts: map[string]state.Counts{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, asksOnce)
	for _, e := range edgesOf(a, edges, a.Rollout.Stage) {
		if e.Status == nil {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			counts, err := d.cfg.Eyes.Counts(ctx, e.ID, a.Tenant, r.Gates.Latency != "")
			var failed string
			for _, host := range r.Gates.Probes {
				if e.Status.Tenants[a.Tenant] != uint64(a.Rollout.To.Generation) {
					break
				}
				if err := d.cfg.Eyes.Answers(ctx, e.ID, host); err != nil && failed == "" {
					failed = fmt.Sprintf("edge %s has no answer for the probe %s: %s", e.ID, host, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				s.counts[e.ID] = counts
			} else if len(s.blind) < blindnessMax {
				s.blind = append(s.blind, fmt.Sprintf("edge %s does not tell what it counted: %s", e.ID, err))
			}
			if failed != "" {
				s.failed = append(s.failed, failed)
			}
		})
	}
	if r.Gates.ServFail != "" || r.Gates.NXDomain != "" {
		wg.Go(func() { s.others = d.countsElsewhere(ctx, a, edges) })
	}
	wg.Wait()
	slices.Sort(s.failed)
	d.seeOthers(ctx, a.Tenant, r, &s)
	return s
}

// countsElsewhere asks some edges that have not got the generation what they counted.
func (d *Driver) countsElsewhere(ctx context.Context, a *state.Aim, edges []api.Edge) map[string]state.Counts {
	var mu sync.Mutex
	var wg sync.WaitGroup
	out, asked := map[string]state.Counts{}, 0
	slots := make(chan struct{}, asksOnce)
	for i := range edges {
		e := &edges[i]
		if e.Status == nil || a.Group(e.ID) <= a.Rollout.Stage || asked == othersMost {
			continue
		}
		asked++
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if counts, err := d.cfg.Eyes.Counts(ctx, e.ID, a.Tenant, false); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[e.ID] = counts
			}
		})
	}
	wg.Wait()
	return out
}

// seeOthers asks whom edges know nothing of.
func (d *Driver) seeOthers(ctx context.Context, tenant string, r *spec.Rollout, s *sight) {
	if least, err := spec.ParseShare(r.Gates.Healthy); err == nil {
		if up, all := d.cfg.Eyes.Up(tenant); all > 0 && 100*up < least*all {
			s.failed = append(s.failed, fmt.Sprintf("%d of %d endpoints are up: gates.healthy wants %s", up, all, r.Gates.Healthy))
		}
	}
	if p := r.Gates.Prometheus; p != nil {
		switch value, err := d.cfg.Query(ctx, p.URL, p.Query); {
		case err != nil:
			s.blind = append(s.blind, "Prometheus gives no answer: "+err.Error())
		case value > p.Most:
			s.failed = append(s.failed, fmt.Sprintf("the query of gates.prometheus gives %g: at most %g is allowed", value, p.Most))
		}
	}
}
