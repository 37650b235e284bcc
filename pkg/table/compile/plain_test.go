package compile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// plainReading is the slow, obvious twin of the compiled policy: it reads the rules as a person would.
type plainReading struct {
	service *spec.Service
	pools   map[string]*spec.Pool
	down    map[string]bool // pool/endpoint
	maps    []geo.Map
}

// weights gives each address that client may get, with its share.
func (p *plainReading) weights(client *table.Client, v4 bool) (shares map[string]float64, fallback table.Fallback) {
	rule := p.rule(client)
	var steps, last [][]spec.Target
	if rule != nil {
		steps = stepsOf(rule.Pools)
	}
	last = stepsOf(p.service.LastResort)
	if s := p.first(steps, v4, true); s != nil {
		return s, table.Normal
	}
	if s := p.first(last, v4, true); s != nil {
		return s, table.LastResort
	}
	if p.service.AllDown == "servfail" {
		return nil, table.Refuse
	}
	if s := p.first(last, v4, false); s != nil {
		return s, table.AsIfUp
	}
	return p.first(steps, v4, false), table.AsIfUp
}

// rule gives the first rule whose conditions all hold.
func (p *plainReading) rule(client *table.Client) *spec.Rule {
	addr, known := client.Subnet.Addr(), client.Has && p.service.ECS != "off"
	if known && (addr.IsPrivate() || addr.IsLoopback()) { // it counts only where a rule asks for a map that holds it
		known = slices.ContainsFunc(p.service.Rules, func(r spec.Rule) bool {
			return r.When != nil && len(r.When.Resolver) == 0 && p.inMaps(r.When.Map, addr)
		})
	}
	if !known {
		addr = client.Resolver.Addr()
	}
	place, _ := geo.PlaceAt(world, p.maps, addr)
	for i := range p.service.Rules {
		r := &p.service.Rules[i]
		if r.When == nil {
			return r
		}
		inGeo := slices.ContainsFunc(r.When.Geo, func(g string) bool { return strings.HasPrefix(place.String()+"-", g+"-") })
		if (len(r.When.Geo) == 0 || inGeo) && (len(r.When.Map) == 0 || p.inMaps(r.When.Map, addr)) &&
			(len(r.When.Resolver) == 0 || !known && p.inMaps(r.When.Resolver, addr)) {
			return r
		}
	}
	return nil
}

// inMaps reports whether one of the maps of these names holds an address.
func (p *plainReading) inMaps(names []string, addr netip.Addr) bool {
	return slices.ContainsFunc(p.maps, func(m geo.Map) bool {
		return slices.Contains(names, m.Name) && slices.ContainsFunc(m.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
	})
}

func stepsOf(refs []spec.Target) (steps [][]spec.Target) {
	for i, r := range refs {
		if i > 0 && r.Weight > 0 && refs[i-1].Weight > 0 {
			steps[len(steps)-1] = append(steps[len(steps)-1], r)
			continue
		}
		steps = append(steps, []spec.Target{r})
	}
	return steps
}

func (p *plainReading) first(steps [][]spec.Target, v4, healthy bool) map[string]float64 {
	for _, step := range steps {
		shares, total := map[string]float64{}, 0.0
		for _, ref := range step {
			inPool := p.pool(ref.Pool, v4, healthy)
			w := float64(max(1, ref.Weight))
			if len(inPool) > 0 {
				total += w
			}
			for a, s := range inPool {
				shares[a] += w * s
			}
		}
		if total > 0 {
			for a := range shares {
				shares[a] /= total
			}
			return shares
		}
	}
	return nil
}

// pool gives the shares of a pool's addresses; empty when it takes no clients in this family.
func (p *plainReading) pool(name string, v4, healthy bool) map[string]float64 {
	up, counted := 0, 0
	shares, total := map[string]float64{}, 0.0
	for _, e := range p.pools[name].Endpoints {
		if *e.Weight == 0 {
			continue
		}
		counted++
		isDown := p.down[name+"/"+e.Name]
		if !isDown {
			up++
		}
		if healthy && isDown {
			continue
		}
		for _, a := range e.Addresses {
			if a.Is4() == v4 {
				shares[a.String()] = float64(*e.Weight)
				total += float64(*e.Weight)
			}
		}
	}
	if healthy && (up == 0 || p.pools[name].MinHealthy == "50%" && 2*up < counted) {
		return nil
	}
	for a := range shares {
		shares[a] /= total
	}
	return shares
}

// TestCompiledPolicyIsThePlainReading compares random policies under random health for random clients.
func TestCompiledPolicyIsThePlainReading(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	compared := 0
	for n := range 60 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var yaml strings.Builder
			yaml.WriteString(testZone + "---\nkind: Map\ntenant: platform\nname: m\nspec: {networks: [81.2.69.0/25, 10.7.0.0/16, " +
				"\"2001:db8:7::/48\"]}\n" + resolverMap)
			for i := range 4 {
				fmt.Fprintf(&yaml, "---\nkind: Pool\ntenant: shop\nname: p%d\nspec:\n  minHealthy: %s\n  endpoints:\n", i,
					[]string{"1", "50%"}[rnd.IntN(2)])
				for j := range 1 + rnd.IntN(3) {
					fmt.Fprintf(&yaml, "    - {name: e%d, addresses: [198.51.100.%d, \"2001:db8:%d::%d\"], weight: %d}\n", j, 10*i+j, i,
						j+1, 1+rnd.IntN(4))
				}
			}
			yaml.WriteString(service("web", randomRules(rnd)))
			h := newHarness(t, yaml.String())
			p := &plainReading{pools: map[string]*spec.Pool{}, down: map[string]bool{}, maps: h.view.Maps}
			for _, it := range h.c.items {
				switch s := it.Resource.Spec.(type) {
				case *spec.Service:
					p.service = s
				case *spec.Pool:
					p.pools[it.Resource.Name] = s
				}
			}
			for name, pool := range p.pools {
				v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: name}, Endpoints: map[string]health.Finding{}}
				for _, e := range pool.Endpoints {
					v.Endpoints[e.Name] = health.Finding{State: health.Up, Score: 1}
					if rnd.IntN(2) == 0 {
						v.Endpoints[e.Name] = health.Finding{State: health.Down}
						p.down[name+"/"+e.Name] = true
					}
				}
				h.apply(Change{Verdicts: []health.Verdict{v}})
			}
			for _, subnet := range []string{berlin, beijing, kansas, "81.2.69.7/32", "81.2.69.200/32", "10.7.1.0/24", "2001:db8:7::/56",
				"2a02:ec80:300::/48", "127.0.0.0/24", "resolver 127.0.0.1", "resolver 81.2.69.7", "resolver 202.108.22.5",
				"resolver 10.7.0.1", "resolver 10.9.0.1", "resolver 2001:db8:7::1"} {
				for _, f := range []rr.Family{rr.IPv4, rr.IPv6} {
					want, fallback := p.weights(clientAt(subnet), f == rr.IPv4)
					got, d := h.ask("web.shop.gtm.example.", subnet, f)
					if d.Fallback != fallback {
						t.Fatalf("%s: fallback %q, want %q\n%s", subnet, d.Fallback, fallback, yaml.String())
					}
					for _, a := range slices.Compact(slices.Sorted(maps.Keys(union(got, want)))) {
						if !near(got[a], want[a]) && max(got[a], want[a])-min(got[a], want[a]) > 0.02 {
							t.Fatalf("%s: %s has share %.3f, want %.3f\n%s", subnet, a, got[a], want[a], yaml.String())
						}
					}
					compared++
				}
			}
		})
	}
	if compared < 1700 {
		t.Errorf("only %d comparisons", compared)
	}
}

func union(a, b map[string]float64) map[string]float64 {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

// resolverMap is what randomRules asks for beside m.
const resolverMap = "---\nkind: Map\ntenant: platform\nname: r\nspec: {networks: [127.0.0.0/8, 202.108.0.0/16, 10.7.0.0/24]}\n"

func randomRules(rnd *rand.Rand) string {
	pools := func() string {
		var refs []string
		for range 1 + rnd.IntN(3) {
			if rnd.IntN(2) == 0 {
				refs = append(refs, fmt.Sprintf("{pool: p%d, weight: %d}", rnd.IntN(4), 1+rnd.IntN(9)))
			} else {
				refs = append(refs, fmt.Sprintf("p%d", rnd.IntN(4)))
			}
		}
		return "[" + strings.Join(refs, ", ") + "]"
	}
	whens := []string{"{geo: [EU]}", "{geo: [AS-CN, NA-US]}", "{map: m}", "{geo: [EU-GB], map: m}", "{geo: [OC, SA, AF]}",
		"{resolver: r}", "{resolver: [r, m], geo: [EU, AS]}", "{map: m, resolver: r}"}
	var b strings.Builder
	if rnd.IntN(3) == 0 {
		b.WriteString("  allDown: servfail\n")
	}
	if rnd.IntN(5) == 0 {
		b.WriteString("  ecs: off\n")
	}
	b.WriteString("  rules:\n")
	for i := range rnd.IntN(4) {
		fmt.Fprintf(&b, "    - {when: %s, pools: %s%s}\n", whens[rnd.IntN(len(whens))], pools(),
			[]string{", ttl: 20s", "", ", ttl: 5m", ", ttl: 0s"}[i])
	}
	fmt.Fprintf(&b, "    - {pools: %s}\n", pools())
	if rnd.IntN(2) == 0 {
		fmt.Fprintf(&b, "  lastResort: %s\n", pools())
	}
	return b.String()
}
