package geo

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

func benchMatchers(b *testing.B) []Matcher {
	return []Matcher{{Geo: places(b, "EU")}, {Geo: places(b, "AS", "OC")}, {}}
}

func benchPartition(b *testing.B) *Partition {
	b.Helper()
	p, err := Compile(builtinAtlas(b), nil, FirstOf(benchMatchers(b)))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkOpenBuiltin reads and walks the built-in database.
func BenchmarkOpenBuiltin(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompile makes one more partition of the built-in database.
func BenchmarkCompile(b *testing.B) {
	a, matchers := builtinAtlas(b), benchMatchers(b)
	p := benchPartition(b)
	b.ReportAllocs()
	for b.Loop() {
		p, _ = Compile(a, nil, FirstOf(matchers))
	}
	b.ReportMetric(float64(p.Bytes()), "bytes")
}

// BenchmarkCompileThousand makes a thousand different partitions, from the walk on, and tells what they hold.
func BenchmarkCompileThousand(b *testing.B) {
	var all []Place
	for continent, countries := range countriesOf {
		for country := range strings.FieldsSeq(countries) {
			all = append(all, Place{Continent: continent, Country: country})
		}
	}
	for b.Loop() {
		before := heap()
		a, err := Open()
		if err != nil {
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		list := make([]*Partition, 1000)
		for i := range list {
			list[i] = mustCompile(b, a, nil, Matcher{Geo: []Place{all[rng.IntN(len(all))], all[rng.IntN(len(all))]}},
				Matcher{Geo: []Place{{Continent: all[rng.IntN(len(all))].Continent}}}, Matcher{})
		}
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
		runtime.KeepAlive(list)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// benchAddresses draws half of the addresses evenly and half where networks are small; IPv6 addresses all so.
func benchAddresses(a *Atlas, v4 bool, n int) []u128 {
	rng := rand.New(rand.NewPCG(1, 1))
	addrs, r := make([]u128, n), a.family(v4).unpack()
	for i := range addrs {
		switch {
		case v4 && i&1 == 0:
			addrs[i].hi = uint64(rng.Uint32N(224<<24)) << 32
		case v4:
			addrs[i] = r.start(rng.IntN(r.len()))
		default:
			addrs[i] = r.start(rng.IntN(r.len()))
			addrs[i].lo |= rng.Uint64()
		}
	}
	rng.Shuffle(n, func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addrs
}

// BenchmarkLookup looks up few addresses and many.
func BenchmarkLookup(b *testing.B) {
	a, p := builtinAtlas(b), benchPartition(b)
	for _, n := range []int{1 << 9, 1 << 16} {
		v4, v6 := benchAddresses(a, true, n), benchAddresses(a, false, n)
		b.Run(fmt.Sprintf("v4/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				p.Lookup4(uint32(v4[i&(n-1)].hi >> 32))
			}
		})
		b.Run(fmt.Sprintf("v6/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				p.Lookup6(v6[i&(n-1)].hi, v6[i&(n-1)].lo)
			}
		})
	}
}

// BenchmarkLookupCold has every lookup wait for the one before, and between rounds of 32 lookups something else uses the
// caches, as the kernel does between batches; with many partitions each lookup asks another one.
func BenchmarkLookupCold(b *testing.B) {
	a := builtinAtlas(b)
	for _, partitions := range []int{1, 64} {
		list := make([]*Partition, partitions)
		for i := range list {
			list[i], _ = Compile(a, nil,
				FirstOf([]Matcher{{Geo: places(b, "EU")}, {Geo: places(b, "AS", "OC")}, {ASN: []uint32{uint32(i)}}, {}}))
		}
		for _, v4 := range []bool{true, false} {
			addrs := benchAddresses(a, v4, 1<<16)
			b.Run(fmt.Sprintf("partitions=%d/v4=%t", partitions, v4), func(b *testing.B) { lookupCold(b, list, addrs, v4) })
		}
	}
}

func lookupCold(b *testing.B, list []*Partition, addrs []u128, v4 bool) {
	const round = 32
	other := make([]uint64, 4<<20/8)
	var took time.Duration
	at, n := 0, 0
	for b.Loop() {
		for i := 0; i < len(other); i += 8 {
			other[i]++
		}
		start := time.Now()
		for range round {
			x, p := addrs[at&(len(addrs)-1)], list[n%len(list)]
			var class uint16
			if v4 {
				class, _ = p.Lookup4(uint32(x.hi >> 32))
			} else {
				class, _ = p.Lookup6(x.hi, x.lo)
			}
			at += 1 + int(class>>14&1) // so that the next address is not known before
			n++
		}
		took += time.Since(start)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N*round), "ns/lookup")
}

// BenchmarkCompileManyNetworks compiles over maps that have changed.
func BenchmarkCompileManyNetworks(b *testing.B) {
	a, rng := builtinAtlas(b), rand.New(rand.NewPCG(1, 1))
	maps := []Map{{Name: "many"}, {Name: "placed", Place: &Place{Continent: "EU", Country: "DE"}}}
	for i := range 100_000 {
		x := u128{hi: rng.Uint64()}
		maps[i&1].Networks = append(maps[i&1].Networks, netip.PrefixFrom(x.addr(i%3 > 0), 24).Masked())
	}
	for i := uint32(1); b.Loop(); i++ {
		maps[1].ASN = i
		if _, err := Compile(a, maps, FirstOf([]Matcher{{Maps: []string{"many"}}, {Geo: places(b, "EU")}})); err != nil {
			b.Fatal(err)
		}
	}
}
