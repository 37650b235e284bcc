package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone"
)

// A size says how large a configuration is. Equal sizes give equal configurations.
type size struct {
	services, pools, endpoints int // endpoints of each pool
	tenants, zones, partitions int
	statics                    int // static names of each zone
	verdicts                   int // pools that have one
	onePool                    bool
}

// small and large are the sizes of the marks.
var (
	small = size{services: 1000, pools: 200, endpoints: 10, tenants: 4, zones: 4, partitions: 20, statics: 10, verdicts: 200}
	large = size{services: 100_000, pools: 10_000, endpoints: 100, tenants: 20, zones: 20, partitions: 20, statics: 100, verdicts: 1000}
)

// Lists that rules are made of.
var (
	continents = []string{"AF", "AS", "EU", "NA", "OC", "SA"}
	countries  = []string{"EU-DE", "EU-FR", "EU-GB", "EU-IT", "EU-ES", "EU-NL", "EU-PL", "NA-US", "NA-CA", "NA-MX", "AS-CN", "AS-JP", "AS-IN", "AS-KR",
		"AS-SG", "SA-BR", "SA-AR", "AF-ZA", "AF-EG", "OC-AU", "OC-NZ", "EU-SE", "EU-NO", "EU-CH", "EU-AT", "EU-CZ", "AS-TR", "AS-ID", "AS-VN", "EU-UA"}
)

func tenantName(i int) string { return fmt.Sprintf("tenant%d", i) }
func zoneName(i int) string   { return fmt.Sprintf("zone%d.example.", i) }
func poolName(i int) string   { return fmt.Sprintf("pool-%d", i) }

// hostName is where service i stands.
func (s size) hostName(i int) string {
	return fmt.Sprintf("service-%d.%s.%s", i, tenantName(i%s.tenants), zoneName((i/s.tenants)%s.zones))
}

// world makes the whole configuration, as the store would tell it.
func (s size) world() (*state.Update, error) {
	rnd := rand.New(rand.NewPCG(1, 2))
	u := &state.Update{Full: true, Cursor: 1000, Cluster: 1, Epoch: 0}
	platform := state.TenantUpdate{Tenant: spec.Platform, Head: 1}
	for i := range s.zones {
		z, err := s.zone(i)
		if err != nil {
			return nil, err
		}
		platform.Put = append(platform.Put, state.Version{Resource: z, Generation: 1})
	}
	u.Tenants = append(u.Tenants, platform)
	tenants := make([]state.TenantUpdate, s.tenants)
	var verdicts []health.Verdict
	for i := range tenants {
		tenants[i] = state.TenantUpdate{Tenant: tenantName(i), Head: 1}
	}
	for i := range s.pools {
		t := &tenants[i%s.tenants]
		t.Put = append(t.Put, state.Version{Resource: s.pool(i, rnd), Generation: 1})
		if i < s.verdicts {
			verdicts = append(verdicts, s.verdict(i, s.endpoints/2))
		}
	}
	for i := range s.services {
		t := &tenants[i%s.tenants]
		t.Put = append(t.Put, state.Version{Resource: s.service(i, rnd), Generation: 1})
	}
	u.Tenants = append(u.Tenants, tenants...)
	u.Values = state.Verdicts.Put(verdicts...)
	return u, nil
}

func (s size) zone(i int) (*spec.Resource, error) {
	name := zoneName(i)
	var text strings.Builder
	fmt.Fprintf(&text, "$TTL 300\n@ SOA ns1 hostmaster 0 7200 1800 1209600 60\n@ NS ns1\nns1 A 192.0.2.53\n")
	for j := range s.statics {
		fmt.Fprintf(&text, "static-%d A 192.0.2.%d\n", j, 1+j%250)
	}
	content, _, err := zone.Canonical(name, name, text.String(), zone.Defaults{})
	if err != nil {
		return nil, err
	}
	grants := map[string][]string{}
	for t := range s.tenants {
		grants[tenantName(t)] = []string{tenantName(t) + "." + name}
	}
	return resource(spec.Platform, spec.KindZone, name, &spec.Zone{Content: content, Grants: grants}), nil
}

// pool makes pool i; every third one is of both families.
func (s size) pool(i int, rnd *rand.Rand) *spec.Resource {
	p := &spec.Pool{MinHealthy: "10%"}
	for j := range s.endpoints {
		e := spec.Endpoint{Name: fmt.Sprintf("e%d", j), Addresses: []netip.Addr{address(i, j)}}
		if i%3 == 0 {
			e.Addresses = append(e.Addresses, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i), 15: byte(j), 14: byte(j >> 8)}))
		}
		if rnd.IntN(2) == 0 {
			w := 1 + rnd.IntN(10)
			e.Weight = &w
		}
		p.Endpoints = append(p.Endpoints, e)
	}
	return resource(tenantName(i%s.tenants), spec.KindPool, poolName(i), p)
}

func address(pool, endpoint int) netip.Addr {
	n := uint32(10<<24) + uint32(pool*128+endpoint)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// verdict has one endpoint of pool i down.
func (s size) verdict(i, down int) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: tenantName(i % s.tenants), Pool: poolName(i)}, Endpoints: map[string]health.Finding{}, Judge: "vantage"}
	for j := range s.endpoints {
		f := health.Finding{State: health.Up, Score: 1, Since: time.Unix(1_700_000_000, 0).UTC()}
		if j == down {
			f.State, f.Score, f.Reason = health.Down, 0, "connect: connection refused"
		}
		v.Endpoints[fmt.Sprintf("e%d", j)] = f
	}
	return v
}

func (s size) service(i int, rnd *rand.Rand) *spec.Resource {
	svc := &spec.Service{Host: s.hostName(i)}
	kind := rnd.IntN(100)
	switch {
	case kind < 2:
		svc.Pick = spec.PickSticky
	case kind < 4:
		svc.Pick = spec.PickAll
	case kind < 10:
		svc.Answers = 2
	}
	mine := s.pools / s.tenants
	pool := func() string { // of the service's own tenant; the ways of picking that are seldom have few pools
		n := rnd.IntN(mine)
		if kind < 10 {
			n = rnd.IntN(max(1, mine/50))
		}
		if s.onePool {
			n = 0
		}
		return poolName(i%s.tenants + n*s.tenants)
	}
	for _, places := range s.places(i % s.partitions) {
		r := spec.Rule{When: &spec.When{Geo: places}, Pools: []spec.PoolRef{{Pool: pool()}, {Pool: pool()}}}
		if rnd.IntN(4) == 0 {
			r.Pools[0].Weight, r.Pools[1].Weight = 1+rnd.IntN(9), 1+rnd.IntN(9)
		}
		svc.Rules = append(svc.Rules, r)
	}
	svc.Rules = append(svc.Rules, spec.Rule{Pools: []spec.PoolRef{{Pool: pool()}, {Pool: pool()}}})
	return resource(tenantName(i%s.tenants), spec.KindService, fmt.Sprintf("service-%d", i), svc)
}

// places gives the conditions of the rules that go with partition n, each n others.
func (s size) places(n int) [][]string {
	return [][]string{
		{countries[n%len(countries)], countries[(n/len(countries)+n+1)%len(countries)]},
		{continents[n%len(continents)]},
	}
}

func resource(tenant string, kind spec.Kind, name string, s spec.Spec) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}
}
