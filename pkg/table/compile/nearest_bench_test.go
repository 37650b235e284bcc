package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// manySteered declares services with five pools each, of their own or shared, at five of fifty sites all over the world. They go by
// nearness, or by three rules.
func manySteered(b *testing.B, n int, nearest, own bool) Change {
	rnd := rand.New(rand.NewPCG(1, 13))
	platform := TenantChange{Tenant: spec.Platform, Head: 1, Put: decode(b, 1, testZone)[spec.Platform]}
	shop := TenantChange{Tenant: "shop", Head: 1}
	put := func(to *TenantChange, kind spec.Kind, name string, s spec.Spec) {
		to.Put = append(to.Put, Item{&spec.Resource{Key: spec.Key{Tenant: to.Tenant, Kind: kind, Name: name}, Spec: s}, 1})
	}
	pool := func(name string, site int) {
		a := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(256)), byte(rnd.IntN(256)), byte(rnd.IntN(256))})
		put(&shop, spec.KindPool, name, &spec.Pool{Site: fmt.Sprint("s", site), Endpoints: []spec.Endpoint{
			{Name: "a", Addresses: []netip.Addr{a}}, {Name: "b", Addresses: []netip.Addr{a.Next()}}}})
	}
	for site := range 50 {
		at := &spec.Location{Lat: rnd.Float64()*120 - 50, Lon: rnd.Float64()*360 - 180}
		put(&platform, spec.KindSite, fmt.Sprint("s", site), &spec.Site{Location: at})
		pool(fmt.Sprint("p", site), site)
	}
	for i := range n {
		var pools []spec.Target
		for _, site := range rnd.Perm(50)[:5] {
			name := fmt.Sprint("p", site)
			if own {
				name = fmt.Sprintf("p%d-%d", i, site)
				pool(name, site)
			}
			pools = append(pools, spec.Target{Pool: name})
		}
		s := &spec.Service{Host: fmt.Sprintf("w%d.shop.gtm.example.", i)}
		if s.Rules = []spec.Rule{{Pools: []spec.Target{{Steering: &spec.Steering{Nearest: &spec.Choices{List: pools}}}}}}; !nearest {
			s.Rules = []spec.Rule{{When: &spec.When{Geo: []string{"EU"}}, Pools: pools[:3]},
				{When: &spec.When{Geo: []string{"AS", "OC"}}, Pools: pools[1:4]}, {Pools: pools[2:5]}}
		}
		put(&shop, spec.KindService, fmt.Sprint("w", i), s)
	}
	return Change{Tenants: []TenantChange{platform, shop}}
}

// BenchmarkManySteered is what compiling services takes that go by nearness, beside such with three rules, and what each of them then takes
// in memory.
func BenchmarkManySteered(b *testing.B) {
	for _, own := range []bool{false, true} {
		for _, nearest := range []bool{false, true} {
			b.Run(fmt.Sprintf("own=%v/nearest=%v", own, nearest), func(b *testing.B) {
				const n = 20000
				ch := manySteered(b, n, nearest, own)
				for b.Loop() {
					before := heap()
					began, spent := time.Now(), cpuTime()
					c := New(Config{Seed: 1, Workers: 1}, world)
					c.Apply(ch)
					v, broken, _ := c.Compile(noon)
					b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/service")
					b.ReportMetric(float64((cpuTime()-spent).Nanoseconds())/n, "cpu-ns/service")
					if len(broken) > 0 {
						b.Fatal(broken[0])
					}
					c.CatchUp()
					b.ReportMetric(float64(int64(heap()-before))/n, "B/service")
					runtime.KeepAlive(v)
					runtime.KeepAlive(c)
				}
			})
		}
	}
}

// cpuTime is what the process has spent, which other processes beside it do not lengthen.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // which cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
