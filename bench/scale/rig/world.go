// Package rig builds configurations of any size, runs gtmd with them, loads it, and watches its answers change.
package rig

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strings"
	"time"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Zone is the one zone of a world, Tenant whose services stand in it.
const (
	Zone   = "scale.test."
	Tenant = "shop"
)

// World says how large a configuration is. Service i stands at s<i>.scale.test. and has a pool p<i> of its own; its
// clients of one country get that pool, those of another p<i> and then the pool "shared", all others "shared" and then p<i>.
// Beside them the service "alone" has p0 only. Static names are n<i>.scale.test.
type World struct {
	Services   int
	Endpoints  int // of each pool but shared, which has two
	Partitions int // distinct sets of matches, at most MaxPartitions
	Names      int // static names
}

// places are those of the matches; two of them make a distinct set.
var places = []string{"EU-DE", "EU-FR", "EU-GB", "EU-IT", "EU-ES", "EU-NL", "EU-PL", "EU-SE", "EU-CH", "EU-AT", "EU-CZ", "EU-FI",
	"NA-US", "NA-CA", "NA-MX", "SA-BR", "SA-AR", "SA-CL", "SA-CO", "AS-JP", "AS-CN", "AS-IN", "AS-KR", "AS-ID", "AS-TH", "AS-VN",
	"AS-SG", "OC-AU", "OC-NZ", "AF-ZA", "AF-EG", "AF-NG", "AF-KE", "AF-MA"}

// MaxPartitions is how many distinct sets of matches a world can have.
var MaxPartitions = len(places) * (len(places) - 1)

// Host is the name of service i.
func Host(i int) string { return fmt.Sprintf("s%d.%s", i, Zone) }

// Alone is the name of the service that has pool p0 only.
const Alone = "alone." + Zone

// Pool names the pool of service i.
func Pool(i int) health.PoolID {
	return health.PoolID{Tenant: Tenant, Pool: fmt.Sprintf("p%d", i)}
}

// Shared names the pool that all services use.
var Shared = health.PoolID{Tenant: Tenant, Pool: "shared"}

// Address is that of endpoint j of pool i.
func (w World) Address(i, j int) netip.Addr {
	n := uint32(i*w.Endpoints + j)
	return netip.AddrFrom4([4]byte{10 + byte(n>>24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// SharedAddress is that of endpoint j, 0 or 1, of the pool shared.
func SharedAddress(j int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + j)}) }

// Resources gives everything there is, dependencies first.
func (w World) Resources() iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		shared := &spec.Pool{Endpoints: []spec.Endpoint{endpoint(0, SharedAddress(0)), endpoint(1, SharedAddress(1))}}
		if !yield(w.zone()) || !yield(peers.Unbounded()) || !yield(peers.Resource(Tenant, spec.KindPool, Shared.Pool, shared)) {
			return
		}
		for i := range w.Services {
			if !yield(w.pool(i)) {
				return
			}
		}
		if !yield(service("alone", Alone, spec.Rule{Pools: refs(Pool(0).Pool)})) {
			return
		}
		for i := range w.Services {
			if !yield(w.service(i)) {
				return
			}
		}
	}
}

func (w World) zone() *spec.Resource {
	var b strings.Builder
	fmt.Fprintf(&b, "%[1]s 60 IN SOA ns1.%[1]s hostmaster.%[1]s 1 7200 1800 1209600 60\n%[1]s 60 IN NS ns1.%[1]s\nns1.%[1]s 60 IN A "+
		"127.0.0.1\n", Zone)
	for i := range w.Names {
		fmt.Fprintf(&b, "n%d.%s 60 IN A 10.%d.%d.%d\n", i, Zone, i>>16&255, i>>8&255, i&255)
	}
	z := &spec.Zone{Content: b.String(), Grants: map[string][]string{Tenant: {Zone}}}
	return peers.Resource(spec.Platform, spec.KindZone, Zone, z)
}

func endpoint(j int, a netip.Addr) spec.Endpoint {
	return spec.Endpoint{Name: fmt.Sprintf("e%d", j), Addresses: []netip.Addr{a}}
}

func (w World) pool(i int) *spec.Resource {
	p := &spec.Pool{Endpoints: make([]spec.Endpoint, w.Endpoints)}
	for j := range p.Endpoints {
		p.Endpoints[j] = endpoint(j, w.Address(i, j))
	}
	return peers.Resource(Tenant, spec.KindPool, Pool(i).Pool, p)
}

func (w World) service(i int) *spec.Resource {
	own := Pool(i).Pool
	a, b := placesOf(i % max(1, w.Partitions))
	return service(fmt.Sprintf("s%d", i), Host(i),
		spec.Rule{When: &spec.When{Geo: []string{a}}, Pools: refs(own)},
		spec.Rule{When: &spec.When{Geo: []string{b}}, Pools: refs(own, Shared.Pool)},
		spec.Rule{Pools: refs(Shared.Pool, own)})
}

func service(name, host string, rules ...spec.Rule) *spec.Resource {
	return peers.Resource(Tenant, spec.KindService, name, &spec.Service{Host: host, Rules: rules})
}

func refs(pools ...string) []spec.Target {
	out := make([]spec.Target, len(pools))
	for i, p := range pools {
		out[i].Pool = p
	}
	return out
}

// Put writes so many resources at once at most, and so many endpoints: well below what a transaction holds.
const (
	perGeneration = 4000
	perCommit     = 40_000
)

// Put writes the world into an empty store as generations, without the checks that control makes.
func (w World) Put(ctx context.Context, c *store.Client) error {
	return Put(ctx, c, w.Resources(), w.Endpoints)
}

// Put writes resources, those of one tenant together, into an empty store. Pools have so many endpoints.
func Put(ctx context.Context, c *store.Client, all iter.Seq[*spec.Resource], endpoints int) error {
	heads := map[string]state.Generation{}
	commit := func(rs []*spec.Resource) error {
		tenant := rs[0].Tenant
		rec, err := c.Commit(ctx, store.Change{Tenant: tenant, Base: heads[tenant], Put: rs, Author: "bench", Message: "bench",
			Time: time.Now()})
		heads[tenant] = rec.Generation
		return err
	}
	var batch []*spec.Resource
	most := max(1, min(perGeneration, perCommit/max(1, endpoints)))
	for r := range all {
		if len(batch) > 0 && (len(batch) == most || r.Tenant != batch[0].Tenant) {
			if err := commit(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		batch = append(batch, r)
	}
	return commit(batch)
}

// OneUp is a verdict on a pool of so many endpoints that leaves endpoint j alone up. by marks it: see Proxy.
func OneUp(id health.PoolID, endpoints, j int, by string) health.Verdict {
	v := health.Verdict{Pool: id, Endpoints: map[string]health.Finding{}, Judge: by}
	for i := range endpoints {
		f := health.Finding{State: health.Down, Since: time.Now()}
		if i == j {
			f.State, f.Score = health.Up, 1
		}
		v.Endpoints[fmt.Sprintf("e%d", i)] = f
	}
	return v
}

// Matchers gives the matches of a set as geo compiles them.
func Matchers(set int) []geo.Matcher {
	a, b := placesOf(set)
	match := func(place string) geo.Matcher {
		continent, country, _ := strings.Cut(place, "-")
		return geo.Matcher{Geo: []geo.Place{{Continent: continent, Country: country}}}
	}
	return []geo.Matcher{match(a), match(b), {}}
}

// placesOf gives the two places of a set of matches.
func placesOf(set int) (string, string) {
	a, b := set/(len(places)-1), set%(len(places)-1)
	if b >= a {
		b++
	}
	return places[a], places[b]
}
