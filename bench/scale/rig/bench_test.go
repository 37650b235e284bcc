package rig

import (
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// worldOf makes each configuration once.
var worldOf = sync.OnceValues(func() (*state.Update, error) { return Large.Update() })

func loadWorld(b *testing.B, s Mixed) *state.Update {
	b.Helper()
	make := worldOf
	if s != Large {
		make = s.Update
	}
	u, err := make()
	if err != nil {
		b.Fatal(err)
	}
	return u
}

var atlas = sync.OnceValues(func() (*geo.Atlas, error) { return geo.Open() })

func openAtlas(b *testing.B) *geo.Atlas {
	b.Helper()
	a, err := atlas()
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// changeOf is what the edge makes of an update.
func changeOf(u *state.Update) compile.Change {
	ch := compile.Change{Full: u.Full, Verdicts: state.Verdicts.In(*u).Put}
	for _, t := range u.Tenants {
		tc := compile.TenantChange{Tenant: t.Tenant, Head: uint64(t.Head)}
		for _, v := range t.Put {
			tc.Put = append(tc.Put, compile.Item{Resource: v.Resource, Generation: uint64(v.Generation)})
		}
		ch.Tenants = append(ch.Tenants, tc)
	}
	return ch
}

func BenchmarkSnapshotLoad(b *testing.B) {
	for name, s := range map[string]Mixed{"1000": Small, "100000": Large} {
		b.Run(name, func(b *testing.B) {
			data := b.TempDir()
			if err := peers.WriteUpdate(data, *loadWorld(b, s)); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, u, err := snapshot.Open(peers.SnapshotOf(data), nil)
				if err != nil || u == nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

func BenchmarkFullCompile(b *testing.B) {
	for name, s := range map[string]Mixed{"1000": Small, "100000": Large} {
		b.Run(name, func(b *testing.B) {
			ch, a := changeOf(loadWorld(b, s)), openAtlas(b)
			for b.Loop() {
				c := compile.New(compile.Config{Seed: 1, Workers: 2}, a)
				c.Apply(ch)
				if _, broken, _ := c.Compile(noon); len(broken) > 0 {
					b.Fatal(broken[0].Err)
				}
			}
		})
	}
}

// kept is what a benchmark leaves, so that -memprofile shows it.
var kept []any

// BenchmarkStart is a start without the process around it: from the snapshot to the first view.
func BenchmarkStart(b *testing.B) {
	for name, s := range map[string]Mixed{"1000": Small, "100000": Large} {
		b.Run(name, func(b *testing.B) {
			data := b.TempDir()
			u, err := s.Update()
			if err != nil {
				b.Fatal(err)
			}
			if err := peers.WriteUpdate(data, *u); err != nil {
				b.Fatal(err)
			}
			u, kept = nil, nil
			a := openAtlas(b)
			for b.Loop() {
				s, u, err := snapshot.Open(peers.SnapshotOf(data), nil)
				if err != nil {
					b.Fatal(err)
				}
				c := compile.New(compile.Config{Seed: 1, Workers: 2}, a)
				c.Apply(changeOf(u))
				v, broken, _ := c.Compile(noon)
				if len(broken) > 0 {
					b.Fatal(broken[0].Err)
				}
				kept = []any{s, c, v}
				s.Close()
			}
		})
	}
}

// compiled is a compiler that has compiled everything.
func compiled(b *testing.B, s Mixed) *compile.Compiler {
	b.Helper()
	c := compile.New(compile.Config{Seed: 1, Workers: 2}, openAtlas(b))
	c.Apply(changeOf(loadWorld(b, s)))
	if _, broken, _ := c.Compile(noon); len(broken) > 0 {
		b.Fatal(broken[0].Err)
	}
	c.CatchUp()
	return c
}

func putOne(c *compile.Compiler, generation uint64, r *spec.Resource) {
	c.Apply(compile.Change{Tenants: []compile.TenantChange{
		{Tenant: r.Tenant, Head: generation, Put: []compile.Item{{Resource: r, Generation: generation}}}}})
	c.Compile(noon)
}

// crowded has one zone with all names, small pools, and one pool that every service uses.
var crowded = Mixed{Services: 100_000, Pools: 1, Endpoints: 100, Tenants: 1, Zones: 1, Partitions: 20, Statics: 100, Verdicts: 1,
	OnePool: true}

// BenchmarkChange is what one change costs where there are 100,000 services in one zone that all use one pool.
func BenchmarkChange(b *testing.B) {
	c, generation := compiled(b, crowded), uint64(1)
	world := loadWorld(b, crowded)
	own := world.Tenants[1]
	pool, service := own.Put[0].Resource, own.Put[1].Resource
	b.Run("verdict", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			c.Apply(compile.Change{Verdicts: []health.Verdict{crowded.Verdict(0, i%100)}})
			c.Compile(noon)
		}
	})
	b.Run("weight", func(b *testing.B) {
		for b.Loop() {
			generation++
			p := *pool.Spec.(*spec.Pool)
			p.Endpoints = append([]spec.Endpoint(nil), p.Endpoints...)
			w := 1 + int(generation%50)
			p.Endpoints[0].Weight = &w
			putOne(c, generation, &spec.Resource{Key: pool.Key, Spec: &p})
		}
	})
	b.Run("service", func(b *testing.B) {
		for b.Loop() {
			generation++
			s := *service.Spec.(*spec.Service)
			s.Host = "new-" + s.Host
			r := &spec.Resource{Key: service.Key, Spec: &s}
			r.Name = "new"
			if generation%2 == 1 {
				c.Apply(compile.Change{Tenants: []compile.TenantChange{{Tenant: r.Tenant, Head: generation, Deleted: []spec.Key{r.Key}}}})
				c.Compile(noon)
				continue
			}
			putOne(c, generation, r)
		}
	})
	b.Run("static name", func(b *testing.B) {
		z := world.Tenants[0].Put[0].Resource
		plain := *z.Spec.(*spec.Zone)
		extra := plain
		var err error
		if extra.Content, _, err = zone.Canonical(z.Name, z.Name, plain.Content+"new."+z.Name+"\t300\tIN\tA\t192.0.2.9\n",
			zone.Defaults{}); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			generation++
			s := plain
			if generation%2 == 1 {
				s = extra
			}
			putOne(c, generation, &spec.Resource{Key: z.Key, Spec: &s})
		}
	})
}
