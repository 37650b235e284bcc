package demand

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func code(i int) string { return string([]byte{'A' + byte(i/26), 'A' + byte(i%26)}) }

// TestAgainstAnExactCount: whatever comes, no country has fewer queries than it should, nor more by above 1/48 of all; and all together are
// right. Where a service has fewer countries, each is exact.
func TestAgainstAnExactCount(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		countries := []int{3, 40, MostCountries, 100, 250}[seed%5]
		s, exact, total := NewSketch(clock), map[string]float64{}, 0.0
		for range 20_000 {
			at := int(float64(countries) * math.Pow(random.Float64(), 1+float64(seed%3)))
			n := float64(1 + random.IntN(1000))
			s.Add("shop", "web", CountryOf(code(at)), n)
			exact[code(at)] += n
			total += n
		}
		c := s.tenants["shop"].services["web"]
		if c.Queries != total || c.Samples != 20_000 || len(c.cells) > MostCountries {
			t.Fatalf("seed %d: %v queries of %v samples in %d countries, of %v", seed, c.Queries, c.Samples, len(c.cells), total)
		}
		bound, sum := total/MostCountries, 0.0
		if countries <= MostCountries {
			bound = 0
		}
		for _, p := range c.Parts() {
			sum += p.Queries
			if more := p.Queries - exact[p.Country]; more < 0 || more > bound {
				t.Errorf("seed %d: %s has %v queries too many, the bound is %v", seed, p.Country, more, bound)
			}
		}
		for country, n := range exact {
			if c.Of(CountryOf(country)) == 0 && n > total/MostCountries {
				t.Errorf("seed %d: %s with %v queries of %v is not there", seed, country, n, total)
			}
		}
		if math.Abs(sum-total) > 1e-6*total {
			t.Errorf("seed %d: the countries have %v of %v", seed, sum, total)
		}
	}
}

func TestBoundsOfASketch(t *testing.T) {
	s := NewSketch(clock)
	for i := range MostOfTenant + 10 {
		s.Add("large", fmt.Sprint("s", i), CountryOf("DE"), 2)
	}
	if len(s.tenants["large"].services) != MostOfTenant || s.tenants["large"].all.Queries != 2*(MostOfTenant+10) {
		t.Errorf("%d services of one tenant, %v queries", len(s.tenants["large"].services), s.tenants["large"].all.Queries)
	}
	for i := range MostTenants + 10 {
		for j := range 20 {
			s.Add(fmt.Sprint("t", i), fmt.Sprint("s", j), CountryOf("DE"), 1)
		}
	}
	if s.Services() != MostServices || len(s.tenants) != MostTenants {
		t.Errorf("%d services of %d tenants", s.Services(), len(s.tenants))
	}
	each := uintptr(MostCountries)*unsafe.Sizeof(cell{}) + unsafe.Sizeof(Counts{}) + 64 // and its place in the map
	if most := (MostServices + MostTenants) * each; most > 18<<20 {
		t.Errorf("all in all %d bytes", most)
	}
	if n := len(s.Encode()); n > MostBytes {
		t.Errorf("%d bytes", n)
	}
}

// TestWhatDoesNotFitIsLeftOut: of more than a megabyte the services with most queries are told, and all tenants.
func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	s, random := NewSketch(clock), rand.New(rand.NewPCG(1, 2))
	for i := range 8 {
		for j := range MostServices / 8 {
			for at := range MostCountries {
				s.Add(fmt.Sprint("t", i), fmt.Sprint("service-", j), CountryOf(code(at)), float64(1+j)+1e6*random.Float64())
			}
		}
	}
	s.Add("t0", "first", CountryOf("DE"), 1e12)
	s.Add("t0", "service-0", CountryOf("DE"), 1e12)
	data := s.Encode()
	if len(data) > MostBytes || len(data) < MostBytes-1000 {
		t.Errorf("%d bytes", len(data))
	}
	sum := Add(clock, []Word{{"ams1", clock, data}})
	if len(sum.Tenants()) != 8 || sum.Service("t0", "service-0") == nil {
		t.Errorf("%d tenants, the service with most queries: %v", len(sum.Tenants()), sum.Service("t0", "service-0"))
	}
	for _, tenant := range sum.Tenants() {
		if sum.Tenant(tenant).Queries == 0 {
			t.Errorf("%s as a whole is not told", tenant)
		}
	}
}

func TestAge(t *testing.T) {
	s := NewSketch(clock)
	for range 1000 {
		s.Add("shop", "web", CountryOf("DE"), 3)
	}
	s.Add("shop", "rare", CountryOf("FR"), 1)
	s.Age(clock.Add(-time.Hour)) // a clock that was set back
	if c := s.tenants["shop"].services["web"]; c.Queries != 3000 {
		t.Errorf("%v", c.Queries)
	}
	s.Age(clock.Add(12 * time.Hour))
	s.Age(clock.Add(24 * time.Hour))
	c := s.tenants["shop"].services["web"]
	if want := 3000 / math.E; math.Abs(c.Queries-want) > 1e-6 || math.Abs(c.Of(CountryOf("DE"))-want) > 1e-6 ||
		math.Abs(c.Samples-want/3) > 1e-6 {
		t.Errorf("after a day %+v, want %v", c, want)
	}
	for i := range 100 {
		s.Add("many", fmt.Sprint("s", i), CountryOf("FR"), 1)
	}
	s.Age(clock.Add(84 * time.Hour))
	if s.Services() != 1 || s.tenants["many"] == nil || s.tenants["many"].all.Samples < 5 {
		t.Errorf("what was asked for once is still there, or its tenant is not: %d services, %+v", s.Services(), s.tenants["many"])
	}
	if s.Age(clock.Add(1000 * time.Hour)); s.Services() != 0 || len(s.tenants) != 0 {
		t.Errorf("after weeks: %d services, %d tenants", s.Services(), len(s.tenants))
	}
}

// TestASteadyDayIsADay: where as much is asked for every day, the counts are what a day has.
func TestASteadyDayIsADay(t *testing.T) {
	s := NewSketch(clock)
	for i := range 10 * 24 * 60 {
		s.Age(clock.Add(time.Duration(i) * time.Minute))
		s.Add("shop", "web", CountryOf("DE"), 10)
	}
	if got, want := s.tenants["shop"].services["web"].Queries, 10.0*24*60; math.Abs(got/want-1) > 0.001 {
		t.Errorf("%v queries a day, counted as %v", want, got)
	}
}

func sketchOf(tenant, service string, of map[string]float64) *Sketch {
	s := NewSketch(clock)
	for country, n := range of {
		s.Add(tenant, service, CountryOf(country), n)
	}
	return s
}

func TestSum(t *testing.T) {
	one := sketchOf("shop", "web", map[string]float64{"DE": 900, "FR": 100, "": 10}).Encode()
	two := sketchOf("shop", "web", map[string]float64{"US": 1000}).Encode()
	later := clock.Add(24 * time.Hour)
	sum := Add(later, []Word{{"b", later.Add(-time.Hour), two}, {"a", clock, one}, {"a", later, one}, {"c", later, []byte("none")},
		{"d", later, nil}})
	web, all := sum.Service("shop", "web"), sum.Tenant("shop")
	if web == nil || all == nil || web.Edges != 2 || !web.Newest.Equal(later) {
		t.Fatalf("%+v %+v", web, all)
	}
	for country, want := range map[string]float64{"DE": 900 + 900/math.E, "US": 1000 * math.Exp(-1./24), "": 10 + 10/math.E, "ES": 0} {
		if got := web.Of(CountryOf(country)); math.Abs(got-want) > 1e-6 {
			t.Errorf("%q: %v, want %v", country, got, want)
		}
	}
	if math.Abs(all.Queries-web.Queries) > 1e-6 || math.Abs(web.Samples-(3+3/math.E+math.Exp(-1./24))) > 1e-6 {
		t.Errorf("%v of %v queries, %v samples", web.Queries, all.Queries, web.Samples)
	}
	if sum.Service("shop", "none") != nil || sum.Service("none", "web") != nil || sum.Tenant("none") != nil {
		t.Error("there is more than was said")
	}
	if early := Add(clock, []Word{{"b", clock.Add(time.Hour), two}}).Service("shop", "web"); early.Queries != 1000 {
		t.Errorf("what is said from now on: %v", early.Queries)
	}
	var none *Sum
	if none.Service("shop", "web") != nil || none.Tenant("shop") != nil || none.Tenants() != nil || none.ServicesOf("shop") != nil {
		t.Error("nothing is something")
	}
}

// TestBoundsOfASum: edges may say what they want.
func TestBoundsOfASum(t *testing.T) {
	var words []Word
	for i := range 5 {
		s, large := NewSketch(clock), NewSketch(clock)
		for j := range MostTenants {
			for k := range MostServices / MostTenants {
				s.Add(fmt.Sprint("t", i, "-", j), fmt.Sprint("s", k), CountryOf("DE"), 1)
			}
		}
		for j := range MostOfTenant {
			large.Add("large", fmt.Sprint("s", i, "-", j), CountryOf("DE"), 1)
		}
		words = append(words, Word{fmt.Sprint("a", i), clock, large.Encode()}, Word{fmt.Sprint("b", i), clock, s.Encode()})
	}
	sum := Add(clock, words)
	if n := len(sum.ServicesOf("large")); n != mostSummed/4 {
		t.Errorf("%d services of one tenant", n)
	}
	if len(sum.Tenants()) != 4*MostTenants || sum.services != mostSummed {
		t.Errorf("%d tenants, %d services", len(sum.Tenants()), sum.services)
	}
}

// TestFold: what was said by two processes is as if one had said it.
func TestFold(t *testing.T) {
	one := sketchOf("shop", "web", map[string]float64{"DE": 1e6})
	two := sketchOf("shop", "web", map[string]float64{"DE": 1e6, "FR": 3e6})
	later := clock.Add(24 * time.Hour)
	data := Fold(later, MostBytes, Word{"a", clock, one.Encode()}, Word{"a", later, two.Encode()}, Word{})
	web := Add(later, []Word{{"a", later, data}}).Service("shop", "web")
	if got, want := web.Of(CountryOf("DE")), 1e6+1e6/math.E; math.Abs(got-want) > 1 || web.Of(CountryOf("FR")) != 3e6 {
		t.Errorf("%v, want %v; %v", got, want, web.Of(CountryOf("FR")))
	}
	if math.Abs(web.Samples-(2+1/math.E)) > 0.1 {
		t.Errorf("%v samples", web.Samples)
	}
}

// TestFoldIsBounded: of what is too much, the services with most queries stay.
func TestFoldIsBounded(t *testing.T) {
	s := NewSketch(clock)
	for i := range 1000 {
		s.Add("shop", fmt.Sprint("s", i), CountryOf("DE"), float64(1+i))
	}
	const most = 4096
	data := Fold(clock, most, Word{"a", clock, s.Encode()})
	sum := Add(clock, []Word{{"a", clock, data}})
	if len(data) > most || len(data) < most-50 || sum.Tenant("shop").Queries != 1000*1001/2 || sum.Service("shop", "s999") == nil ||
		sum.Service("shop", "s0") != nil {
		t.Errorf("%d bytes, %d services", len(data), len(sum.ServicesOf("shop")))
	}
}

// TestWhatAnEdgeCannotHaveSeen is not believed.
func TestWhatAnEdgeCannotHaveSeen(t *testing.T) {
	one := appendEntry(nil, "shop", "web", &Counts{})
	many := Counts{Queries: mostQueries / 2, Samples: 1, cells: []cell{{CountryOf("DE"), mostQueries}, {CountryOf("FR"), mostQueries}}}
	for name, data := range map[string][]byte{
		"too many queries": appendEntry([]byte{format}, "shop", "web", &many),
		"no tenant":        appendEntry([]byte{format}, "", "web", &Counts{}),
		"another format":   {2},
		"nothing":          nil,
		"cut off":          appendEntry([]byte{format}, "shop", "web", &Counts{Queries: 1})[:12],
		"too long":         slices.Concat([]byte{format}, slices.Repeat(one, MostBytes/len(one)+1)),
		"a long name":      appendEntry([]byte{format}, strings.Repeat("a", mostName+1), "web", &Counts{}),
		"many countries":   appendEntry([]byte{format}, "shop", "web", &Counts{cells: make([]cell, MostCountries+1)}),
		"a large number":   appendEntry([]byte{format}, "shop", "web", &Counts{Samples: mostQueries})[:15],
	} {
		if Check(data) == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if err := Check(slices.Concat([]byte{format}, one, one)); err != nil {
		t.Errorf("two services: %v", err)
	}
	if err := Check([]byte{format}); err != nil {
		t.Errorf("an empty sketch: %v", err)
	}
}

// FuzzVisit: whatever an edge says, nothing of it is beyond bounds, and what can be read is read again as it was.
func FuzzVisit(f *testing.F) {
	f.Add(sketchOf("shop", "web", map[string]float64{"DE": 900, "FR": 100, "": 1}).Encode())
	f.Add([]byte{format, 1, 'a', 1, 'b', 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		again := []byte{format}
		err := visit(data, func(tenant, service string, c *Counts) {
			if tenant == "" || len(service) > mostName || len(c.cells) > MostCountries || c.Queries > mostQueries ||
				c.Samples > mostQueries {
				t.Errorf("%q %q: %+v", tenant, service, c)
			}
			again = appendEntry(again, tenant, service, c)
		})
		if err != nil || len(again) > MostBytes {
			return
		}
		if err := Check(again); err != nil {
			t.Errorf("%x: %v", again, err)
		}
		Add(clock, []Word{{"a", clock, data}})
	})
}

func BenchmarkAdd(b *testing.B) {
	s, random := NewSketch(clock), rand.New(rand.NewPCG(1, 2))
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("s", i)
	}
	for b.Loop() {
		s.Add("shop", names[random.IntN(len(names))], CountryOf(code(random.IntN(200))), 1)
	}
}

// BenchmarkFull tells a sketch that is full, and sums up what it told.
func BenchmarkFull(b *testing.B) {
	s := NewSketch(clock)
	for i := range MostServices {
		for at := range MostCountries {
			s.Add(fmt.Sprint("t", i%100), fmt.Sprint("service-", i), CountryOf(code(at)), float64(1+i*at))
		}
	}
	data := s.Encode()
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			data = s.Encode()
		}
		b.ReportMetric(float64(len(data)), "bytes")
	})
	b.Run("sum", func(b *testing.B) {
		for b.Loop() {
			Add(clock, []Word{{"a", clock, data}})
		}
	})
}
