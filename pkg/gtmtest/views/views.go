// Package views compiles what tests declare.
package views

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
)

// builtin is the built-in geography, opened once for all tests of a program.
var builtin = sync.OnceValues(func() (*geo.Atlas, error) { return geo.Open() })

// Atlas gives the built-in geography.
func Atlas(t testing.TB) *geo.Atlas {
	t.Helper()
	atlas, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	return atlas
}

// A World is a compiler, over some geography, and the view of what it was given last. Its methods are for one goroutine; View may
// be loaded by any.
type World struct {
	*compile.Compiler
	View       atomic.Pointer[table.View]
	Generation uint64    // of what Put put last
	Now        time.Time // when views are compiled

	t testing.TB
}

// New gives a World of nothing. Draws follow the seed.
func New(t testing.TB, seed uint64) *World {
	t.Helper()
	return Over(t, Atlas(t), seed)
}

// Over is New with another geography.
func Over(t testing.TB, atlas *geo.Atlas, seed uint64) *World {
	return &World{Compiler: compile.New(compile.Config{Seed: seed, Workers: 1}, atlas), Now: time.Now(), t: t}
}

// Put declares resources, as the next generation of their tenants.
func (w *World) Put(yaml ...string) {
	w.t.Helper()
	w.PutResources(declared.Resources(w.t, yaml...)...)
}

// PutResources is Put of what was read before.
func (w *World) PutResources(resources ...*spec.Resource) {
	w.t.Helper()
	w.Generation++
	var change compile.Change
	at := map[string]int{}
	for _, r := range resources {
		i, ok := at[r.Tenant]
		if !ok {
			i = len(change.Tenants)
			at[r.Tenant] = i
			change.Tenants = append(change.Tenants, compile.TenantChange{Tenant: r.Tenant, Head: w.Generation})
		}
		change.Tenants[i].Put = append(change.Tenants[i].Put, compile.Item{Resource: r, Generation: w.Generation})
	}
	w.Change(change)
}

// Down has every one of the endpoints fail that are named of a pool.
func (w *World) Down(tenant, pool string, endpoints ...string) {
	w.t.Helper()
	v := health.Verdict{Pool: health.PoolID{Tenant: tenant, Pool: pool}, Endpoints: map[string]health.Finding{}}
	for _, name := range endpoints {
		v.Endpoints[name] = health.Finding{State: health.Down}
	}
	w.Change(compile.Change{Verdicts: []health.Verdict{v}})
}

// Change takes a change in and compiles. The test fails if anything is broken.
func (w *World) Change(change compile.Change) {
	w.t.Helper()
	w.Apply(change)
	view, broken, _ := w.Compile(w.Now)
	if len(broken) > 0 {
		w.t.Fatalf("broken: %v", broken)
	}
	w.View.Store(view)
}
