package rig

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone"
)

// Mixed says how large a configuration of many tenants and zones is, whose services share pools and pick in all ways. Equal sizes give
// equal configurations.
type Mixed struct {
	Services, Pools, Endpoints int // endpoints of each pool
	Tenants, Zones, Partitions int
	Statics                    int // static names of each zone
	Verdicts                   int // pools that have one
	OnePool                    bool
	Steering                   Steering
}

// Steering is how services go to five pools each, at five of fifty sites all over the world.
type Steering int

// The ways.
const (
	MixedRules Steering = iota // not so: rules of all sorts, with two pools each
	FivePools                  // three rules over the five
	Nearest                    // the nearest of the five
)

// sites is how many there are where services have five pools.
const sites = 50

// Small and Large are the sizes that start and memory have marks for; Near is for services that go by nearness, beside such with rules.
var (
	Small = Mixed{Services: 1000, Pools: 200, Endpoints: 10, Tenants: 4, Zones: 4, Partitions: 20, Statics: 10, Verdicts: 200}
	Near  = Mixed{Services: 100_000, Pools: 10_000, Endpoints: 10, Tenants: 20, Zones: 20, Partitions: 1, Statics: 10, Verdicts: 1000}
	Large = Mixed{Services: 100_000, Pools: 10_000, Endpoints: 100, Tenants: 20, Zones: 20, Partitions: 20, Statics: 100, Verdicts: 1000}
)

// Lists that rules are made of.
var (
	continents = []string{"AF", "AS", "EU", "NA", "OC", "SA"}
	countries  = []string{"EU-DE", "EU-FR", "EU-GB", "EU-IT", "EU-ES", "EU-NL", "EU-PL", "NA-US", "NA-CA", "NA-MX", "AS-CN", "AS-JP",
		"AS-IN", "AS-KR", "AS-SG", "SA-BR", "SA-AR", "AF-ZA", "AF-EG", "OC-AU", "OC-NZ", "EU-SE", "EU-NO", "EU-CH", "EU-AT", "EU-CZ",
		"AS-TR", "AS-ID", "AS-VN", "EU-UA"}
)

// TenantName names tenant i.
func TenantName(i int) string { return fmt.Sprintf("tenant%d", i) }

func zoneName(i int) string { return fmt.Sprintf("zone%d.example.", i) }

// PoolName names pool i.
func PoolName(i int) string { return fmt.Sprintf("pool-%d", i) }

// HostName is where service i stands.
func (s Mixed) HostName(i int) string {
	return fmt.Sprintf("service-%d.%s.%s", i, TenantName(i%s.Tenants), zoneName((i/s.Tenants)%s.Zones))
}

// Update makes the whole configuration, as the store would tell it.
func (s Mixed) Update() (*state.Update, error) {
	rnd := rand.New(rand.NewPCG(1, 2))
	u := &state.Update{Full: true, Cursor: 1000, Cluster: 1, Epoch: 0}
	platform := state.TenantUpdate{Tenant: spec.Platform, Head: 1}
	for i := range s.Zones {
		z, err := s.zone(i)
		if err != nil {
			return nil, err
		}
		platform.Put = append(platform.Put, state.Version{Resource: z, Generation: 1})
	}
	if s.Steering != MixedRules {
		for i := range sites {
			at := &spec.Location{Lat: rnd.Float64()*120 - 50, Lon: rnd.Float64()*360 - 180}
			platform.Put = append(platform.Put, state.Version{Generation: 1,
				Resource: peers.Resource(spec.Platform, spec.KindSite, siteName(i), &spec.Site{Location: at})})
		}
	}
	u.Tenants = append(u.Tenants, platform)
	tenants := make([]state.TenantUpdate, s.Tenants)
	var verdicts []health.Verdict
	for i := range tenants {
		tenants[i] = state.TenantUpdate{Tenant: TenantName(i), Head: 1}
	}
	for i := range s.Pools {
		t := &tenants[i%s.Tenants]
		t.Put = append(t.Put, state.Version{Resource: s.pool(i, rnd), Generation: 1})
		if i < s.Verdicts {
			verdicts = append(verdicts, s.Verdict(i, s.Endpoints/2))
		}
	}
	for i := range s.Services {
		t := &tenants[i%s.Tenants]
		t.Put = append(t.Put, state.Version{Resource: s.service(i, rnd), Generation: 1})
	}
	u.Tenants = append(u.Tenants, tenants...)
	u.Values = state.Verdicts.Put(verdicts...)
	return u, nil
}

func (s Mixed) zone(i int) (*spec.Resource, error) {
	name := zoneName(i)
	var text strings.Builder
	fmt.Fprintf(&text, "$TTL 300\n@ SOA ns1 hostmaster 0 7200 1800 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n")
	for j := range s.Statics {
		fmt.Fprintf(&text, "static-%d A 192.0.2.%d\n", j, 1+j%250)
	}
	content, _, err := zone.Canonical(name, name, text.String(), zone.Defaults{})
	if err != nil {
		return nil, err
	}
	grants := map[string][]string{}
	for t := range s.Tenants {
		grants[TenantName(t)] = []string{TenantName(t) + "." + name}
	}
	return peers.Resource(spec.Platform, spec.KindZone, name, &spec.Zone{Content: content, Grants: grants}), nil
}

// pool makes pool i; every third one is of both families.
func (s Mixed) pool(i int, rnd *rand.Rand) *spec.Resource {
	p := &spec.Pool{MinHealthy: "10%"}
	if s.Steering != MixedRules {
		p.Site = siteName(i / s.Tenants % sites)
	}
	for j := range s.Endpoints {
		e := spec.Endpoint{Name: fmt.Sprintf("e%d", j), Addresses: []netip.Addr{addressOf(i, j)}}
		if i%3 == 0 {
			e.Addresses = append(e.Addresses,
				netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 15: byte(j), 14: byte(j >> 8)}))
		}
		if rnd.IntN(2) == 0 {
			w := 1 + rnd.IntN(10)
			e.Weight = &w
		}
		p.Endpoints = append(p.Endpoints, e)
	}
	return peers.Resource(TenantName(i%s.Tenants), spec.KindPool, PoolName(i), p)
}

// addressOf is the IPv4 address of an endpoint: one of 10.0.0.0/8.
func addressOf(pool, endpoint int) netip.Addr {
	return address(uint64(10<<24+pool*128+endpoint), false)
}

// Verdict has one endpoint of pool i down.
func (s Mixed) Verdict(i, down int) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: TenantName(i % s.Tenants), Pool: PoolName(i)}, Endpoints: map[string]health.Finding{},
		Judge: "vantage"}
	for j := range s.Endpoints {
		f := health.Finding{State: health.Up, Score: 1, Since: time.Unix(1_700_000_000, 0).UTC()}
		if j == down {
			f.State, f.Score, f.Reason = health.Down, 0, "connect: connection refused"
		}
		v.Endpoints[fmt.Sprintf("e%d", j)] = f
	}
	return v
}

func siteName(i int) string { return fmt.Sprintf("site-%d", i) }

// fivePools gives the rules of a service with five pools of its tenant, at five sites.
func (s Mixed) fivePools(i int, rnd *rand.Rand) []spec.Rule {
	var pools []spec.Target
	for _, site := range rnd.Perm(sites)[:5] {
		n := site + sites*rnd.IntN(s.Pools/s.Tenants/sites)
		pools = append(pools, spec.Target{Pool: PoolName(i%s.Tenants + n*s.Tenants)})
	}
	if s.Steering == Nearest {
		return []spec.Rule{{Pools: []spec.Target{{Steering: &spec.Steering{Nearest: &spec.Choices{List: pools}}}}}}
	}
	return []spec.Rule{{When: &spec.When{Geo: []string{"EU", "AF"}}, Pools: pools[:3]},
		{When: &spec.When{Geo: []string{"AS", "OC"}}, Pools: pools[1:4]}, {Pools: pools[2:5]}}
}

func (s Mixed) service(i int, rnd *rand.Rand) *spec.Resource {
	svc := &spec.Service{Host: s.HostName(i)}
	if s.Steering != MixedRules {
		svc.Rules = s.fivePools(i, rnd)
		return peers.Resource(TenantName(i%s.Tenants), spec.KindService, fmt.Sprintf("service-%d", i), svc)
	}
	kind := rnd.IntN(100)
	switch {
	case kind < 2:
		svc.Pick = spec.PickSticky
	case kind < 4:
		svc.Pick = spec.PickAll
	case kind < 10:
		svc.Answers = 2
	}
	mine := s.Pools / s.Tenants
	pool := func() string { // of the service's own tenant; the ways of picking that are seldom have few pools
		n := rnd.IntN(mine)
		if kind < 10 {
			n = rnd.IntN(max(1, mine/50))
		}
		if s.OnePool {
			n = 0
		}
		return PoolName(i%s.Tenants + n*s.Tenants)
	}
	for _, places := range s.places(i % s.Partitions) {
		r := spec.Rule{When: &spec.When{Geo: places}, Pools: []spec.Target{{Pool: pool()}, {Pool: pool()}}}
		if rnd.IntN(4) == 0 {
			r.Pools[0].Weight, r.Pools[1].Weight = 1+rnd.IntN(9), 1+rnd.IntN(9)
		}
		svc.Rules = append(svc.Rules, r)
	}
	svc.Rules = append(svc.Rules, spec.Rule{Pools: []spec.Target{{Pool: pool()}, {Pool: pool()}}})
	return peers.Resource(TenantName(i%s.Tenants), spec.KindService, fmt.Sprintf("service-%d", i), svc)
}

// places gives the conditions of the rules that go with partition n, each n others.
func (s Mixed) places(n int) [][]string {
	return [][]string{
		{countries[n%len(countries)], countries[(n/len(countries)+n+1)%len(countries)]},
		{continents[n%len(continents)]},
	}
}

// ResourcesOf gives what an update puts, tenant by tenant.
func ResourcesOf(u *state.Update) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for _, t := range u.Tenants {
			for _, v := range t.Put {
				if !yield(v.Resource) {
					return
				}
			}
		}
	}
}
