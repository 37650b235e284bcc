package compile

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkServices is what compiling many services takes, and what each of them then takes in memory: with pools that all share, or with
// pools of its own.
func BenchmarkServices(b *testing.B) {
	for _, kind := range []string{"shared", "split", "own", "ownSplit"} {
		b.Run(kind, func(b *testing.B) {
			const n = 2000
			yaml := testZone + testPools
			for i := range n {
				rules := "  rules: [{when: {geo: [EU]}, pools: [eu, us]}, {pools: [us, eu]}]\n"
				pool := ""
				own := func(name string) string {
					return poolOf(fmt.Sprint(name, i), fmt.Sprint("192.0.2.", i%256), fmt.Sprint("192.0.2.", i/256))
				}
				switch kind {
				case "split":
					rules = "  rules: [{pools: [{pool: eu, weight: 7}, {pool: us, weight: 3}]}]\n"
				case "own":
					pool = own("p")
					rules = fmt.Sprintf("  rules: [{pools: [p%d]}]\n", i)
				case "ownSplit":
					pool = own("p") + own("q")
					rules = fmt.Sprintf("  rules: [{pools: [{pool: p%d, weight: 7}, {pool: q%d, weight: 3}]}]\n", i, i)
				}
				yaml += pool + service(fmt.Sprint("w", i), rules)
			}
			var ch Change
			for tenant, list := range decode(b, 1, yaml) {
				ch.Tenants = append(ch.Tenants, TenantChange{Tenant: tenant, Head: 1, Put: list})
			}
			for b.Loop() {
				before := heap()
				began := time.Now()
				c := New(Config{Seed: 1, Workers: 1}, world)
				c.Apply(ch)
				v, broken, _ := c.Compile(noon)
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/service")
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
