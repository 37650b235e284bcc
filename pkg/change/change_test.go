package change

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

const platform = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  nameservers: [ns1.gtm.example.]
  contact: hostmaster.gtm.example.
  content: |
    ns1 A 192.0.2.53
    static.shop A 192.0.2.80
    alias.shop CNAME static.shop
    mail.shop MX 10 ns1
    away.shop NS ns1
  grants: {shop: [shop.gtm.example.], cafe: [cafe.gtm.example., shared.gtm.example.], bar: [shared.gtm.example.]}
---
kind: Site
tenant: platform
name: fra
spec: {region: EU-DE}
`

const shop = `kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1], weight: 3}, {name: b, addresses: [198.51.100.2]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{name: rest, pools: [eu]}]}
`

func decode(t testing.TB, yaml string) []*spec.Resource {
	t.Helper()
	got, err := spec.Decode("c.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func key(s string) spec.Key {
	p := strings.SplitN(s, "/", 3)
	return spec.Key{Tenant: p[0], Kind: spec.Kind(p[1]), Name: p[2]}
}

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// house is a store that holds platform and shop.
func house(t testing.TB) (*Changer, *memStore) {
	t.Helper()
	m := newMemStore()
	c := New(Config{Store: m, Now: func() time.Time { return clock }})
	mustApply(t, c, Input{Put: decode(t, platform+"---\n"+shop)})
	return c, m
}

func mustPlan(t testing.TB, c *Changer, in Input) *Plan {
	t.Helper()
	if in.Author == "" {
		in.Author = "ann"
	}
	p, err := c.Plan(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustApply(t testing.TB, c *Changer, in Input) []state.Record {
	t.Helper()
	recs, err := c.Apply(context.Background(), mustPlan(t, c, in))
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// outline writes a plan on few lines.
func outline(p *Plan) string {
	var b strings.Builder
	for _, part := range p.Parts {
		fmt.Fprintf(&b, "%s@%d", part.Tenant, part.Base)
		for _, st := range part.Steps {
			fmt.Fprintf(&b, " %s %s/%s", st.Action, st.Key.Kind, st.Key.Name)
		}
		if len(part.Reads) > 0 {
			fmt.Fprintf(&b, " reads %s", strings.Join(part.Reads, ","))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func poolOf(tenant, name, address string) string {
	return fmt.Sprintf("kind: Pool\ntenant: %s\nname: %s\nspec: {endpoints: [{name: a, addresses: [%s]}]}\n", tenant, name, address)
}

func serviceOf(tenant, name, host, pool string) string {
	return fmt.Sprintf("kind: Service\ntenant: %s\nname: %s\nspec: {host: %s, rules: [{name: rest, pools: [%s]}]}\n", tenant,
		name, host, pool)
}

func join(docs ...string) string { return strings.Join(docs, "---\n") }

func TestPlan(t *testing.T) {
	for _, c := range []struct{ name, put, del, want string }{
		{"nothing new", platform + "---\n" + shop, "", ""},
		{"update", poolOf("shop", "eu", "198.51.100.9"), "", "shop@1 update Pool/eu reads platform\n"},
		{"dependencies first", join(serviceOf("shop", "api", "api.shop.gtm.example.", "us"), poolOf("shop", "us", "198.51.100.9")), "",
			"shop@1 create Pool/us create Service/api reads platform\n"},
		{"dependents go first", "", "shop/Pool/eu shop/Service/web", "shop@1 delete Service/web delete Pool/eu reads platform\n"},
		{"the platform first", join(serviceOf("new", "s", "new.gtm.example.", "p"), poolOf("new", "p", "198.51.100.9"),
			strings.Replace(platform, "{shop:", "{new: [new.gtm.example.], shop:", 1)), "",
			"platform@1 update Zone/gtm.example. reads bar,cafe,new,shop\nnew@0 create Pool/p create Service/s reads platform\n"},
		{"the platform last, where it takes away", strings.Replace(shop, "site: fra, ", "", 1), "platform/Site/fra",
			"shop@1 update Pool/eu reads platform\nplatform@1 delete Site/fra reads bar,cafe,shop\n"},
		{"the platform in two parts", join(strings.Replace(shop, "site: fra, ", "site: ber, ", 1),
			"kind: Site\ntenant: platform\nname: ber\nspec: {}\n"), "platform/Site/fra",
			"platform@1 create Site/ber\nshop@1 update Pool/eu reads platform\nplatform@2 delete Site/fra reads bar,cafe,shop\n"},
		{"a service that is taken away: aliases of the platform may lead there", "", "shop/Service/web",
			"shop@1 delete Service/web reads platform\n"},
		{"the first of a tenant: whether it is one at all", "kind: Monitor\ntenant: cafe\nname: m\nspec: {type: tcp, port: 80}\n", "",
			"cafe@0 create Monitor/m reads platform\n"},
		{"no pool, no service, and not the first", "kind: Monitor\ntenant: shop\nname: m\nspec: {type: tcp, port: 80}\n", "",
			"shop@1 create Monitor/m\n"},
		{"an alias of the platform to a new service", join(aliasOf("platform", "new", "new.gtm.example.", "new.shop.gtm.example."),
			serviceOf("shop", "new", "new.shop.gtm.example.", "eu")), "",
			"shop@1 create Service/new reads platform\nplatform@1 create Service/new reads shop\n"},
		{"a host that others may take too", join(poolOf("cafe", "p", "198.51.100.9"), serviceOf("cafe", "s", "x.shared.gtm.example.", "p")),
			"", "cafe@0 create Pool/p create Service/s reads bar,platform\n"},
		{"a wildcard that others may take too", join(poolOf("cafe", "p", "198.51.100.9"),
			serviceOf("cafe", "s", `"*.Shared.gtm.example."`, "p")), "", "cafe@0 create Pool/p create Service/s reads bar,platform\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, _ := house(t)
			in := Input{Put: decode(t, c.put)}
			for k := range strings.FieldsSeq(c.del) {
				in.Delete = append(in.Delete, key(k))
			}
			if diff := cmp.Diff(c.want, outline(mustPlan(t, ch, in))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEachDeletionIsLookedAt: what the first one relies on was all that a part relied on.
func TestEachDeletionIsLookedAt(t *testing.T) {
	c, _ := house(t)
	mustApply(t, c, Input{Edit: Drain(Target{"shop", "eu", "a"}, Hand{Reason: "disk", Author: "ann", Expires: later})})
	p := mustPlan(t, c, Input{Delete: []spec.Key{key("shop/Override/drain-eu-a"), key("shop/Service/web")}})
	if diff := cmp.Diff("shop@2 delete Override/drain-eu-a delete Service/web reads platform\n", outline(p)); diff != "" {
		t.Error(diff)
	}
}

func TestPlanErrors(t *testing.T) {
	for _, c := range []struct{ name, put, del, want string }{
		{"deletion of nothing", "", "shop/Pool/ue nobody/Pool/x",
			"shop/Pool/ue: does not exist; did you mean eu?\nnobody/Pool/x: does not exist; the tenant nobody has no resources"},
		{"declared and deleted", poolOf("shop", "eu", "198.51.100.9"), "shop/Pool/eu",
			"shop/Pool/eu: is both declared and deleted; keep one of them"},
		{"an unknown tenant", poolOf("shpo", "p", "198.51.100.9"), "",
			"c.yaml:2: shpo/Pool/p: tenant: there is no tenant shpo; did you mean shop? Else the tenant platform makes it known by " +
				"granting it names in a zone (spec.grants.shpo)"},
		{"still used", "", "shop/Pool/eu",
			"shop/Pool/eu: cannot be deleted: shop/Service/web still refers to it (spec.rules[0].pools[0]); change or delete that first, " +
				"or in the same change"},
		{"still used by another tenant", "", "platform/Site/fra",
			"platform/Site/fra: cannot be deleted: shop/Pool/eu still refers to it (spec.site); change or delete that first, or in the " +
				"same change"},
		{"not granted", serviceOf("shop", "s", "x.cafe.gtm.example.", "eu"), "",
			"c.yaml:4: shop/Service/s: spec.host: x.cafe.gtm.example. is not granted: zone gtm.example. grants shop only " +
				"shop.gtm.example.; have the tenant platform add it to the zone's spec.grants.shop"},
		{"a CNAME of the zone", serviceOf("shop", "s", "alias.shop.gtm.example.", "eu"), "",
			"c.yaml:4: shop/Service/s: spec.host: zone gtm.example. has a CNAME at alias.shop.gtm.example.; change spec.host, or the " +
				"content of zone gtm.example."},
		{"below a delegation", serviceOf("shop", "s", "x.away.shop.gtm.example.", "eu"), "",
			"c.yaml:4: shop/Service/s: spec.host: x.away.shop.gtm.example. cannot be reached: zone gtm.example. gives it away by the NS " +
				"record of away.shop.gtm.example.; change spec.host, or the content of zone gtm.example."},
		{"below a DNAME, though not at it", join(strings.Replace(platform, "mail.shop MX 10 ns1", "moved.shop DNAME shop.example.", 1),
			serviceOf("shop", "at", "moved.shop.gtm.example.", "eu"), serviceOf("shop", "below", "x.moved.shop.gtm.example.", "eu")), "",
			"c.yaml:28: shop/Service/below: spec.host: x.moved.shop.gtm.example. cannot be reached: zone gtm.example. gives it away " +
				"by the " +
				"DNAME record of moved.shop.gtm.example.; change spec.host, or the content of zone gtm.example."},
		{"host names beside other data", join("kind: Pool\ntenant: shop\nname: cdn\nspec: {endpoints: [{name: a, host: x.}]}\n",
			serviceOf("shop", "s", "mail.shop.gtm.example.", "cdn")), "",
			"c.yaml:9: shop/Service/s: spec.host: a service of host names answers CNAME, which allows nothing beside it, but zone " +
				"gtm.example. has MX at mail.shop.gtm.example.; change spec.host, or the content of zone gtm.example."},
		{"a delegation above a service", strings.Replace(platform, "mail.shop MX 10 ns1", "shop NS ns1", 1), "",
			"shop/Service/web: spec.host: web.shop.gtm.example. cannot be reached: zone gtm.example. gives it away by the NS record of " +
				"shop.gtm.example.; change spec.host, or the content of zone gtm.example."},
		{"a bad zone, and all the rest at once",
			join("kind: Zone\ntenant: platform\nname: bad.example.\nspec: {nameservers: [ns1.gtm.example.], contact: a.b, content: "+
				"\"x.other. A 192.0.2.1\\n\"}\n",
				serviceOf("platform", "s", "www.bad.example.", "gone")), "",
			"c.yaml:4: platform/Zone/bad.example.: spec.content: line 1 of the content: x.other. A is outside the zone bad.example.: " +
				"remove it, or put it into its own zone\n" +
				"c.yaml:9: platform/Service/s: spec.rules[0].pools[0]: platform/Pool/gone does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, _ := house(t)
			in := Input{Put: decode(t, c.put)}
			for k := range strings.FieldsSeq(c.del) {
				in.Delete = append(in.Delete, key(k))
			}
			_, err := ch.Plan(context.Background(), in)
			var errs spec.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlanTwice(t *testing.T) {
	ch, _ := house(t)
	two := append(decode(t, poolOf("shop", "us", "198.51.100.9")), decode(t, poolOf("shop", "us", "198.51.100.8"))...)
	if _, err := ch.Plan(context.Background(), Input{Put: two}); err == nil || !strings.Contains(err.Error(), "is declared twice") {
		t.Errorf("got %v", err)
	}
}

func TestPlanWarns(t *testing.T) {
	ch, _ := house(t)
	p := mustPlan(t, ch, Input{Put: decode(t, join(serviceOf("shop", "s", "static.shop.gtm.example.", "eu"),
		"kind: Zone\ntenant: platform\nname: other.example.\nspec: {nameservers: [ns9.x.], contact: a.b, content: \"@ NS "+
			"ns1.gtm.example.\\n\"}\n"))})
	want := "c.yaml:9: platform/Zone/other.example.: spec.nameservers: is not used: the content has NS records of its own: " +
		"ns1.gtm.example.; change the content, or remove its NS records\n" +
		"c.yaml:4: shop/Service/s: spec.host: zone gtm.example. has addresses of its own at static.shop.gtm.example.: the service " +
		"answers instead of them; change spec.host, or the content of zone gtm.example."
	if diff := cmp.Diff(want, p.Warnings.Error()); diff != "" {
		t.Error(diff)
	}
}

// What SRV and MX are made from stands beside everything but CNAME: a domain's MX is at its apex, and its SPF record too.
func TestMailBesideOtherRecords(t *testing.T) {
	const pool = "kind: Pool\ntenant: shop\nname: mail\nspec: {endpoints: [{name: a, host: mx.example.net.}]}\n"
	service := func(host, record string) string {
		return join(pool, "kind: Service\ntenant: shop\nname: s\nspec: {host: "+host+", "+record+", rules: [{pools: [mail]}]}\n")
	}
	zone := strings.Replace(platform, "shop: [shop.gtm.example.]", "shop: [gtm.example.]", 1)
	for _, c := range []struct{ host, record, errs, warnings string }{
		{"gtm.example.", "mx: {}", "", ""},
		{"static.shop.gtm.example.", "srv: {port: 1}", "", ""},
		{"mail.shop.gtm.example.", "mx: {}", "",
			"zone gtm.example. has MX of its own at mail.shop.gtm.example.: the service answers instead"},
		{"alias.shop.gtm.example.", "mx: {}", "zone gtm.example. has a CNAME at alias.shop.gtm.example.", ""},
	} {
		ch, _ := house(t)
		p, err := ch.Plan(context.Background(), Input{Put: decode(t, join(zone, service(c.host, c.record)))})
		if (err == nil) != (c.errs == "") || err != nil && !strings.Contains(err.Error(), c.errs) {
			t.Errorf("%s at %s: %v", c.record, c.host, err)
			continue
		}
		if err == nil && ((len(p.Warnings) == 0) != (c.warnings == "") || !strings.Contains(p.Warnings.Error(), c.warnings)) {
			t.Errorf("%s at %s: warnings %v", c.record, c.host, p.Warnings)
		}
	}
}

func TestPlanIsData(t *testing.T) {
	ch, _ := house(t)
	p := mustPlan(t, ch, Input{Edit: Weights("shop", "eu", map[string]int{"a": 5})})
	got, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"parts":[{"tenant":"shop","base":1,"steps":[{"action":"update","key":{"tenant":"shop","kind":"Pool","name":"eu"},` +
		`"changes":[{"path":"spec.endpoints[a].weight","old":3,"new":5}]}],"reads":["platform"]}],"author":"ann","message":"update ` +
		`Pool/eu"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestApply(t *testing.T) {
	c, m := house(t)
	if got := len(m.records["platform"]) + len(m.records["shop"]); got != 2 {
		t.Fatalf("%d generations, want one each", got)
	}
	recs := mustApply(t, c, Input{Put: decode(t, poolOf("shop", "us", "198.51.100.9")), Message: "more"})
	want := []state.Record{{Tenant: "shop", Generation: 2, Time: clock, Author: "ann", Message: "more",
		Put: []spec.Key{key("shop/Pool/us")}}}
	if diff := cmp.Diff(want, recs); diff != "" {
		t.Error(diff)
	}
	if recs := mustApply(t, c, Input{Put: decode(t, poolOf("shop", "us", "198.51.100.9"))}); len(recs) != 0 {
		t.Errorf("nothing new made %v", recs)
	}
	p := mustPlan(t, c, Input{Put: decode(t, poolOf("shop", "us", "198.51.100.8"))})
	p.Author = " "
	if _, err := c.Apply(context.Background(), p); err == nil || !strings.Contains(err.Error(), "needs an author") {
		t.Errorf("got %v", err)
	}
	zone := at(m.states["platform"][0], key("platform/Zone/gtm.example.")).Spec.(*spec.Zone)
	if !strings.HasPrefix(zone.Content, "gtm.example.\t3600\tIN\tSOA\t") ||
		!strings.Contains(zone.Content, "static.shop.gtm.example.\t3600\tIN\tA\t192.0.2.80\n") {
		t.Errorf("the zone is not stored in canonical form: %s", zone.Content)
	}
}

func TestApplyInChunks(t *testing.T) {
	c, m := house(t)
	m.most = 3
	var docs []string
	for i := range 5 {
		docs = append(docs, serviceOf("shop", fmt.Sprint("s", i), fmt.Sprintf("s%d.shop.gtm.example.", i), fmt.Sprint("p", i)),
			poolOf("shop", fmt.Sprint("p", i), fmt.Sprintf("198.51.100.%d", i+1)))
	}
	recs := mustApply(t, c, Input{Put: decode(t, join(docs...)), Message: "many"})
	if len(recs) < 4 || recs[0].Message != "many (part 1)" || recs[3].Message != "many (part 4)" {
		t.Errorf("got %v", recs)
	}
	seen := map[spec.Key]bool{key("shop/Pool/eu"): true}
	for _, rec := range recs {
		for _, k := range rec.Put {
			seen[k] = true
			if k.Kind == spec.KindService && !seen[spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "p" + k.Name[1:]}] {
				t.Errorf("%s came before its pool", k)
			}
		}
	}
	if m.states["shop"][m.head("shop")-1].Resources.Len() != 12 {
		t.Error("something is missing")
	}
	m.fail = &store.TooLargeError{Bytes: 9, MaxBytes: 8, MaxOps: 3}
	_, err := c.Apply(context.Background(), mustPlan(t, c, Input{Put: decode(t, poolOf("shop", "huge", "198.51.100.9"))}))
	if err == nil || !strings.HasPrefix(err.Error(), "shop/Pool/huge: ") {
		t.Errorf("got %v", err)
	}
}

// TestAsManyStepsAsFitAreOneGeneration: the last one that fits beside record and head did not make it two.
func TestAsManyStepsAsFitAreOneGeneration(t *testing.T) {
	for steps, want := range map[int]int{atOnce: 1, atOnce + 1: 2} {
		c, _ := house(t)
		var put []*spec.Resource
		for i := range steps {
			k := spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: fmt.Sprint("m", i)}
			put = append(put, &spec.Resource{Key: k, Spec: &spec.Monitor{Type: "tcp", Port: 80}})
		}
		if recs := mustApply(t, c, Input{Put: put}); len(recs) != want {
			t.Errorf("%d steps became %d generations, want %d", steps, len(recs), want)
		}
	}
}

// TestClashesAreFoundAmongServicesThatDidNotChange, of which there are many.
func TestClashesAreFoundAmongServicesThatDidNotChange(t *testing.T) {
	c, _ := house(t)
	docs := []string{"kind: Zone\ntenant: platform\nname: other.example.\n" +
		"spec: {nameservers: [ns1.gtm.example.], contact: a.b, grants: {shop: [other.example.]}}\n"}
	for i := range 100 {
		docs = append(docs, serviceOf("shop", fmt.Sprint("s", i), fmt.Sprintf("s%d.other.example.", i), "eu"))
	}
	mustApply(t, c, Input{Put: decode(t, join(docs...))})
	mustApply(t, c, Input{Put: decode(t, serviceOf("shop", "late", "late.shop.gtm.example.", "eu"))})
	_, err := c.Plan(context.Background(),
		Input{Put: decode(t, strings.Replace(platform, "mail.shop MX 10 ns1", "late.shop CNAME ns1", 1))})
	if err == nil || !strings.Contains(err.Error(), "zone gtm.example. has a CNAME at late.shop.gtm.example.") {
		t.Errorf("got %v", err)
	}
}

// A change that is overtaken by an unrelated one is planned anew; nothing of either is lost.
func TestApplyRetries(t *testing.T) {
	c, m := house(t)
	other := New(Config{Store: m, Now: func() time.Time { return clock }})
	overtaken := 0
	m.before = func(ch store.Change) {
		if overtaken < 3 && ch.Author == "ann" {
			overtaken++
			mustApply(t, other, Input{Edit: Weights("shop", "eu", map[string]int{"b": 10 + overtaken}), Author: "bob"})
		}
	}
	recs := mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 7})})
	if len(recs) != 1 || recs[0].Generation != 5 || overtaken != 3 {
		t.Errorf("got %v after %d", recs, overtaken)
	}
	pool := at(m.states["shop"][4], key("shop/Pool/eu")).Spec.(*spec.Pool)
	if *pool.Endpoints[0].Weight != 7 || *pool.Endpoints[1].Weight != 13 {
		t.Errorf("an edit is lost: %v", spec.Diff(nil, at(m.states["shop"][4], key("shop/Pool/eu"))))
	}
}

func TestApplyGivesUp(t *testing.T) {
	c, m := house(t)
	other := New(Config{Store: m})
	n := 0
	m.before = func(ch store.Change) {
		if ch.Author == "ann" {
			n++
			mustApply(t, other, Input{Edit: Weights("shop", "eu", map[string]int{"b": n + 1}), Author: "bob"})
		}
	}
	_, err := c.Apply(context.Background(), mustPlan(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 7})}))
	if err == nil || !strings.Contains(err.Error(), "others changed the same 20 times") {
		t.Errorf("got %v", err)
	}
}

// A pinned tenant that moved is told, with who wrote what since: at planning and at applying.
func TestPins(t *testing.T) {
	c, _ := house(t)
	pinned := Input{Edit: Weights("shop", "eu", map[string]int{"a": 7}), Expect: map[string]state.Generation{"shop": 1}}
	plan := mustPlan(t, c, pinned)
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"b": 4}), Author: "bob", Message: "hot"})
	want := "shop is at generation 2, not 1 as expected: since then bob wrote shop@2 at 2026-01-02T03:04:05Z (hot); look at what " +
		"changed, then plan again"
	for name, err := range map[string]error{
		"apply": func() error { _, err := c.Apply(context.Background(), plan); return err }(),
		"plan":  func() error { _, err := c.Plan(context.Background(), pinned); return err }(),
	} {
		var conflict *ConflictError
		if !errors.As(err, &conflict) || err.Error() != want || len(conflict.Since) != 1 {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A tenant that is only relied on may move.
	pinned.Expect["shop"] = 2
	plan = mustPlan(t, c, pinned)
	mustApply(t, c, Input{Put: decode(t, "kind: Site\ntenant: platform\nname: ber\nspec: {}\n")})
	if recs, err := c.Apply(context.Background(), plan); err != nil || len(recs) != 1 {
		t.Errorf("got %v %v", recs, err)
	}
}

// Pins hold on with the parts that this very change made before it was overtaken.
func TestPinsMoveOnWithOwnParts(t *testing.T) {
	c, m := house(t)
	other := New(Config{Store: m})
	done := false
	m.before = func(ch store.Change) {
		if ch.Author == "ann" && ch.Tenant == "shop" && !done {
			done = true
			mustApply(t, other, Input{Put: decode(t, "kind: Site\ntenant: platform\nname: sin\nspec: {}\n"), Author: "bob"})
		}
	}
	p := mustPlan(t, c, Input{Put: decode(t, join("kind: Site\ntenant: platform\nname: ber\nspec: {}\n",
		poolOf("shop", "us", "198.51.100.9"))),
		Expect: map[string]state.Generation{"platform": 1, "shop": 1}})
	_, err := c.Apply(context.Background(), p)
	var conflict *ConflictError
	var partly *PartlyError
	if !errors.As(err, &conflict) || conflict.Tenant != "platform" || conflict.Want != 2 || conflict.Have != 3 {
		t.Fatalf("got %v", err)
	}
	if !errors.As(err, &partly) || len(partly.Done) != 1 ||
		!strings.HasPrefix(err.Error(), "platform@2 was made, but not the rest: platform is at generation 3, not 2") {
		t.Errorf("got %v", err)
	}
}

func TestRollback(t *testing.T) {
	c, m := house(t)
	mustApply(t, c, Input{Put: decode(t, join(poolOf("shop", "us", "198.51.100.9"),
		serviceOf("shop", "api", "api.shop.gtm.example.", "us")))})
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 9}), Delete: []spec.Key{key("shop/Service/web")}})
	in, err := c.Rollback(context.Background(), "shop", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	in.Author = "ann"
	p := mustPlan(t, c, in)
	if want := "shop@3 update Pool/eu create Service/web delete Service/api delete Pool/us reads platform\n"; outline(p) != want {
		t.Errorf("got %s", outline(p))
	}
	recs := mustApply(t, c, in)
	if recs[0].Generation != 4 || recs[0].Message != "roll back to shop@1" {
		t.Errorf("got %v", recs)
	}
	if diff := spec.DiffSets(resources(m.states["shop"][0]), resources(m.states["shop"][3])); len(diff) > 0 {
		t.Errorf("differs: %v", diff)
	}
	history, err := c.History(context.Background(), "shop", 2)
	if err != nil || len(history) != 2 || history[0].Generation != 4 {
		t.Errorf("got %v %v", history, err)
	}
	if _, err := c.Rollback(context.Background(), "shop", 99, false); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Rollback(context.Background(), "shop", 0, false); err == nil {
		t.Error("generation 0 was taken")
	}
}

func at(s state.TenantState, k spec.Key) *spec.Resource {
	v, _ := s.Resources.Get(k)
	return v.Resource
}

func resources(s state.TenantState) map[spec.Key]*spec.Resource {
	out := map[spec.Key]*spec.Resource{}
	for k, v := range s.Resources.All() {
		out[k] = v.Resource
	}
	return out
}

func TestFollowState(t *testing.T) {
	_, m := house(t)
	mirror := state.NewMirror()
	get := FollowState(m, mirror)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := get(ctx); err == nil {
		t.Error("a mirror that is behind gave a state")
	}
	u := state.Update{Full: true}
	for tenant := range m.states {
		s, _ := m.Read(context.Background(), tenant, 0)
		tu := state.TenantUpdate{Tenant: tenant, Head: s.Head}
		for _, v := range s.Resources.All() {
			tu.Put = append(tu.Put, v)
		}
		u.Tenants = append(u.Tenants, tu)
	}
	mirror.Apply(u)
	s, err := get(context.Background())
	if err != nil || s.Head("shop") != 1 || s.Get(key("shop/Pool/eu")) == nil {
		t.Errorf("got %v %v", s, err)
	}
}

// TestAStoreThatWentBackIsSaid instead of planning on what it no longer holds, again and again.
func TestAStoreThatWentBackIsSaid(t *testing.T) {
	c, m := house(t)
	mustApply(t, c, Input{Put: decode(t, poolOf("shop", "p", "198.51.100.9"))})
	mirror := state.NewMirror()
	mirror.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "platform", Head: 1}, {Tenant: "shop", Head: 2}}})
	m.states["shop"] = m.states["shop"][:1] // a backup was restored
	_, err := New(Config{Store: m, State: FollowState(m, mirror)}).Plan(context.Background(),
		Input{Author: "ann", Delete: []spec.Key{key("shop/Pool/eu")}})
	var back *state.WentBackError
	if !errors.As(err, &back) || !strings.Contains(err.Error(), "shop is at generation 1, but was at 2") {
		t.Errorf("%v", err)
	}
}

// A change tells the store which generations it was planned on, not their numbers alone: those come again in a store that went back.
func TestChangesCarryTheIDsOfWhatTheyStandOn(t *testing.T) {
	_, m := house(t)
	mirror := state.NewMirror()
	u := state.Update{Full: true}
	for tenant := range m.states {
		s, _ := m.Read(context.Background(), tenant, 0)
		tu := state.TenantUpdate{Tenant: tenant, Head: s.Head, ID: tenant + "-one"}
		for _, v := range s.Resources.All() {
			tu.Put = append(tu.Put, v)
		}
		u.Tenants = append(u.Tenants, tu)
	}
	mirror.Apply(u)
	var got []map[string]string
	m.before = func(c store.Change) { got = append(got, c.IDs) }
	c := New(Config{Store: m, State: FollowState(m, mirror)})
	plan, err := c.Plan(context.Background(), Input{Author: "ann", Put: decode(t, poolOf("shop", "p", "198.51.100.9"))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(context.Background(), plan); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0]["shop"] != "shop-one" || got[0]["platform"] != "platform-one" {
		t.Errorf("IDs %v", got)
	}
}

// TestAutomaticMessagesNameTheTenantsOwn resources only, since history is read by tenant.
func TestAutomaticMessagesNameTheTenantsOwn(t *testing.T) {
	m := newMemStore()
	c := New(Config{Store: m})
	mustApply(t, c, Input{Put: decode(t, platform+"---\n"+shop)})
	if got := m.records["platform"][0].Message; got != "create Zone/gtm.example., Site/fra" {
		t.Errorf("platform: %q", got)
	}
	if got := m.records["shop"][0].Message; got != "create Pool/eu, Service/web" {
		t.Errorf("shop: %q", got)
	}
}

// A tenant that is there already stays, without any grant: it can have no services, but its pools harm nobody.
func TestTenantOutlivesItsGrants(t *testing.T) {
	c, _ := house(t)
	mustApply(t, c, Input{Put: decode(t, poolOf("bar", "p", "198.51.100.9"))})
	mustApply(t, c, Input{Put: decode(t, strings.Replace(platform, ", bar: [shared.gtm.example.]", "", 1))})
	mustApply(t, c, Input{Put: decode(t, poolOf("bar", "p2", "198.51.100.8"))})
}
