package change

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// TestForeseenInRegions: what an edit leaves is told, and asked, for each continent whose clients get something else than all do, and of
// no rule that is not theirs.
func TestForeseenInRegions(t *testing.T) {
	pool := func(name, rest string) string {
		return strings.Replace(poolOf("shop", name, "198.51.100.7"), "spec: {", "spec: {monitor: tcp, "+rest, 1)
	}
	for _, c := range []struct{ name, rules, regions, down, pool, refused, want string }{
		{"a region is as all others", "{pools: [sg, us]}", "sg", "", "us", "", "1: 2->1"},
		{"where the other one is down", "{pools: [sg, us]}", "sg", "sg@EU", "us",
			"rule 1 of service shop/ask, for clients of EU, would have no pool left that is up", "1: 2->1, 1@EU: 1->0 all are down"},
		{"and nobody else's rule", "{when: {geo: [EU-DE]}, pools: [us, sg]}, {when: {geo: [AS, EU]}, pools: [sg]}, {pools: [us]}", "sg",
			"sg@AS", "us", "rule 3 of service shop/ask would have no pool left that is up", "1: 2->1, 3: 1->0 all are down"},
		{"up there alone", "{pools: [us, sg]}", "sg", "sg", "us", "rule 1 of service shop/ask would have no pool left that is up",
			"1: 1->0 all are down, 1@AS: 2->1, 1@EU: 2->1"},
		{"down there already", "{pools: [us, sg]}", "us", "us@EU", "us", "", "1: 2->1, 1@EU: 1->1"},
		{"a pool that goes by what is known for all", "{pools: [sg, us]}", "", "sg@EU", "us", "", "1: 2->1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHands(t, "eu, us")
			text := "kind: Monitor\ntenant: shop\nname: tcp\nspec: {type: tcp, port: 443}\n"
			for _, name := range []string{"sg", "us"} {
				rest := ""
				if strings.Contains(c.regions, name) {
					rest = "regions: true, "
				}
				text += "---\n" + pool(name, rest)
			}
			h.put(text + "---\nkind: Service\ntenant: shop\nname: ask\nspec: {host: ask.shop.gtm.example., rules: [" + c.rules + "]}\n")
			verdict := func(id health.PoolID) *health.Verdict {
				if _, region := id.Declared(); region != "" && region != "EU" && region != "AS" {
					return nil
				}
				f := health.Finding{State: health.Up, Score: 1}
				if slices.Contains(strings.Fields(c.down), id.Pool) {
					f.State = health.Down
				}
				return &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{"a": f}}
			}
			drain := Drain(Target{"shop", c.pool, ""}, Hand{Reason: "r"})
			for _, forced := range []bool{false, true} {
				var out Outlook
				_, err := h.c.Plan(context.Background(), Input{Edit: Foreseen(drain, "shop", verdict, forced, &out)})
				var ask *AskError
				switch refused := c.refused != "" && !forced; {
				case refused && (!errors.As(err, &ask) || ask.What != c.refused), !refused && err != nil:
					t.Errorf("forced %v: %v, want %q", forced, err, c.refused)
				}
				var got []string
				for _, r := range out.Rules {
					if r.Service != (spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "ask"}) {
						continue
					}
					name := r.After.Name
					if r.Region != "" {
						name += "@" + r.Region
					}
					got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %d->%d %s", name, up(r.Before), up(r.After), r.After.Tier)))
				}
				if text := strings.Join(got, ", "); text != c.want {
					t.Errorf("%s\nwant %s", text, c.want)
				}
			}
		})
	}
}
