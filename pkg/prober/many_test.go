package prober

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
)

// hear has a world hear what is stored.
func hear(t *testing.T, w *world, f *fakeStore) {
	t.Helper()
	if err := w.applyObservations(store.ObservationUpdate{Put: slices.Collect(maps.Values(f.obs))}); err != nil {
		t.Fatal(err)
	}
}

// TestWholesGiveWayToChanges: endpoints of large pools flap beside sixty tenants that write as much as they may. What is written of changes
// stays within the tenant's share, so that none is late: wholes are written of what is left over. They took 5 kB a second of 4.
func TestWholesGiveWayToChanges(t *testing.T) {
	const pools, size, others, minutes = 3, 1024, 60, 20
	synctest.Test(t, func(t *testing.T) {
		rng := gtmtest.Random(t)
		f := newFakeStore()
		cfg := Config{ID: "fra", Store: f}
		cfg.setDefaults()
		w := newWorld(cfg.Logger)
		a := newAgent(cfg, w, newMetrics(nil))
		w.older, a.plain = true, true
		resources := []*spec.Resource{monitorRes("m", spec.Monitor{Rise: 1, Fall: 1})}
		for i := range pools {
			resources = append(resources, &spec.Resource{Key: poolKey(fmt.Sprint("p", i)), Spec: crowd(size)})
		}
		w.plans["shop"] = planOf(resources...)
		a.adopt("shop")
		states := map[probe.ID]probe.Outcome{}
		flap := func(pool, endpoint int) {
			id := probe.ID{Tenant: "shop", Pool: fmt.Sprint("p", pool), Endpoint: fmt.Sprintf("endpoint-%04d", endpoint)}
			if states[id] = probe.Passed + probe.Failed - states[id]; states[id] > probe.Failed {
				states[id] = probe.Passed // the first time
			}
			a.result(probe.Result{ID: id, Of: fmt.Sprintf("198.18.%d.%d", endpoint>>8, endpoint&255), At: time.Now(), Outcome: states[id]})
		}
		for i := range pools {
			for j := range size {
				flap(i, j)
			}
		}
		a.write(t.Context())
		first, changes, late := f.bytes["shop"], 0, 0
		for second := range minutes * 60 {
			time.Sleep(time.Second)
			for i := range others {
				a.budget.Pay(fmt.Sprint("other", i), pace.TenantBurst, time.Now())
			}
			if second%30 == 0 {
				hear(t, w, f)
				a.audit()
			}
			for range 4 {
				flap(rng.IntN(pools), rng.IntN(size/20))
				changes++
			}
			if a.write(t.Context()) > 0 {
				late++
			}
		}
		written, share := f.bytes["shop"]-first, minutes*60*pace.TotalRate/(others+1)
		t.Logf("%d changes, %d kB of %d; late for %d s", changes, written/1000, share/1000, late)
		if late > 0 || written < share/2 {
			t.Errorf("%d bytes of %d; late for %d s", written, share, late)
		}
	})
}

// TestTheJudgesWholesGiveWay: it writes a whole that is due only while the tenant has half of what it may write at once left, whether
// pieces have cost as much or an older program reads.
func TestTheJudgesWholesGiveWay(t *testing.T) {
	id, now := health.PoolID{Tenant: "shop", Pool: "eu"}, time.Unix(1_800_000_000, 0)
	for _, older := range []bool{false, true} {
		tm := &term{budget: pace.New(), plain: older, wholes: map[health.PoolID]*wholes{id: {whole: 1000, inPieces: true, since: 1000}}}
		if !tm.wholeDue(id, 20, now) {
			t.Errorf("older %v: it is due", older)
		}
		tm.budget.Pay("shop", pace.TenantBurst/2+1, now)
		if tm.wholeDue(id, 20, now) {
			t.Errorf("older %v: it takes of what changes need", older)
		}
		if tm.budget.WaitTenant("shop", now) > 0 {
			t.Errorf("older %v: changes would wait, too", older)
		}
	}
}
