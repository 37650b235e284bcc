package rollout

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

const zoneYAML = `
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.]}}
`

const poolsYAML = `
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}
`

func service(name, rest string) string {
	return "---\nkind: Service\ntenant: shop\nname: " + name + "\nspec: {host: " + name + ".shop.gtm.example., " + rest + "}\n"
}

// TestWhatAGenerationIsPlannedToDo: of services that are counted, by what was and what comes, with the overrides of now on both sides.
func TestWhatAGenerationIsPlannedToDo(t *testing.T) {
	t.Parallel()
	client, m := etcds.Open(t, etcds.Start(t)), state.NewMirror()
	heads := map[string]state.Generation{}
	commit := func(tenant, yaml string) {
		t.Helper()
		resources := declared.Resources(t, yaml)
		_, err := client.Commit(t.Context(), store.Change{Tenant: tenant, Base: heads[tenant], Put: resources, Time: began})
		if err != nil {
			t.Fatal(err)
		}
		heads[tenant]++
		now, err := client.Read(t.Context(), tenant, heads[tenant])
		if err != nil {
			t.Fatal(err)
		}
		u := state.TenantUpdate{Tenant: tenant, Head: now.Head, ID: now.ID}
		for _, v := range now.Resources.All() {
			u.Put = append(u.Put, v)
		}
		m.Apply(state.Update{Cluster: 7, Cursor: int64(len(heads)), Tenants: []state.TenantUpdate{u}})
	}
	m.Apply(state.Update{Full: true, Cluster: 7, Cursor: 1})
	const even, mostly = "rules: [{pools: [{pool: eu, weight: 50}, {pool: us, weight: 50}]}]",
		"rules: [{pools: [{pool: eu, weight: 95}, {pool: us, weight: 5}]}]"
	commit(spec.Platform, zoneYAML)
	commit("shop", poolsYAML+service("web", "metrics: true, "+even)+service("same", "metrics: true, "+even)+service("uncounted", even))
	commit("shop", service("web", "metrics: true, "+mostly)+service("uncounted", mostly))
	d, err := New(Config{Store: client, Mirror: m, Eyes: quiet{}, Logger: slog.New(slog.DiscardHandler), World: effect.Opener(),
		Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	at := func(g state.Generation) state.Mark {
		s, err := client.Read(t.Context(), "shop", g)
		if err != nil {
			t.Fatal(err)
		}
		return state.MarkOf(s)
	}
	a := &state.Aim{Tenant: "shop", InForce: threeGroups, Rollout: &state.Progress{From: at(1), To: at(2)}}
	begun := state.Aim{Tenant: "shop"}
	start(&begun, &rules{own: threeGroups, head: at(1)}, began, "")
	begin(&begun, at(2), threeGroups, began)
	if next := d.look(t.Context(), &begun, nil); len(next.Rollout.Planned) != 1 || next.Groups[0].At != at(2) {
		t.Errorf("before the first group is pointed, planned is %+v", next.Rollout.Planned)
	}
	begun.Groups[0].At = at(2)
	if next := d.look(t.Context(), &begun, nil); len(next.Rollout.Planned) != 0 {
		t.Errorf("it is worked out again and again: %+v", next.Rollout.Planned)
	}
	for _, newer := range []bool{false, true} {
		if newer { // and the state of the generation is to be read
			commit("shop", service("web", "metrics: true, rules: [{pools: [us]}]"))
		}
		got, _, _ := d.plan(t.Context(), a)
		if len(got) != 1 || got[0].Service != "web" || got[0].From != "us" || got[0].To != "eu" || math.Abs(got[0].Part-0.9) > 0.01 {
			t.Errorf("planned: %+v", got)
		}
	}
	commit("shop", "kind: Override\ntenant: shop\nname: o\n"+
		"spec: {pool: us, state: down, reason: test, author: test, expires: 2100-01-01T00:00:00Z}\n")
	if got, _, _ := d.plan(t.Context(), a); len(got) > 0 {
		t.Errorf("nothing comes from us now, and is planned to move: %+v", got)
	}
	if e, err := d.effect(t.Context(), a); err != nil || len(e.Moments()) != 1 {
		t.Errorf("it is worked out as of moments that nobody reads: %v, %v", e, err)
	}
	for name, broken := range map[string]func(*Config){
		"no geography":        func(c *Config) { c.World = func() (*effect.World, error) { return nil, errors.New("no file") } },
		"it panics":           func(c *Config) { c.World = func() (*effect.World, error) { panic("x") } },
		"nobody works it out": func(c *Config) { c.World = nil },
	} {
		one := *d
		broken(&one.cfg)
		if got, _, _ := one.plan(t.Context(), a); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	a.InForce = &spec.Rollout{Groups: threeGroups.Groups}
	a.Rollout.From = state.Mark{Generation: 99}
	if got, _, _ := d.plan(t.Context(), a); got != nil {
		t.Errorf("without the gate: %+v", got)
	}
}

// ailing is a store that cannot be read some times.
type ailing struct {
	Store
	fails int
}

func (s *ailing) Read(context.Context, string, state.Generation) (state.TenantState, error) {
	if s.fails--; s.fails >= 0 {
		return state.TenantState{}, errors.New("it hiccups")
	}
	return state.TenantState{}, nil
}

// TestAPlanIsTriedAgain: the first group is not pointed meanwhile; and without a plan in the end.
func TestAPlanIsTriedAgain(t *testing.T) {
	for _, fails := range []int{0, 1, planTries - 1, planTries, planTries + 1} {
		d, err := New(Config{Store: &ailing{fails: fails}, Mirror: state.NewMirror(), Eyes: quiet{}, World: effect.Opener(),
			Now: func() time.Time { return began }})
		if err != nil {
			t.Fatal(err)
		}
		a := state.Aim{Tenant: "shop"}
		start(&a, &rules{own: threeGroups, head: mark(1)}, began, "")
		begin(&a, mark(2), threeGroups, began)
		looks := min(fails, planTries-1)
		for i := range looks {
			a = d.look(t.Context(), &a, nil)
			if p := a.Rollout; a.Groups[0].At != mark(1) || p.PlanTries != i+1 || len(p.Waits) != 1 {
				t.Fatalf("%d fail: after %d looks it is %+v at %v", fails, i+1, p, a.Groups[0].At)
			}
		}
		a = d.look(t.Context(), &a, nil)
		if p := a.Rollout; a.Groups[0].At != mark(2) || p.PlanTries != 0 || len(p.Waits) != 0 {
			t.Errorf("%d fail: in the end it is %+v at %v", fails, p, a.Groups[0].At)
		}
	}
}

// histories gives records, newest first.
type histories struct {
	Store
	records []state.Record
}

func (h *histories) History(_ context.Context, _ string, limit int) ([]state.Record, error) {
	return h.records[:min(limit, len(h.records))], nil
}

// TestWhatWaitsForNoRollout: overrides, and updates by keys of zones unless they are staged.
func TestWhatWaitsForNoRollout(t *testing.T) {
	zone := []spec.Key{{Tenant: spec.Platform, Kind: spec.KindZone, Name: "gtm.example."}}
	drain := []spec.Key{{Tenant: spec.Platform, Kind: spec.KindOverride, Name: "o"}}
	both := append(append([]spec.Key{}, zone...), drain...)
	pool := []spec.Key{{Tenant: spec.Platform, Kind: spec.KindPool, Name: "p"}}
	for _, c := range []struct {
		name            string
		records         []state.Record
		through, staged bool
	}{
		{"an override", []state.Record{{Author: "ann", Put: drain}}, true, true},
		{"one that is taken back", []state.Record{{Author: "ann", Deleted: drain}}, true, true},
		{"an update", []state.Record{{Author: "key/acme", Put: zone}}, true, false},
		{"several", []state.Record{{Author: "key/acme", Put: zone}, {Author: "ann", Put: drain}}, true, false},
		{"a person's zone", []state.Record{{Author: "user:key/acme", Put: zone}}, false, false},
		{"a copied zone", []state.Record{{Author: "transfer", Put: zone}}, false, false},
		{"a person's before", []state.Record{{Author: "key/acme", Put: zone}, {Author: "ann", Put: zone}}, false, false},
		{"a pool by a key", []state.Record{{Author: "key/acme", Put: append(pool, zone...)}}, false, false},
		{"a person's zone and a drain", []state.Record{{Author: "ann", Put: both}}, false, false},
		{"nothing that is known", []state.Record{{Author: "key/acme"}}, false, false},
		{"it is not all told", nil, false, false},
	} {
		d := &Driver{cfg: Config{Store: &histories{records: c.records}}}
		head := state.Mark{Generation: 1 + state.Generation(max(1, len(c.records)))}
		for updates, want := range map[string]bool{"": c.through, spec.UpdatesThrough: c.through, spec.UpdatesStaged: c.staged} {
			a := &state.Aim{InForce: &spec.Rollout{Updates: updates}}
			if got := d.passes(t.Context(), a, mark(1), head); got != want {
				t.Errorf("%s, updates %q: %v", c.name, updates, got)
			}
		}
	}
}
