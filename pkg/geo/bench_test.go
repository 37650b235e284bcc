package geo

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func benchPartition(b *testing.B) *Partition {
	b.Helper()
	p, err := Compile(builtinAtlas(b), nil, []Matcher{{Geo: places(b, "EU")}, {Geo: places(b, "AS", "OC")}, {}})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func BenchmarkOpenBuiltin(b *testing.B) {
	for b.Loop() {
		if _, err := Open(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	a := builtinAtlas(b)
	matchers := []Matcher{{Geo: places(b, "EU")}, {Geo: places(b, "AS", "OC")}, {}}
	var p *Partition
	for b.Loop() {
		p, _ = Compile(a, nil, matchers)
	}
	v4, v6 := p.Len()
	b.ReportMetric(float64(a.v4.len()+a.v6.len()), "atoms")
	b.ReportMetric(float64(v4+v6), "runs")
	b.ReportMetric(float64(p.Bytes()), "bytes")
}

func BenchmarkLookup4(b *testing.B) {
	p, rng := benchPartition(b), rand.New(rand.NewPCG(1, 1))
	a := builtinAtlas(b)
	addrs := make([]uint32, 1<<16)
	for i := range addrs {
		addrs[i] = rng.Uint32N(224 << 24)
	}
	for i := range addrs[:1<<15] { // half of them where networks are small
		addrs[i] = uint32(a.v4.hi[rng.IntN(a.v4.len())] >> 32)
	}
	rng.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	i := 0
	for b.Loop() {
		p.Lookup4(addrs[i&0xffff])
		i++
	}
}

func BenchmarkLookup6(b *testing.B) {
	p, rng := benchPartition(b), rand.New(rand.NewPCG(1, 1))
	a := builtinAtlas(b)
	addrs := make([]u128, 1<<16)
	for i := range addrs {
		addrs[i] = a.v6.start(rng.IntN(a.v6.len()))
		addrs[i].lo |= rng.Uint64()
	}
	i := 0
	for b.Loop() {
		x := addrs[i&0xffff]
		p.Lookup6(x.hi, x.lo)
		i++
	}
}

func BenchmarkCompileManyNetworks(b *testing.B) {
	a, rng := builtinAtlas(b), rand.New(rand.NewPCG(1, 1))
	maps := []Map{{Name: "many"}, {Name: "placed", Place: &Place{Continent: "EU", Country: "DE"}}}
	for i := range 100_000 {
		x := u128{hi: rng.Uint64()}
		maps[i&1].Networks = append(maps[i&1].Networks, netip.PrefixFrom(x.addr(i%3 > 0), 24).Masked())
	}
	for b.Loop() {
		if _, err := Compile(a, maps, []Matcher{{Maps: []string{"many"}}, {Geo: places(b, "EU")}}); err != nil {
			b.Fatal(err)
		}
	}
}
