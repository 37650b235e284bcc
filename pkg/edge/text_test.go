package edge

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
)

// nearYAML is a service that goes by a policy, with a fence.
const nearYAML = `
kind: Site
tenant: platform
name: lon
spec: {location: {lat: 51.5, lon: -0.12}, region: EU-GB}
---
kind: Site
tenant: platform
name: iad
spec: {location: {lat: 38.95, lon: -77.45}, region: NA-US}
---
kind: Policy
tenant: platform
name: near
spec: {grants: ["*"], rules: [{pools: [{nearest: sites}]}]}
---
kind: Pool
tenant: shop
name: london
spec: {site: lon, endpoints: [{name: a, addresses: [198.51.100.11]}]}
---
kind: Pool
tenant: shop
name: ashburn
spec: {site: iad, endpoints: [{name: a, addresses: [203.0.113.11]}]}
---
kind: Pool
tenant: shop
name: far
spec: {site: iad, endpoints: [{name: a, addresses: [203.0.113.12]}]}
---
kind: Service
tenant: shop
name: near
spec:
  host: near.shop.gtm.example.
  pools: [ashburn, london]
  rules:
    - {name: fenced, when: {geo: [EU]}, fence: [EU], pools: [{policy: near}]}
    - {pools: [{pool: ashburn, weight: 3}, {pool: far, weight: 1}]}
`

// TestTheTextIsTheSame by the API and by dig, and says all that the fields do.
func TestTheTextIsTheSame(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, nearYAML)...))
	gtmtest.Eventually(t, "the service is there", func() error {
		return missing(r.ask("near.shop.gtm.example.", "A", european), "198.51.100.11")
	})
	var x api.Explanation
	r.get("/edge/explain?host=near.shop.gtm.example.&subnet="+european, &x)
	reply, err := exchange(query("near.shop.gtm.example._explain.gtm.example.", "TXT", european), "tcp", r.e.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	dug := make([]string, len(reply.Answer))
	for _, rr := range reply.Answer {
		number, text, _ := strings.Cut(strings.Join(rr.(*dns.TXT).Txt, ""), ": ")
		var at int
		if _, err := fmt.Sscan(number, &at); err != nil || at < 1 || at > len(dug) {
			t.Fatalf("the line %q of %d", number, len(dug))
		}
		dug[at-1] = text
	}
	if d := cmp.Diff(x.Text, dug); d != "" {
		t.Errorf("the API and dig differ: %s", d)
	}
	for _, want := range []string{"policy near, rule 1", "fence EU leaves out ashburn, far", "nearest 1. london at lon, 328 km"} {
		if !slices.Contains(x.Text, want) {
			t.Errorf("%q lacks %q", x.Text, want)
		}
	}
	if d := cmp.Diff([]api.Passed{{Rule: "fenced"}, {Policy: "near", Rule: "1"}}, x.Path); d != "" {
		t.Error(d)
	}
	if x.Rule == nil || x.Rule.Index != 0 || x.Rule.Name != "fenced" {
		t.Errorf("rule %+v", x.Rule)
	}
	var other api.Explanation // its class was told to be its rule
	if r.get("/edge/explain?host=near.shop.gtm.example.&subnet="+american, &other); other.Rule == nil || other.Rule.Index != 1 {
		t.Errorf("elsewhere rule %+v", other.Rule)
	}
	if len(x.Choices) != 1 || len(x.Choices[0].Candidates) != 2 || !slices.Equal(x.Fence, []string{"EU"}) ||
		!slices.Equal(x.Fenced, []string{"ashburn", "far"}) {
		t.Fatalf("choices %+v, fence %q, fenced %q", x.Choices, x.Fence, x.Fenced)
	}
	first, last := x.Choices[0].Candidates[0], x.Choices[0].Candidates[1]
	if first.Pool != "london" || first.Turn != 1 || *first.Kilometres < 300 || *first.Kilometres > 360 ||
		*first.Counts != *first.Kilometres || first.Milliseconds != nil || last.Turn != 0 || last.Out != "outside of the fence EU" {
		t.Errorf("choices %+v, %+v", first, last)
	}
}

// TestCountedDraws are about as many as the shares say, and absent where nobody asked for them.
func TestCountedDraws(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, nearYAML)...))
	gtmtest.Eventually(t, "the service is there", func() error {
		return missing(r.ask("near.shop.gtm.example.", "A", european), "198.51.100.11")
	})
	for _, count := range []int{0, 10000} {
		param := ""
		if count > 0 {
			param = fmt.Sprint("&count=", count)
		}
		var x api.Explanation
		r.get("/edge/explain?host=near.shop.gtm.example.&subnet="+american+param, &x)
		if len(x.Pools) != 2 || x.Drawn != count {
			t.Fatalf("%+v", x)
		}
		for _, p := range x.Pools {
			if count == 0 {
				if p.Drawn != nil || p.Endpoints[0].Drawn != nil {
					t.Errorf("nobody asked to draw: %+v", p)
				}
				continue
			}
			if got := float64(*p.Drawn) / float64(count); got < p.Share-0.05 || got > p.Share+0.05 || *p.Endpoints[0].Drawn != *p.Drawn {
				t.Errorf("%s was drawn %d times, its endpoint %d, its share is %g", p.Pool, *p.Drawn, *p.Endpoints[0].Drawn, p.Share)
			}
			if told := fmt.Sprintf(", drawn %d of %d times", *p.Drawn, count); !strings.Contains(strings.Join(x.Text, "\n"), told) {
				t.Errorf("%q lacks %q", x.Text, told)
			}
		}
	}
}
