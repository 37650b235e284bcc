package change

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

func quotaOf(body string) string {
	return "kind: Tenant\ntenant: platform\nname: platform\nspec: {limits: {quota: " + body + "}}\n"
}

// checkedPool has a monitor, two endpoints, and three addresses that are checked.
func checkedPool(name, monitor string) string {
	return fmt.Sprintf("kind: Pool\ntenant: shop\nname: %s\nspec: {monitor: %s, endpoints: ["+
		"{name: a, addresses: [198.51.100.1, 198.51.100.2]}, "+
		"{name: b, addresses: [198.51.100.3, 198.51.100.4], probe: 198.51.100.9}]}\n", name, monitor)
}

// foundPool has a monitor, an endpoint, and two sources which may have three each.
func foundPool(name, monitor string) string {
	return strings.Replace(checkedPool(name, monitor), "endpoints: [{name: a, addresses: [198.51.100.1, 198.51.100.2]}, "+
		"{name: b, addresses: [198.51.100.3, 198.51.100.4], probe: 198.51.100.9}]", "endpoints: [{name: a, addresses: [198.51.100.1]}], "+
		"discover: [{name: x, pushed: true, most: 3}, {name: y, file: f, most: 3}]", 1)
}

// severalPool is that with two monitors.
func severalPool(name, one, two string) string {
	return strings.Replace(checkedPool(name, ""), "monitor: ,", "checks: {of: ["+one+"], watch: ["+two+"]},", 1)
}

func monitorOf(name, interval string) string {
	return fmt.Sprintf("kind: Monitor\ntenant: shop\nname: %s\nspec: {type: tcp, port: 80, interval: %s}\n", name, interval)
}

// TestATenantHasAQuota: a tenant could declare resources until the store, control, every prober and every edge were full, for all.
// The house's shop has 2 resources, 1 service, 2 endpoints.
func TestATenantHasAQuota(t *testing.T) {
	long := "kind: Monitor\ntenant: shop\nname: m\nspec: {type: http, body: " + strings.Repeat("x", 1_000_000) + "}\n"
	us, another := poolOf("shop", "us", "198.51.100.9"), serviceOf("shop", "s", "s.shop.gtm.example.", "eu")
	one, two := poolOf("cafe", "p", "198.51.100.9"), poolOf("cafe", "q", "198.51.100.9")
	for _, c := range []struct{ quota, put, says string }{
		{"{all: {resources: 3}}", us, ""},
		{"{all: {resources: 2}}", us, "c.yaml:1: shop/Pool/us: with this change shop would have 3 resources (overrides apart): " +
			"its quota is 2, and it has 2; delete others, or ask who runs the platform to raise " +
			"spec.limits.quota.tenants.shop.resources of platform/Tenant/platform"},
		{"{all: {services: 1}}", another, "/s: with this change shop would have 2 services: its quota is 1, and it has 1;"},
		{"{all: {services: 1}, tenants: {shop: {services: 2}}}", another, ""},
		{"{all: {services: 2}, tenants: {shop: {services: 1}}}", another, "would have 2 services: its quota is 1"},
		{"{all: {services: 1}, tenants: {cafe: {services: 5}}}", another, "would have 2 services: its quota is 1"},
		{"{all: {endpoints: 3}}", us, ""},
		{"{all: {endpoints: 2}}", join(monitorOf("m", "1s"), us), "us: with this change shop would have 3 endpoints: its quota is 2,"},
		{"{all: {checks: 3}}", join(monitorOf("m", "1s"), checkedPool("us", "m")), ""},
		{"{all: {checks: 6}}", join(monitorOf("m", "1s"), monitorOf("n", "1s"), severalPool("us", "m", "n")), ""},
		{"{all: {checks: 5}}", join(monitorOf("m", "1s"), monitorOf("n", "1s"), severalPool("us", "m", "n")),
			"us: with this change shop would have 6 checks a second: its quota is 5"},
		{"{all: {checks: 2}}", join(monitorOf("m", "1s"), checkedPool("us", "m")),
			"us: with this change shop would have 3 checks a second: its quota is 2"},
		{"{all: {checks: 1}}", join(monitorOf("m", "3s"), checkedPool("us", "m")), ""},
		{"{all: {checks: 1}}", join(monitorOf("m", "2s"), checkedPool("us", "m")), "would have 2 checks a second: its quota is 1"},
		{"{all: {megabytes: 1}}", long, "shop/Monitor/m: with this change shop would have 2 MB of resources: its quota is 1, and it has 1"},
		{"{all: {megabytes: 2}}", long, ""},
		{"{all: {resources: 1, services: 1, endpoints: 1, megabytes: 1}}", poolOf("platform", "p", "198.51.100.9"), ""},
		{"{all: {resources: 1}}", one, ""},
		{"{all: {sources: 2, endpoints: 9}}", join(monitorOf("m", "1s"), foundPool("us", "m")), ""}, // as many as can be found, and own
		{"{all: {sources: 1}}", join(monitorOf("m", "1s"), foundPool("us", "m")),
			"us: with this change shop would have 2 sources of endpoints: its quota is 1"},
		{"{all: {endpoints: 8}}", join(monitorOf("m", "1s"), foundPool("us", "m")),
			"us: with this change shop would have 9 endpoints: its quota is 8"},
		{"{all: {checks: 6}}", join(monitorOf("m", "1s"), foundPool("us", "m")), "would have 7 checks a second: its quota is 6"},
		{"{all: {resources: 1}}", join(one, two), "c.yaml:1: cafe/Pool/p: with this change cafe would have 2 resources"},
	} {
		ch, _ := house(t)
		mustApply(t, ch, Input{Put: decode(t, quotaOf(c.quota))})
		_, err := ch.Plan(context.Background(), Input{Put: decode(t, c.put)})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", c.quota, err, c.says)
		}
		if _, err := ch.Plan(context.Background(), Input{Put: decode(t, c.put), Unbounded: true}); err != nil {
			t.Errorf("%s, put back: %v", c.quota, err)
		}
	}
}

// A tenant that is above its quota, since that was lowered, keeps what it has and may have less, but no more.
func TestAboveTheQuotaIsKept(t *testing.T) {
	ch, _ := house(t)
	mustApply(t, ch, Input{Put: decode(t, join(monitorOf("m", "1s"), checkedPool("us", "m"), poolOf("shop", "as", "198.51.100.9")))})
	p := mustPlan(t, ch, Input{Put: decode(t, quotaOf("{tenants: {shop: {resources: 2, checks: 1}}}"))})
	const quota, kept = "platform/Tenant/platform: spec.limits.quota: ", "; it keeps them, and can get no more"
	want := quota + "shop has 5 resources (overrides apart): its quota is 2" + kept + "\n" + quota +
		"shop has 3 checks a second: its quota is 1" + kept
	if got := p.Warnings.Error(); got != want {
		t.Errorf("lowering says %s", got)
	}
	if _, err := ch.Apply(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	mustPlan(t, ch, Input{Edit: Weights("shop", "eu", map[string]int{"a": 7})})
	mustPlan(t, ch, Input{Delete: []spec.Key{key("shop/Pool/as")}, Put: decode(t, poolOf("shop", "sa", "198.51.100.9"))})
	mustPlan(t, ch, Input{Put: decode(t, monitorOf("m", "2s"))})
	mustPlan(t, ch, Input{Put: decode(t, join(monitorOf("m", "2s"), "kind: Site\ntenant: platform\nname: sin\nspec: {}\n"))})
	mustApply(t, ch, Input{Delete: []spec.Key{key("shop/Pool/as")}})
	for _, in := range []Input{{Put: decode(t, poolOf("shop", "as", "198.51.100.9"))}, {Put: decode(t, monitorOf("m", "500ms"))}} {
		if _, err := ch.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), "its quota is") {
			t.Errorf("more is taken: %v", err)
		}
	}
	p = mustPlan(t, ch, Input{Put: decode(t, monitorOf("m", "3s"))})
	if len(p.Warnings) > 0 {
		t.Errorf("a tenant above its quota is told of with a change of its own: %v", p.Warnings)
	}
	// Growing and raising are one change, and lowering and growing another.
	mustApply(t, ch, Input{Put: decode(t, join(quotaOf("{tenants: {shop: {resources: 5}}}"), poolOf("shop", "as", "198.51.100.9")))})
	both := Input{Put: decode(t, join(quotaOf("{tenants: {shop: {resources: 5}, cafe: {resources: 1}}}"),
		poolOf("cafe", "p", "198.51.100.9"), poolOf("cafe", "q", "198.51.100.9")))}
	if _, err := ch.Plan(context.Background(), both); err == nil || !strings.Contains(err.Error(), "cafe would have 2 resources") {
		t.Errorf("lowering and growing: %v", err)
	}
}

// A tenant that has all the resources that it may have can still drain; overrides have a number of their own.
func TestAFullTenantDrains(t *testing.T) {
	ch, _ := house(t)
	mustApply(t, ch, Input{Put: decode(t, quotaOf("{all: {resources: 2, overrides: 1}}"))})
	mustApply(t, ch, Input{Edit: Drain(Target{"shop", "eu", "a"}, Hand{Reason: "disk", Author: "ann", Expires: later})})
	_, err := ch.Plan(context.Background(), Input{Edit: Drain(Target{"shop", "eu", "b"}, Hand{Reason: "disk", Author: "ann",
		Expires: later})})
	if err == nil || !strings.Contains(err.Error(),
		"shop/Override/drain-eu-b: with this change shop would have 2 overrides: its quota is 1") {
		t.Errorf("got %v", err)
	}
}

// What is too much is told together with everything else that is wrong.
func TestQuotasAreToldWithTheRest(t *testing.T) {
	ch, _ := house(t)
	mustApply(t, ch, Input{Put: decode(t, quotaOf("{all: {services: 1}}"))})
	_, err := ch.Plan(context.Background(), Input{Put: decode(t, serviceOf("shop", "s", "s.shop.gtm.example.", "gone")),
		Delete: []spec.Key{key("shop/Pool/no")}})
	for _, says := range []string{"would have 2 services", "shop/Pool/gone does not exist", "shop/Pool/no: does not exist"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

// A count that was moved on by many changes is one that is made anew, of the index's state and of others.
func TestTalliesFollow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	x := newIndex()
	now := state.TenantState{Head: 1}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	draw := func(k spec.Key) *spec.Resource {
		switch k.Kind {
		case spec.KindMonitor:
			return &spec.Resource{Key: k, Spec: &spec.Monitor{Type: "tcp",
				Interval: spec.Duration(time.Duration(1+rnd.IntN(9)) * 700 * time.Millisecond)}}
		case spec.KindPool:
			p := &spec.Pool{Monitor: []string{"", "r0", "r1", "r2", "r3"}[rnd.IntN(5)]}
			for i := range rnd.IntN(4) {
				e := spec.Endpoint{Name: fmt.Sprint("e", i), Addresses: addresses}
				if rnd.IntN(2) == 0 {
					e = spec.Endpoint{Name: e.Name, Host: "a.example."}
				}
				p.Endpoints = append(p.Endpoints, e)
			}
			return &spec.Resource{Key: k, Spec: p}
		case spec.KindOverride:
			return &spec.Resource{Key: k, Spec: &spec.Override{Pool: "r0"}}
		}
		return &spec.Resource{Key: k, Spec: &spec.Service{Host: k.Name}}
	}
	kinds := []spec.Kind{spec.KindMonitor, spec.KindPool, spec.KindService, spec.KindOverride}
	var older *State
	for head := state.Generation(2); head < 600; head++ {
		var put []state.Version
		var deleted []spec.Key
		for range 1 + rnd.IntN(3) {
			k := spec.Key{Tenant: "shop", Kind: kinds[rnd.IntN(4)], Name: fmt.Sprint("r", rnd.IntN(200))}
			if k.Kind == spec.KindMonitor {
				k.Name = fmt.Sprint("r", rnd.IntN(4))
			}
			if rnd.IntN(3) == 0 {
				deleted = append(deleted, k)
			} else {
				put = append(put, state.Version{Resource: draw(k), Generation: head})
			}
		}
		now = state.TenantState{Head: head, Resources: now.Resources.With(put, deleted)}
		if head%150 == 0 { // all is read anew
			var all []state.Version
			for _, v := range now.Resources.All() {
				all = append(all, v)
			}
			now.Resources = state.NewResources(all...)
		}
		all := newState(map[string]state.TenantState{"shop": now}, x)
		o := newOverlay(all)
		k := spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "r1"}
		faster := pair{all.Get(k), &spec.Resource{Key: k,
			Spec: &spec.Monitor{Type: "tcp", Interval: spec.Duration(200 * time.Millisecond)}}}
		after := o.with([]Step{{Update, k, nil, faster.new}})
		have, would := x.weigh(o, after, "shop", []pair{faster})
		if anew := tallyOf(now); have != anew.quota() || !reflect.DeepEqual(x.tallies["shop"], anew) {
			t.Fatalf("%d: %+v, counted anew %+v", head, x.tallies["shop"], anew)
		}
		then := tallyOf(state.TenantState{Resources: now.Resources.With([]state.Version{{Resource: faster.new, Generation: head}}, nil)})
		if would != then.quota() {
			t.Fatalf("%d: would have %+v, has then %+v", head, would, then.quota())
		}
		if older != nil {
			was := newOverlay(older)
			if have, _ := x.weigh(was, was, "shop", nil); have != tallyOf(older.tenants["shop"]).quota() {
				t.Fatalf("%d: an older state has %+v", head, have)
			}
		}
		older = all
	}
	newState(map[string]state.TenantState{}, x)
	if len(x.tallies) > 0 {
		t.Error("a tenant that is gone is still counted")
	}
}

// TestOneChangeCountsOneResource: a quota that is counted anew with every change would make a change of a large tenant slow for all.
func TestOneChangeCountsOneResource(t *testing.T) {
	tenants := largeState(20_000)
	x := newIndex()
	all := newState(tenants, x)
	put := decode(t, poolOf("shop", "p7", "198.51.100.9"))
	if _, err := Make(all, Input{Put: put, Unbounded: true}); err != nil || len(x.tallies) > 0 {
		t.Fatalf("counted without a need: %v, %v", x.tallies, err)
	}
	if _, err := Make(all, Input{Put: put}); err != nil {
		t.Fatal(err)
	}
	counted := x.tallies["shop"]
	if counted == nil || x.tallies[spec.Platform] != nil {
		t.Fatalf("counted are %v", x.tallies)
	}
	was := tenants["shop"]
	now := state.TenantState{Head: 2, Resources: was.Resources.With([]state.Version{{Resource: put[0], Generation: 2}}, nil)}
	if n := len(differences(was, now)); n != 1 {
		t.Errorf("one change among 40,001 resources is %d", n)
	}
	newState(map[string]state.TenantState{spec.Platform: tenants[spec.Platform], "shop": now}, x)
	if x.tallies["shop"] != counted {
		t.Error("the tenant is counted anew")
	}
}

// TestWhatCanBeFoundConcernsServices: a pool whose sources may have more is looked at with the services that name all of its endpoints.
func TestWhatCanBeFoundConcernsServices(t *testing.T) {
	pool := func(most int) string {
		return fmt.Sprintf("kind: Pool\ntenant: shop\nname: many\nspec: {discover: [{name: a, pushed: true, most: 1024}, "+
			"{name: b, pushed: true, most: 1024}, {name: c, pushed: true, most: 1024}, {name: d, pushed: true, most: %d}]}\n", most)
	}
	ch, _ := house(t)
	mustApply(t, ch, Input{Put: decode(t, join(pool(700), strings.Replace(serviceOf("shop", "all", "all.shop.gtm.example.", "many"),
		"spec: {", "spec: {pick: all, ", 1)))})
	_, err := ch.Plan(context.Background(), Input{Put: decode(t, pool(1000))})
	if err == nil || !strings.Contains(err.Error(), "fit a message") {
		t.Errorf("4072 addresses: %v", err)
	}
	if _, err := ch.Plan(context.Background(), Input{Put: decode(t, pool(701))}); err != nil {
		t.Errorf("3773 addresses: %v", err)
	}
}

// TestATenantHasAQuotaOfZoneContent: of zones that are granted to it whole, whoever writes what stands in them.
func TestATenantHasAQuotaOfZoneContent(t *testing.T) {
	zone := func(name, grants string, names int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "kind: Zone\ntenant: platform\nname: %s\nspec:\n  nameservers: [ns1.example.net.]\n  contact: h.example.net.\n"+
			"  grants: %s\n  content: |\n", name, grants)
		for i := range names {
			fmt.Fprintf(&b, "    n%03d 60 IN A 192.0.2.1\n", i) // written out in full
		}
		return b.String()
	}
	own, part := "{shop: [own.example.]}", "{shop: [a.own.example.]}"
	for _, c := range []struct{ quota, put, says string }{
		{"{all: {zoneBytes: 482}}", zone("own.example.", own, 10), ""},
		{"{all: {zoneBytes: 481}}", zone("own.example.", own, 10), "c.yaml:1: platform/Zone/own.example.: spec.content: with this change " +
			"shop would have 482 bytes of zone content: its quota is 481, and it has 0; take names out, or ask who runs the platform to " +
			"raise spec.limits.quota.tenants.shop.zoneBytes of platform/Tenant/platform"},
		{"{all: {zoneBytes: 481}}", zone("own.example.", part, 10), ""},
		{"{all: {zoneBytes: 481}, tenants: {shop: {zoneBytes: 482}}}", zone("own.example.", own, 10), ""},
		{"{all: {zoneBytes: 500}}", join(zone("own.example.", own, 10), zone("two.example.", "{shop: [two.example.]}", 10)),
			"would have 964 bytes"},
		{"{all: {zoneBytes: 500}}", join(zone("own.example.", own, 10), zone("two.example.", "{cafe: [two.example.]}", 10)), ""},
	} {
		ch, _ := house(t)
		mustApply(t, ch, Input{Put: decode(t, quotaOf(c.quota))})
		_, err := ch.Plan(t.Context(), Input{Put: decode(t, c.put)})
		if got := fmt.Sprint(err); (err == nil) != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %v, want %q", c.quota, err, c.says)
		}
	}
}

// TestAboveTheQuotaZoneContentIsKept, and may become less, but no more.
func TestAboveTheQuotaZoneContentIsKept(t *testing.T) {
	zone := func(names int) Input {
		text := "kind: Zone\ntenant: platform\nname: own.example.\nspec:\n  nameservers: [ns1.example.net.]\n  contact: h.example.net.\n" +
			"  grants: {shop: [own.example.]}\n  content: |\n"
		for i := range names {
			text += fmt.Sprintf("    n%03d 60 IN A 192.0.2.1\n", i)
		}
		return Input{Put: decode(t, text)}
	}
	ch, _ := house(t)
	mustApply(t, ch, zone(10))
	mustApply(t, ch, Input{Put: decode(t, quotaOf("{all: {zoneBytes: 100}}"))})
	if _, err := ch.Plan(t.Context(), zone(11)); err == nil || !strings.Contains(err.Error(), "its quota is 100, and it has 482") {
		t.Errorf("more is taken: %v", err)
	}
	mustApply(t, ch, zone(9))
	state, err := ch.State(t.Context())
	if err != nil || state.Has("shop").ZoneBytes == 0 || state.Has("shop").ZoneBytes >= 482 || state.Has("shop").Services != 1 ||
		state.Has("cafe").ZoneBytes != 0 {
		t.Errorf("%+v, %v", state.Has("shop"), err)
	}
	in := zone(11)
	in.Unbounded = true
	mustPlan(t, ch, in)
}
