package answer

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

var million = flag.Bool("million", false, "benchmark with a million names as well: it takes minutes, and gigabytes, to build them")

// steeredView compiles n services in one zone, each with a rule for every continent and one for the rest, over four pools of two
// weighted addresses.
func steeredView(b *testing.B, n int, by steeredBy) *atomic.Pointer[table.View] {
	b.Helper()
	atlas := views.Atlas(b)
	content, _, err := zone.Canonical("bench.example.", "bench.example.",
		"@ 60 SOA ns1 hostmaster 1 7200 1800 1209600 60\n@ 60 NS ns1\nns1 60 A 127.0.0.1\n", zone.Defaults{})
	if err != nil {
		b.Fatal(err)
	}
	platform := compile.TenantChange{Tenant: spec.Platform, Head: 1}
	platform.Put = append(platform.Put, compile.Item{Generation: 1,
		Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone,
			Name: "bench.example."}, Spec: &spec.Zone{Content: content, Grants: map[string][]string{"job": {"bench.example."}}}}})
	job := compile.TenantChange{Tenant: "job", Head: 1}
	var rules []spec.Rule
	for i, continent := range []string{"EU", "NA", "AS", ""} {
		pool := fmt.Sprintf("pool%d", i)
		address := func(last int) []netip.Addr {
			return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", 10*i+last))}
		}
		three, one := 3, 1
		job.Put = append(job.Put, compile.Item{Generation: 1,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "job", Kind: spec.KindPool, Name: pool},
				Spec: &spec.Pool{Site: fmt.Sprintf("site%d", i), Regions: by == regional, Endpoints: []spec.Endpoint{
					{Name: "a", Addresses: address(1), Weight: &three}, {Name: "b", Addresses: address(2), Weight: &one}}}}})
		platform.Put = append(platform.Put, compile.Item{Generation: 1,
			Resource: &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: fmt.Sprintf("site%d", i)},
				Spec: &spec.Site{Location: &spec.Location{Lat: []float64{50, 39, 1, -34}[i], Lon: []float64{9, -77, 104, 18}[i]}}}})
		rule := spec.Rule{Pools: []spec.Target{{Pool: pool}}}
		if continent != "" {
			rule.When = &spec.When{Geo: []string{continent}}
		}
		rules = append(rules, rule)
	}
	nearest := func(band int) *spec.Steering {
		return &spec.Steering{Band: fmt.Sprint(band, "%"), Nearest: &spec.Choices{List: []spec.Target{{Pool: "pool0"}, {Pool: "pool1"},
			{Pool: "pool2"}, {Pool: "pool3"}}}}
	}
	if by == nested { // nearness in a split in a rule
		split := &spec.Steering{Split: []spec.Target{{Weight: 99, Steering: nearest(5)}, {Weight: 1, Pool: "pool3"}}}
		rules = []spec.Rule{{When: &spec.When{Geo: []string{"AS", "OC"}}, Pools: []spec.Target{{Steering: split}}},
			{Pools: []spec.Target{{Steering: split}}}}
	}
	for i := range n {
		name := fmt.Sprintf("w%d", i)
		if by == near {
			rules = []spec.Rule{{Pools: []spec.Target{{Steering: nearest(i % 64)}}}}
		}
		job.Put = append(job.Put, compile.Item{Generation: 1,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "job", Kind: spec.KindService, Name: name},
				Spec: &spec.Service{Host: name + ".bench.example.", Rules: rules}}})
	}
	c := compile.New(compile.Config{Seed: 1, Workers: 1}, atlas)
	c.Apply(compile.Change{Full: true, Tenants: []compile.TenantChange{platform, job}, Verdicts: []health.Verdict{
		{Pool: health.PoolID{Tenant: "job", Pool: "pool0@EU"}, Endpoints: map[string]health.Finding{"a": {State: health.Down}}}}})
	v, broken, _ := c.Compile(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	if len(broken) > 0 {
		b.Fatalf("broken: %v", broken[0])
	}
	view := new(atomic.Pointer[table.View])
	view.Store(v)
	return view
}

// steeredBy is what services go by.
type steeredBy int

const (
	byRules steeredBy = iota
	nested
	near
	regional // by rules, to pools of which one is something else for Europe
)

// steeredQueries makes queries for random ones of n names, each with a client subnet of a network of the Internet.
func steeredQueries(b *testing.B, n int) [][]byte {
	b.Helper()
	atlas := views.Atlas(b)
	rnd := rand.New(rand.NewPCG(1, 2))
	var nets []netip.Prefix
	for len(nets) < 1<<15 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], rnd.Uint32())
		net := netip.PrefixFrom(netip.AddrFrom4(a), 24).Masked()
		if place, _ := geo.PlaceAt(atlas, nil, net.Addr()); place.Continent != "" {
			nets = append(nets, net)
		}
	}
	queries := make([][]byte, 1<<18)
	for i := range queries {
		packed, err := query(b, fmt.Sprintf("w%d.bench.example.", rnd.IntN(n)), "A", "ecs="+nets[i%len(nets)].String()).Pack()
		if err != nil {
			b.Fatal(err)
		}
		binary.BigEndian.PutUint16(packed, uint16(i))
		queries[i] = packed
	}
	return queries
}

// BenchmarkSteered is what a steered query costs beside the sockets, from the bytes that came to those that go: as the sockets
// do, in batches, from slots that are written over.
func BenchmarkSteered(b *testing.B) { benchmarkSteeredBy(b, byRules) }

// BenchmarkRegional is BenchmarkSteered with pools that are judged for clients of each region.
func BenchmarkRegional(b *testing.B) { benchmarkSteeredBy(b, regional) }

// BenchmarkNested is BenchmarkSteered by a policy that nests: nearness in a split in a rule.
func BenchmarkNested(b *testing.B) { benchmarkSteeredBy(b, nested) }

// BenchmarkNear is BenchmarkSteered by so many policies that they share a partition, and nearness is left to nodes.
func BenchmarkNear(b *testing.B) { benchmarkSteeredBy(b, near) }

func benchmarkSteeredBy(b *testing.B, by steeredBy) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		if n == 1_000_000 && !*million {
			continue
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			samples := NewSamples(1) // and no place for most, where they cost most
			samples.Every(1024)
			a := New(Config{View: steeredView(b, n, by), ID: "edge", Seed: 1, Clock: func() uint32 { return 0 }, Samples: samples})
			queries := steeredQueries(b, n)
			b.Run("ahead", func(b *testing.B) { benchmarkSteered(b, a, queries, true) })
			b.Run("alone", func(b *testing.B) { benchmarkSteered(b, a, queries, false) })
		})
	}
}

func benchmarkSteered(b *testing.B, a *Answerer, queries [][]byte, ahead bool) {
	const room = 4096 + 3*64
	slots := make([]byte, 64*room)
	var sizes [64]int
	meta := &Meta{Source: netip.MustParseAddrPort("127.0.0.1:4444")}
	b.ReportAllocs()
	var spent []float64 // ns a query, of each batch
	for at := 0; b.Loop(); at += 64 {
		for i := range sizes { // the kernel's part
			sizes[i] = copy(slots[i*room:][:4096], queries[(at+i)%len(queries)])
		}
		began := time.Now()
		for from := 0; from < 64; from += Window {
			if ahead {
				for i := range Window {
					a.Parse(i, slots[(from+i)*room:][:sizes[from+i]], meta.Source)
				}
				a.Prefetch(Window)
			}
			for i := range Window {
				if meta.Prefetched = 0; ahead {
					meta.Prefetched = 1 + i
				}
				if o := a.Answer(slots[(from+i)*room:][:4096:4096], sizes[from+i], meta); o.Size < 40 {
					b.Fatal(o)
				}
			}
		}
		a.Flush()
		spent = append(spent, float64(time.Since(began).Nanoseconds())/64)
	}
	slices.Sort(spent) // the median, since what else the machine does falls on some batches wholly
	b.ReportMetric(spent[len(spent)/2], "ns/query")
	b.ReportMetric(0, "ns/op") // of 64, with the kernel's part: it tells nothing
}

func BenchmarkAnswer(b *testing.B) {
	s := newServer(b)
	for _, q := range []*dns.Msg{query(b, "static.gtm.example.", "A", "edns"),
		query(b, "web.shop.gtm.example.", "A", "ecs=91.198.174.0/24")} {
		packed, _ := q.Pack()
		b.Run(q.Question[0].Name, func(b *testing.B) {
			buf, m := make([]byte, 4096), &Meta{Source: s.src}
			b.ReportAllocs()
			for b.Loop() {
				s.a.Answer(buf, copy(buf, packed), m)
			}
		})
	}
}
