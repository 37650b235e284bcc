package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// BenchmarkVerdict is what a new view takes for a verdict on a pool of so many endpoints: "one" changes the state of one of
// them, "other" leaves another one alone up.
func BenchmarkVerdict(b *testing.B) {
	for _, pick := range []string{"weighted", "sticky", "label", "all", "weighted3", "sticky3"} {
		for _, n := range []int{10, 100, 1000} {
			for _, kind := range []string{"one", "other"} {
				b.Run(fmt.Sprint(pick, "/", n, "/", kind), func(b *testing.B) { benchmarkVerdict(b, pick, n, kind == "one") })
			}
		}
	}
}

func benchmarkVerdict(b *testing.B, pick string, n int, one bool) {
	s := &spec.Service{Host: "web.z.example.", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "p"}}}}}
	var several bool
	if s.Pick, several = strings.CutSuffix(pick, "3"); several {
		s.Answers = 3
	}
	if pick == "label" {
		s.Host, s.Pick, s.Sticky = "*.z.example.", spec.PickSticky, &spec.Sticky{By: spec.ByLabel}
	}
	c := New(Config{Seed: 1, Workers: 1}, world)
	c.Apply(Change{Tenants: []TenantChange{
		{Tenant: spec.Platform, Head: 1, Put: []Item{
			{Generation: 1, Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "z.example."},
				Spec: &spec.Zone{Content: "z.example. 60 IN SOA ns1.z.example. host.z.example. 1 2 3 4 60\nz.example. 60 IN NS " +
					"ns1.z.example.\nns1.z.example. 60 IN A 192.0.2.1\n",
					Grants: map[string][]string{"shop": {"z.example."}}}}}}},
		{Tenant: "shop", Head: 1, Put: []Item{{Generation: 1, Resource: crowdedPool(n)}, {Generation: 1,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}, Spec: s}}}}}})
	if _, broken, _ := c.Compile(noon); len(broken) > 0 {
		b.Fatal(broken[0])
	}
	verdicts := [2]health.Verdict{flipped(n, 0, one), flipped(n, 1, one)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Apply(Change{Verdicts: []health.Verdict{verdicts[i%2]}})
		c.Compile(noon)
	}
}

// crowdedPool is the pool p of shop, with n endpoints of one address each.
func crowdedPool(n int) *spec.Resource {
	p := &spec.Pool{}
	for i := range n {
		p.Endpoints = append(p.Endpoints,
			spec.Endpoint{Name: fmt.Sprint("e", i), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}})
	}
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "p"}, Spec: p}
}

// flipped leaves endpoint j down (one), or up, alone.
func flipped(n, j int, one bool) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "p"}, Endpoints: map[string]health.Finding{}}
	for i := range n {
		f := health.Finding{State: health.Up, Score: 1, Since: noon.Add(time.Duration(i))}
		if (i == j) == one {
			f = health.Finding{State: health.Down, Since: noon, Reason: "connect: connection refused"}
		}
		f.Of = fmt.Sprintf("10.0.%d.%d", i>>8, i&255)
		v.Endpoints[fmt.Sprint("e", i)] = f
	}
	return v
}
