package prober

import (
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

func planOf(resources ...*spec.Resource) *plan {
	var all []state.Version
	for _, r := range resources {
		all = append(all, state.Version{Resource: r})
	}
	own := state.NewResources(all...)
	return makePlan(own, own, nil)
}

// What operators and weights say of endpoints: an override of the state until it expires, and weights of 0.
func TestStands(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	zero := 0
	const judged, up, down, drained, weightless = health.Judged, health.SaidUp, health.SaidDown, health.Drained, health.Weightless
	for _, tc := range []struct {
		what string
		o    []spec.Override
		a, b health.Stand
	}{
		{"nothing", nil, judged, weightless},
		{"one endpoint", []spec.Override{{Pool: "eu", Endpoint: "a", State: "down"}}, down, weightless},
		{"the whole pool", []spec.Override{{Pool: "eu", State: "drain"}}, drained, drained},
		{"another pool", []spec.Override{{Pool: "us", State: "down"}}, judged, weightless},
		{"until later", []spec.Override{{Pool: "eu", State: "up", Expires: spec.TimeOf("2026-01-01T13:00:01+01:00")}}, up, drained},
		{"from later on", []spec.Override{{Pool: "eu", State: "up", Starts: spec.TimeOf("2026-01-01T12:00:01Z")}}, judged, weightless},
		{"from now on", []spec.Override{{Pool: "eu", State: "up", Starts: spec.TimeOf("2026-01-01T12:00:00Z")}}, up, drained},
		{"at this hour", []spec.Override{{Pool: "eu", State: "up", Schedule: &spec.Schedule{Cron: "30 11 * * *",
			For: spec.Duration(time.Hour)}}},
			up, drained},
		{"of a rule", []spec.Override{{Service: "web", Rule: "1", Pool: "eu", Weight: &spec.Ramp{}}}, judged, weightless},
		{"until now", []spec.Override{{Pool: "eu", State: "up", Expires: spec.TimeOf("2026-01-01T12:00:00Z")}}, judged, weightless},
		{"a date that cannot be read", []spec.Override{{Pool: "eu", State: "up", Expires: spec.TimeOf("tomorrow")}}, judged, weightless},
		{"only a weight", []spec.Override{{Pool: "eu", Endpoint: "a", Weight: &spec.Ramp{}}, {Pool: "eu", Endpoint: "b",
			Weight: &spec.Ramp{To: 1}}},
			weightless, judged},
		{"that of an endpoint comes first", []spec.Override{{Pool: "eu", Endpoint: "a", State: "up"}, {Pool: "eu", State: "down"}},
			up, drained},
		{"but a drain holds", []spec.Override{{Pool: "eu", Endpoint: "a", State: "up"}, {Pool: "eu", State: "drain"}}, drained, drained},
	} {
		eu := poolRes("eu", "m", s1, s2)
		eu.Spec.(*spec.Pool).Endpoints[1].Weight = &zero
		resources := []*spec.Resource{eu}
		for i, o := range tc.o {
			resources = append(resources, overrideRes(string(rune('p'+i)), o))
		}
		stands := planOf(resources...).declared(nil, now)[health.PoolID{Tenant: "shop", Pool: "eu"}].Stands
		if stands["a"] != tc.a || stands["b"] != tc.b {
			t.Errorf("%s: %v, want %v %v", tc.what, stands, tc.a, tc.b)
		}
	}
}

// A pool stands in the row of each rule that can lead to it, by its pools or by lastResort; what no client gets to makes none.
func TestRows(t *testing.T) {
	refs := func(names ...string) (out []spec.Target) {
		for _, name := range names {
			out = append(out, spec.Target{Pool: name})
		}
		return out
	}
	p := planOf(poolRes("a", ""), poolRes("b", ""), poolRes("c", ""), poolRes("d", ""), poolRes("e", ""),
		serviceRes("web", spec.Service{LastResort: refs("c"), Rules: []spec.Rule{
			{Name: "eu", When: &spec.When{Geo: []string{"EU"}}, Pools: refs("a", "b", "a")},
			{Pools: refs("b")}, {Name: "never", Pools: refs("d")}}}),
		serviceRes("api", spec.Service{LastResort: refs("c"),
			Rules: []spec.Rule{{Name: "eu", When: &spec.When{Geo: []string{"EU"}}, Pools: refs("a")}}}),
		serviceRes("alias", spec.Service{Alias: &spec.Alias{To: "web.example."}}))
	for pool, want := range map[string]string{
		"a": "rule eu of service api: a c; rule eu of service web: a b c; ",
		"b": "rule 2 of service web: b c; rule eu of service web: a b c; ",
		"c": "lastResort of service api: c; rule 2 of service web: b c; rule eu of service api: a c; rule eu of service web: a b c; ",
		"d": "", "e": "",
	} {
		got := ""
		for _, row := range p.declared(nil, time.Time{})[health.PoolID{Tenant: "shop", Pool: pool}].Rows {
			got += row.Name + ":"
			for _, id := range row.Pools {
				got += " " + id.Pool
			}
			got += "; "
		}
		if got != want {
			t.Errorf("%s: %q, want %q", pool, got, want)
		}
	}
}

// What cannot be checked is said, and costs nothing else its check.
func TestFaults(t *testing.T) {
	mixed := poolRes("eu", "m", s1)
	p := mixed.Spec.(*spec.Pool)
	p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: "x"})
	got := planOf(monitorRes("m", spec.Monitor{}), mixed, poolRes("us", "nowhere", s2))
	want := []string{
		`shop/Pool/eu: endpoint "x" is not checked: it has no address, host or probe`,
		`shop/Pool/us: monitor "nowhere" is missing or cannot be read; the last verdict holds`,
	}
	if !slices.Equal(got.faults, want) {
		t.Errorf("%q", got.faults)
	}
	eu := got.pools[health.PoolID{Tenant: "shop", Pool: "eu"}]
	if len(eu.checks) != 1 || !slices.Equal(eu.endpoints, []string{"a", "x"}) {
		t.Errorf("%+v", eu)
	}
}
