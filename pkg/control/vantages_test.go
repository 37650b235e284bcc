package control

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestVantages: who is alive, silent or never seen; and what is no more can be forgotten.
func TestVantages(t *testing.T) {
	w := newWorld(t)
	monitor := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"},
		Spec: &spec.Monitor{Type: "tcp", Port: 80, Vantages: []string{"fra", "nyc"}}}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42,
		Put: []state.Version{{Resource: monitor, Generation: 42}}}}})
	w.store.vantages = []store.Vantage{{ID: "fra", Region: "EU-DE", Network: "AS64500", Alive: true, Pools: 3}, {ID: "old", Pools: 2}}
	by := []spec.Key{monitor.Key}
	want := []api.Vantage{{ID: "fra", State: "alive", Region: "EU-DE", Network: "AS64500", Pools: 3, Monitors: by},
		{ID: "nyc", State: "absent", Monitors: by},
		{ID: "old", State: "silent", Pools: 2}}

	var list api.Vantages
	var status api.Status
	w.ask(t, "GET", "/v1/vantages", nil, &list)
	w.ask(t, "GET", "/v1/status", nil, &status)
	for _, got := range [][]api.Vantage{list.Vantages, status.Vantages} {
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	for path, says := range map[string]string{"fra": "its prober is alive; stop that first",
		"nyc": "the monitors that name it are shop/Monitor/m", "odl": "did you mean old?"} {
		rec := w.ask(t, "DELETE", "/v1/vantages/"+path, nil, nil)
		if p := problem(t, rec, map[bool]int{true: http.StatusConflict, false: http.StatusNotFound}[path == "fra"]); !strings.Contains(
			p.Detail, says) {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
	var gone api.Forgotten
	w.ask(t, "DELETE", "/v1/vantages/old", nil, &gone)
	if gone.ID != "old" || gone.Pools != 2 || len(w.store.vantages) != 1 {
		t.Errorf("forgot %+v; there are %+v", gone, w.store.vantages)
	}
	w.store.err = errors.New("etcd is away")
	w.ask(t, "GET", "/v1/status", nil, &status)
	if len(status.Vantages) != 3 || !strings.Contains(status.Store.Error, "etcd is away") {
		t.Errorf("without etcd: %+v", status)
	}
	problem(t, w.ask(t, "GET", "/v1/vantages", nil, nil), http.StatusServiceUnavailable)
	problem(t, w.ask(t, "DELETE", "/v1/vantages/fra", nil, nil), http.StatusServiceUnavailable)
}

// TestVotelessMonitorsAreTold: with a dead vantage in the majority nothing goes down any more, and all words are those of before.
func TestVotelessMonitorsAreTold(t *testing.T) {
	alive, silent := api.Vantage{ID: "fra", State: api.VantageAlive}, api.Vantage{ID: "old", State: api.VantageSilent, Pools: 2}
	mars := api.Vantage{ID: "mars", State: api.VantageAbsent}
	here := api.Vantage{ID: "here", State: api.VantageAlive, Region: "EU-DE"}
	for _, c := range []struct {
		monitor spec.Monitor
		known   []api.Vantage
		says    string
	}{
		{spec.Monitor{}, nil, ""},
		{spec.Monitor{}, []api.Vantage{alive, mars}, ""},
		{spec.Monitor{}, []api.Vantage{alive, silent},
			"1 of 2 vantages alive, 2 must agree; old is silent; if that prober is gone for good: gtmctl vantage forget old"},
		{spec.Monitor{Quorum: 1}, []api.Vantage{alive, silent}, ""},
		{spec.Monitor{Vantages: []string{"fra"}}, []api.Vantage{alive, silent}, ""},
		{spec.Monitor{Vantages: []string{"mars"}}, []api.Vantage{alive, mars},
			"0 of 1 vantages alive, 1 must agree; mars was never seen; start that prober, or change the monitor"},
		{spec.Monitor{Vantages: []string{"fra", "old"}, Quorum: 2}, []api.Vantage{alive, silent},
			"2 must agree; old is silent; start that prober"},
		{spec.Monitor{Agree: map[string]int{"EU": 1}}, []api.Vantage{here, mars}, ""},
		{spec.Monitor{Agree: map[string]int{"EU": 2, "EU-DE": 1}}, []api.Vantage{here, mars},
			"1 vantages of EU alive, 2 must agree; start a prober"},
		{spec.Monitor{Agree: map[string]int{"AS": 1}}, []api.Vantage{here, alive}, "0 vantages of AS alive"},
		{spec.Monitor{Vantages: []string{"fra"}, Agree: map[string]int{"EU": 1}}, []api.Vantage{here, alive}, "0 vantages of EU alive"},
	} {
		if got := whyVoteless(&c.monitor, c.known); !strings.Contains(got, c.says) || (got == "") != (c.says == "") {
			t.Errorf("%+v of %+v: %q, want %q", c.monitor, c.known, got, c.says)
		}
	}

	w := newWorld(t)
	monitor := spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"}
	pool := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "watched"}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{
		{Resource: &spec.Resource{Key: monitor, Spec: &spec.Monitor{Type: "tcp", Port: 80, Vantages: []string{"mars"}}}, Generation: 42},
		{Resource: &spec.Resource{Key: pool, Spec: &spec.Pool{Monitor: "m"}}, Generation: 42},
	}}}})
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	if len(status.Voteless) != 1 || !cmp.Equal(status.Voteless[0].Monitors, []spec.Key{monitor}) {
		t.Errorf("voteless %+v", status.Voteless)
	}
}

// TestAZoneIsUsedByTheServicesInIt, though they name it by their host only; the longest zone has them.
func TestAZoneIsUsedByTheServicesInIt(t *testing.T) {
	w := newWorld(t)
	inner := &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "deep.example."}, Spec: &spec.Zone{}}
	service := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "api"},
		Spec: &spec.Service{Host: "API.deep.example", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}}}}}}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{
		{Tenant: "platform", Head: 4, Put: []state.Version{{Resource: inner, Generation: 4}}},
		{Tenant: "shop", Head: 42, Put: []state.Version{{Resource: service, Generation: 42}}}}})
	rooms := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "rooms"},
		Spec: &spec.Service{Host: "*.rtc.Deep.example", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}}}}}}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{
		{Tenant: "shop", Head: 43, Put: []state.Version{{Resource: rooms, Generation: 43}}}}})
	for zone, want := range map[string]string{"example.": "shop/Service/web", "deep.example.": "shop/Service/api,shop/Service/rooms"} {
		var d api.Description
		w.ask(t, "GET", "/v1/resources/platform/Zone/"+zone+"/describe", nil, &d)
		if got := keyText(d.ReferredBy); got != want {
			t.Errorf("%s is used by %s, want %s", zone, got, want)
		}
	}
	var d api.Description
	w.ask(t, "GET", "/v1/resources/shop/Service/api/describe", nil, &d)
	if got := keyText(d.RefersTo); got != "shop/Pool/eu,platform/Zone/deep.example." {
		t.Errorf("api refers to %s", got)
	}
}

// TestMonitorsOfVantagesThatDoNotExistAreWarnedOf: such a monitor was taken without a word, and checked nothing.
func TestMonitorsOfVantagesThatDoNotExistAreWarnedOf(t *testing.T) {
	const apart = "none of its vantages (%s) was ever seen: nothing is checked until a prober of that name runs"
	w := newWorld(t)
	w.store.vantages = []store.Vantage{{ID: "fra", Alive: true}, {ID: "old"}}
	ask := func(vantages ...string) (warnings []string) {
		r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"},
			Spec: &spec.Monitor{Type: "tcp", Port: 80, Vantages: vantages}}
		var out api.ApplyReply
		wire, err := api.FromSpec(r)
		if err != nil {
			t.Fatal(err)
		}
		rec := w.ask(t, "POST", "/v1/apply", api.ApplyRequest{DryRun: true, Resources: []api.Resource{wire}}, &out)
		if rec.Code != http.StatusOK {
			t.Fatalf("%d: %s", rec.Code, rec.Body)
		}
		for _, i := range out.Warnings {
			warnings = append(warnings, i.Resource+": "+i.Field+": "+i.Message+"; "+i.Hint)
		}
		return warnings
	}
	for _, tc := range []struct {
		vantages []string
		want     string
	}{
		{nil, ""},
		{[]string{"fra", "old"}, ""},
		{[]string{"fra", "nyc"}, "shop/Monitor/m: spec.vantages[1]: vantage nyc was never seen; "},
		{[]string{"fra", "odl"}, "shop/Monitor/m: spec.vantages[1]: vantage odl was never seen; did you mean old?"},
		{[]string{"fra1"}, "shop/Monitor/m: spec.vantages: " + fmt.Sprintf(apart, "fra1") + "; did you mean fra?"},
		{[]string{"tokyo", "osaka"},
			"shop/Monitor/m: spec.vantages: " + fmt.Sprintf(apart, "tokyo, osaka") + "; gtmctl vantage list shows those that there are"},
	} {
		if got := strings.Join(ask(tc.vantages...), "\n"); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.vantages, got, tc.want)
		}
	}
	w.store.noSights = errors.New("the vantages cannot be read")
	if got := ask("tokyo"); got != nil {
		t.Errorf("without etcd: %q", got)
	}
}
