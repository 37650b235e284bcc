package change

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// nearest is the platform's policy of half of the services.
func nearest(more string) string {
	var grants []string
	for t := range 100 {
		grants = append(grants, fmt.Sprintf("t%d", t))
	}
	return "kind: Policy\ntenant: platform\nname: near\nspec: {grants: [" + strings.Join(grants, ", ") +
		"], rules: [{pools: [{nearest: sites" + more + "}]}]}\n"
}

// large is what a company's teams have: 100 tenants with 100 services each, and 10,000 pools with ten endpoints each.
func large(b *testing.B) *Changer {
	var grants []string
	docs := []string{"kind: Site\ntenant: platform\nname: fra\nspec: {region: EU-DE, location: {lat: 50.1, lon: 8.7}}\n",
		"kind: Site\ntenant: platform\nname: iad\nspec: {region: NA-US, location: {lat: 38.9, lon: -77.4}}\n",
		nearest("")}
	for t := range 100 {
		tenant := fmt.Sprintf("t%d", t)
		grants = append(grants, fmt.Sprintf("%s: [%s.gtm.example.]", tenant, tenant))
		for i := range 100 {
			var endpoints []string
			for e := range 10 {
				endpoints = append(endpoints, fmt.Sprintf("{name: e%d, addresses: [198.18.%d.%d]}", e, i, e+1))
			}
			docs = append(docs, fmt.Sprintf("kind: Pool\ntenant: %s\nname: p%d\nspec: {site: %s, endpoints: [%s]}\n", tenant, i,
				[]string{"fra", "iad"}[i%2], strings.Join(endpoints, ", ")))
			rules := fmt.Sprintf("rules: [{name: eu, when: {geo: [EU]}, pools: [p%d, p%d]}, {pools: [{pool: p%d, weight: 70}, "+
				"{pool: p%d, weight: 30}]}]", i, (i+1)%100, i, (i+1)%100)
			if i%2 == 0 {
				rules = fmt.Sprintf("pools: [p%d, p%d], rules: [{pools: [{policy: near}]}]", i, (i+1)%100)
			}
			docs = append(docs, fmt.Sprintf("kind: Service\ntenant: %s\nname: s%d\nspec: {host: s%d.%s.gtm.example., %s}\n", tenant, i, i,
				tenant, rules))
		}
	}
	docs = append(docs, "kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {nameservers: [ns.example.net.], "+
		"contact: hostmaster.gtm.example., grants: {"+strings.Join(grants, ", ")+"}}\n")
	m := newMemStore()
	x := newIndex() // kept, as control keeps it
	c := New(Config{Store: m, State: func(ctx context.Context) (*State, error) {
		heads, err := m.Heads(ctx)
		tenants := map[string]state.TenantState{}
		for t := range heads {
			tenants[t], _ = m.Read(ctx, t, 0)
		}
		return newState(tenants, x), err
	}})
	mustApply(b, c, Input{Put: decode(b, strings.Join(docs, "---\n"))})
	return c
}

// everyone has each of these services asked for from as many countries as a sketch tells apart.
func everyone() *demand.Sum {
	countries := strings.Fields("AE AR AT AU BD BE BR CA CH CL CN CO CZ DE DK DZ EG ES ET FI FR GB GR HK HU ID IE IL IN IQ IR IT JP " +
		"KE KR KZ MA MX MY NG NL NO NZ PE PH PK PL PT RO RU SA SE SG TH TR TW UA US VN ZA")
	var words []demand.Word
	for t := range 100 { // of one, a word is not too long
		s := demand.NewSketch(clock)
		for i := range 100 {
			for at := range 5 * demand.MostCountries {
				country := demand.CountryOf(countries[(i+at%demand.MostCountries)%len(countries)])
				s.Add(fmt.Sprintf("t%d", t), fmt.Sprintf("s%d", i), country, 10)
			}
		}
		words = append(words, demand.Word{Edge: "ams1", At: clock, Data: s.Encode()})
	}
	return demand.Add(clock, words)
}

// BenchmarkPlanWithEffect plans a change of one service, of a site and of a policy of thousands, with what these do to answers.
func BenchmarkPlanWithEffect(b *testing.B) { plansWithEffect(b, large(b)) }

// BenchmarkPlanBehindOverrides does so where the same pool of each tenant is drained, and each drain ends at another time.
func BenchmarkPlanBehindOverrides(b *testing.B) {
	c := large(b)
	var drains []string
	for t := range 100 {
		drains = append(drains, fmt.Sprintf("kind: Override\ntenant: t%d\nname: d\nspec: {pool: p1, state: drain, reason: x, "+
			"expires: %s}\n", t, time.Now().Add(time.Hour+time.Duration(t)*time.Minute).UTC().Format(time.RFC3339)))
	}
	mustApply(b, c, Input{Put: decode(b, strings.Join(drains, "---\n"))})
	plansWithEffect(b, c)
}

func plansWithEffect(b *testing.B, c *Changer) {
	service := decode(b, "kind: Service\ntenant: t7\nname: s1\nspec: {host: s1.t7.gtm.example., rules: [{pools: [p2]}]}\n")
	site := decode(b, "kind: Site\ntenant: platform\nname: fra\nspec: {region: EU-FR, location: {lat: 48.8, lon: 2.3}}\n")
	policy := decode(b, nearest(", bias: {iad: 20%}"))
	seen := everyone()
	for _, change := range []struct {
		name string
		put  []*spec.Resource
	}{{"service", service}, {"policy", policy}, {"site", site}} {
		for _, by := range []string{"none", "users", "queries"} {
			foresee := by != "none"
			b.Run(fmt.Sprintf("%s/effect=%v", change.name, by), func(b *testing.B) {
				if c.cfg.Seen = nil; by == "queries" {
					c.cfg.Seen = func() *demand.Sum { return seen }
				}
				before := processTime(b)
				for b.Loop() {
					p := mustPlan(b, c, Input{Put: change.put, Foresee: foresee})
					if foresee {
						b.ReportMetric(float64(len(p.Effect.All())+p.Effect.Same), "services")
					}
				}
				b.ReportMetric((processTime(b)-before).Seconds()*1e3/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// processTime is what this process has had of CPUs: beside others, the time on the wall says little.
func processTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
