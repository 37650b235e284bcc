package canned

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/table/names"
)

// TestTheFirstNamesAreAsked, as sorting all of them gives them, in whatever order a view has them.
func TestTheFirstNamesAreAsked(t *testing.T) {
	yaml := "kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {nameservers: [ns.example.net.], contact: h.example.net., " +
		"grants: {shop: [gtm.example.]}}\n---\nkind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: [{name: a, addresses: [192.0.2.1]}]}\n"
	var want []string
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(60) {
		host := fmt.Sprintf("s%02d.gtm.example.", i)
		want = append(want, host)
		yaml += fmt.Sprintf("---\nkind: Service\ntenant: shop\nname: n%d\nspec: {host: %s, rules: [{pools: [eu]}]}\n", 59-i, host)
	}
	slices.Sort(want)
	of := map[string][]compile.Item{}
	for _, r := range declared.Resources(t, yaml) {
		of[r.Tenant] = append(of[r.Tenant], compile.Item{Resource: r, Generation: 1})
	}
	c := compile.New(compile.Config{Seed: 1, Workers: 1}, views.Atlas(t))
	c.Apply(compile.Change{Full: true, Tenants: []compile.TenantChange{{Tenant: spec.Platform, Head: 1, Put: of[spec.Platform]},
		{Tenant: "shop", Head: 1, Put: of["shop"]}}})
	v, broken, _ := c.Compile(time.Now())
	if len(broken) > 0 {
		t.Fatal(broken)
	}
	for _, tenant := range []string{"shop", spec.Platform} {
		got := hostsOf(v, tenant)
		if len(got) != speedNames {
			t.Fatalf("%d names are asked", len(got))
		}
		for i, h := range got {
			if wire, err := names.Wire(want[i]); err != nil || h.wire != wire {
				t.Errorf("of %s, question %d is %q, want %s", tenant, i, h.wire, want[i])
			}
		}
	}
}
