package guards

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/spec"
)

const ground = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.], cafe: [cafe.gtm.example.]}}
`

// of is a tenant with a service, of which a change moves all answers.
func of(tenant, pool string) string {
	yaml := ""
	for i, name := range []string{"a", "b"} {
		yaml += fmt.Sprintf("---\nkind: Pool\ntenant: %s\nname: %s\nspec: {endpoints: [{name: a, addresses: [198.51.100.%d]}]}\n", tenant,
			name, i)
	}
	return yaml + fmt.Sprintf("---\nkind: Service\ntenant: %s\nname: web\nspec: {host: web.%s.gtm.example., rules: [{pools: [%s]}]}\n",
		tenant, tenant, pool)
}

func setOf(t *testing.T, yaml string) (spec.Set, []spec.Key) {
	t.Helper()
	set, services := spec.Set{}, []spec.Key{}
	for _, r := range declared.Resources(t, yaml) {
		if set[r.Key] = r; r.Kind == spec.KindService {
			services = append(services, r.Key)
		}
	}
	return set, services
}

func guard(t *testing.T, tenant, body string) *spec.Resource {
	t.Helper()
	return declared.Resources(t, "kind: Guard\ntenant: "+tenant+"\nname: g\nspec: "+body+"\n")[0]
}

// TestAGuardMindsItsOwnTenantsAnswers, whoever moves them.
func TestAGuardMindsItsOwnTenantsAnswers(t *testing.T) {
	before, services := setOf(t, ground+of("shop", "a")+of("cafe", "a"))
	after, _ := setOf(t, ground+of("shop", "b")+of("cafe", "a"))
	e := effect.Of(effect.Input{Before: before, After: after, Services: services, World: effect.NewWorld(views.Atlas(t)), At: time.Now()})
	for tenant, want := range map[string]int{"shop": 1, "cafe": 0, spec.Platform: 1} {
		c := &Change{Guards: []*spec.Resource{guard(t, tenant, "{largestShift: {change: 50%}}")}, Effect: e,
			Steps: []Step{{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: "fra"}}}}
		if got := Judge(c); len(got) != want {
			t.Errorf("the guard of %s says %+v", tenant, got)
		}
	}
	only := guard(t, spec.Platform, "{tenants: [cafe], largestShift: {change: 50%}}")
	if got := Judge(&Change{Guards: []*spec.Resource{only}, Effect: e}); len(got) != 0 {
		t.Errorf("a guard for cafe alone says %+v", got)
	}
}

// TestAnHourIsOfTheTenantsThatTheGuardBinds, whatever else the change concerns.
func TestAnHourIsOfTheTenantsThatTheGuardBinds(t *testing.T) {
	before, services := setOf(t, ground+of("shop", "a")+of("cafe", "a"))
	after, _ := setOf(t, ground+of("shop", "b")+of("cafe", "a"))
	e := effect.Of(effect.Input{Before: before, After: after, Services: services, World: effect.NewWorld(views.Atlas(t)), At: time.Now()})
	hour := func() map[spec.Key]float64 {
		return map[spec.Key]float64{services[0]: 0.51, services[1]: 0.51, {Tenant: "shop", Kind: spec.KindService, Name: "less"}: 0.5}
	}
	for tenant, want := range map[string]int{"shop": 1, "cafe": 1, spec.Platform: 2, "bar": 0} {
		c := &Change{Guards: []*spec.Resource{guard(t, tenant, "{largestShift: {hour: 50%}}")}, Effect: e, Hour: hour}
		if got := Judge(c); len(got) != want {
			t.Errorf("the guard of %s says %+v", tenant, got)
		}
	}
	same := effect.Of(effect.Input{Before: before, After: before, Services: services, World: effect.NewWorld(views.Atlas(t)),
		At: time.Now()})
	c := &Change{Guards: []*spec.Resource{guard(t, "shop", "{largestShift: {hour: 50%}}")}, Effect: same, Hour: hour}
	if got := Judge(c); len(got) != 0 {
		t.Errorf("nothing moves: %+v", got)
	}
}

// TestWhatIsNotLookedAtIsRefused where a guard would ask for it: silence is no consent.
func TestWhatIsNotLookedAtIsRefused(t *testing.T) {
	c := &Change{Guards: []*spec.Resource{guard(t, "shop", "{leastSites: 2}")}, Effect: &effect.Effect{Skipped: 3}}
	if got := Judge(c); len(got) != 1 || !strings.Contains(got[0].Text, "concerns 3 services more than the 10000") {
		t.Errorf("got %+v", got)
	}
	c.Guards = []*spec.Resource{guard(t, "shop", "{protect: [Zone]}")}
	if got := Judge(c); len(got) != 0 {
		t.Errorf("a guard that asks for no answers says %+v", got)
	}
}

// TestBinding: the guards of tenants that have to do with a change, and the platform's that bind them.
func TestBinding(t *testing.T) {
	set := spec.Set{}
	for _, r := range []*spec.Resource{guard(t, "shop", "{leastSites: 1}"), guard(t, "cafe", "{leastSites: 1}"),
		guard(t, spec.Platform, "{tenants: [cafe], leastSites: 1}")} {
		set[r.Key] = r
	}
	for tenants, want := range map[string]string{"shop": "shop", "cafe": "cafe platform", "platform": "",
		"shop cafe": "cafe platform shop"} {
		of := map[string]bool{}
		for _, tenant := range strings.Fields(tenants) {
			of[tenant] = true
		}
		var got []string
		for _, r := range Binding(set, of) {
			got = append(got, r.Tenant)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", tenants, got, want)
		}
	}
}

// TestAFreezeIsOfAllTenantsThatItRefuses, not of the first alone: who breaks the glass for one may not for the other.
func TestAFreezeIsOfAllTenantsThatItRefuses(t *testing.T) {
	now := time.Date(2030, 12, 24, 0, 0, 0, 0, time.UTC)
	frozen := "freeze: [{from: 2030-12-20T18:00:00+01:00, until: 2031-01-02T06:00:00+01:00}]"
	for body, want := range map[string]string{"{" + frozen + "}": "[bar cafe shop]",
		"{tenants: [cafe, shop], " + frozen + "}": "[cafe shop]", "{approval: {}}": "[bar cafe shop]"} {
		c := &Change{Guards: []*spec.Resource{guard(t, spec.Platform, body)}, Now: now}
		for _, tenant := range []string{"bar", "cafe", "shop", "cafe"} {
			c.Steps = append(c.Steps, Step{Key: spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: "eu"}})
		}
		if got := Judge(c); len(got) != 1 || fmt.Sprint(got[0].Tenants) != want {
			t.Errorf("%s says %+v", body, got)
		}
	}
}

// TestForgedQueriesLetNothingPass: a guard goes by queries or by Internet users, by whatever more moves.
func TestForgedQueriesLetNothingPass(t *testing.T) {
	in := func(region string) string {
		return strings.Replace(of("shop", "a"), "rules: [", "rules: [{when: {geo: ["+region+"]}, pools: [b]}, ", 1)
	}
	from := func(country string) *demand.Sum {
		s := demand.NewSketch(time.Now())
		for range 1000 {
			s.Add("shop", "web", demand.CountryOf(country), 1e6)
		}
		return demand.Add(time.Now(), []demand.Word{{Edge: "ams1", At: time.Now(), Data: s.Encode()}})
	}
	before, services := setOf(t, ground+of("shop", "a"))
	for _, c := range []struct {
		region, asked, says string
	}{
		{"AS", "DE", "of its answers would come from another pool, weighed by Internet users (0% by the queries seen)"},
		{"EU-DE", "DE", "100% of its answers would come from another pool (of DE)"},
		{"EU-DE", "FR", ""}, // 1.5% of all users
	} {
		after, _ := setOf(t, ground+in(c.region))
		e := effect.Of(effect.Input{Before: before, After: after, Services: services, World: effect.NewWorld(views.Atlas(t)),
			At: time.Now(), Seen: from(c.asked)})
		strict := guard(t, "shop", "{largestShift: {change: 30%}, approval: {above: 20%}}")
		got := Judge(&Change{Guards: []*spec.Resource{strict}, Effect: e})
		if c.says == "" && len(got) > 0 || c.says != "" && (len(got) != 2 || !strings.Contains(got[0].Text, c.says)) {
			t.Errorf("%s moves, asked for in %s: %+v", c.region, c.asked, got)
		}
	}
}

// TestWhatWaitsHidesNoRefusal: each sort of refusal has its own bound, and no tenant is forgotten behind it.
func TestWhatWaitsHidesNoRefusal(t *testing.T) {
	was, is := ground, ground
	for i := range 25 {
		r := func(pool string) string {
			return fmt.Sprintf("---\nkind: Service\ntenant: shop\nname: s%d\nspec: {host: s%[1]d.shop.gtm.example., "+
				"rules: [{pools: [%s]}]}\n", i, pool)
		}
		was, is = was+r("a"), is+r("b")
	}
	big := func(n int) string {
		y := "---\nkind: Pool\ntenant: shop\nname: big\nspec: {endpoints: ["
		for i := range n {
			y += fmt.Sprintf("{name: e%d, addresses: [192.0.2.%d]},", i, i+1)
		}
		return y + "]}\n---\nkind: Service\ntenant: shop\nname: whole\nspec: {host: whole.shop.gtm.example., rules: [{pools: [big]}]}\n"
	}
	before, services := setOf(t, was+of("shop", "a")+big(10))
	after, _ := setOf(t, is+of("shop", "b")+big(1))
	e := effect.Of(effect.Input{Before: before, After: after, Services: services, World: effect.NewWorld(views.Atlas(t)), At: time.Now()})
	c := &Change{Guards: nil, Effect: e}
	c.Guards = append(c.Guards, guard(t, "shop", "{leastCapacity: 50%, approval: {above: 10%}}"))
	refused, waiting, _ := Split(Judge(c))
	if len(refused) != 1 || refused[0].Field != "spec.leastCapacity" || len(waiting) != mostRefusals {
		t.Errorf("%d are refused, %d wait: %+v", len(refused), len(waiting), refused)
	}
	var all []Refusal
	for i := range 30 {
		all = append(all, Refusal{Tenants: []string{fmt.Sprint("t", i%25)}})
	}
	if kept := few(all); len(kept) != mostRefusals ||
		fmt.Sprint(kept[mostRefusals-1].Tenants) != "[t19 t20 t21 t22 t23 t24 t0 t1 t2 t3 t4]" {
		t.Errorf("kept are %+v", kept)
	}
}
