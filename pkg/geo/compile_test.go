package geo

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
)

// smallAtlas has 9.0.0.0/8 and 2a00::/12 in Germany; nothing else has a place.
func smallAtlas(t testing.TB) *Atlas {
	t.Helper()
	de := Place{Continent: "EU", Country: "DE"}
	a, err := OpenBytes("test", makeMMDB(t, mmdbwriter.Options{}, []entry{
		{netip.MustParsePrefix("9.0.0.0/8"), de}, {netip.MustParsePrefix("2a00::/12"), de},
	}))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

type lookupTest struct {
	addr  string
	class uint16
	scope uint8
}

func checkLookups(t *testing.T, p *Partition, tests []lookupTest) {
	t.Helper()
	for _, test := range tests {
		if class, scope := p.Lookup(netip.MustParseAddr(test.addr)); class != test.class || scope != test.scope {
			t.Errorf("%s: class %d scope %d; want class %d scope %d", test.addr, class, scope, test.class, test.scope)
		}
	}
}

func mustCompile(t testing.TB, a *Atlas, maps []Map, matchers ...Matcher) *Partition {
	t.Helper()
	p, err := Compile(a, maps, FirstOf(matchers))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSpecial looks at special-purpose blocks, which keep their length as scope, beside and within maps.
func TestSpecial(t *testing.T) {
	a := smallAtlas(t)
	everyone := mustCompile(t, a, nil, Matcher{Geo: []Place{{Continent: "EU", Country: "DE"}}}, Matcher{})
	checkLookups(t, everyone, []lookupTest{
		{"10.1.2.3", SpecialClass, 8}, {"11.0.0.1", 1, 8}, {"9.1.1.1", 0, 8}, {"192.168.1.1", SpecialClass, 16},
		{"127.0.0.1", SpecialClass, 8}, {"224.0.0.1", SpecialClass, 4}, {"255.255.255.255", SpecialClass, 4},
		{"192.0.2.1", 1, 23}, {"198.51.100.1", 1, 11}, {"::ffff:10.0.0.1", SpecialClass, 8},
		{"::", SpecialClass, 128}, {"::1", SpecialClass, 128}, {"::2", 1, 127}, {"fd12::1", SpecialClass, 7}, {"fe80::1", SpecialClass, 10},
		{"100::1", SpecialClass, 64}, {"100:0:0:1::1", SpecialClass, 64}, {"2001:db8::1", 1, 21}, {"2a00::1", 0, 12},
		{"ff02::1", SpecialClass, 8},
	})
	if class, scope := everyone.LookupResolver(netip.MustParseAddr("10.1.2.3")); class != 1 || scope != 8 {
		t.Errorf("resolver in a private block: class %d scope %d", class, scope)
	}
	if class, _ := everyone.LookupResolver6(0xfd12<<48, 1); class != 1 {
		t.Errorf("resolver in a private IPv6 block: class %d", class)
	}

	// where nobody's address makes a difference, that of a private network makes none either
	checkLookups(t, mustCompile(t, a, nil, Matcher{}), []lookupTest{{"10.1.2.3", 0, 0}, {"9.1.1.1", 0, 0}, {"fd12::1", 0, 0},
		{"2a00::1", 0, 0}})

	maps := []Map{
		{Name: "named", Networks: prefixes("10.1.0.0/16", "fd00:1::/32", "::ffff:192.168.7.0/120")},
		{Name: "unnamed", Networks: prefixes("172.16.0.0/12", "10.2.0.0/16")},
		{Name: "placed", Networks: prefixes("192.168.0.0/17"), Place: &Place{Continent: "EU", Country: "FR"}},
		{Name: "numbered", Networks: prefixes("100.0.0.0/8"), ASN: 64500},
	}
	p := mustCompile(t, a, maps, Matcher{Maps: []string{"named"}}, Matcher{Geo: []Place{{Continent: "EU", Country: "FR"}}},
		Matcher{ASN: []uint32{64500}})
	checkLookups(t, p, []lookupTest{
		{"10.1.2.3", 0, 16}, {"10.0.2.3", SpecialClass, 16}, {"10.2.2.3", SpecialClass, 15}, {"10.128.0.1", SpecialClass, 9},
		{"172.16.0.1", SpecialClass, 12}, {"192.168.7.1", 0, 24}, {"192.168.6.1", 1, 24}, {"192.168.64.1", 1, 18},
		{"192.168.128.1", SpecialClass, 17},
		{"100.64.0.1", 2, 8}, {"9.9.9.9", NoClass, 7}, {"fd00:1::1", 0, 32}, {"fd00:2::1", SpecialClass, 31}, {"fc00::1", SpecialClass, 8},
	})
}

// TestOverlapping has maps of the same and of nested networks.
func TestOverlapping(t *testing.T) {
	fr, us := Place{Continent: "EU", Country: "FR"}, Place{Continent: "NA", Country: "US"}
	maps := []Map{
		{Name: "a", Networks: prefixes("9.1.0.0/16", "9.1.0.0/16", "9.2.0.0/15"), Place: &fr},
		{Name: "b", Networks: prefixes("9.1.0.0/16", "9.3.3.0/24", "9.1.1.1/32"), Place: &us, ASN: 7},
		{Name: "c", Networks: prefixes("0.0.0.0/0")},
	}
	inFR, inUS := Matcher{Geo: []Place{fr}}, Matcher{Geo: []Place{us}}
	p := mustCompile(t, smallAtlas(t), maps, inFR, inUS, Matcher{Geo: []Place{{Continent: "EU"}}, ASN: []uint32{1}},
		Matcher{Geo: []Place{{Continent: "EU", Country: "DE"}}})
	checkLookups(t, p, []lookupTest{
		{"9.1.2.3", 0, 23}, {"9.1.1.1", 1, 32}, {"9.1.1.0", 0, 32}, {"9.3.3.3", 1, 24}, {"9.2.0.1", 0, 16}, {"9.4.0.1", 3, 14},
		{"8.0.0.1", NoClass, 8},
	})
	// A map that everyone is in changes nothing but what special-purpose blocks are.
	lifted := mustCompile(t, smallAtlas(t), maps[2:], Matcher{Maps: []string{"c"}})
	checkLookups(t, lifted, []lookupTest{{"10.0.0.1", 0, 0}, {"255.255.255.255", 0, 0}, {"::1", SpecialClass, 128},
		{"2a00::1", NoClass, 5}})
	if p := mustCompile(t, smallAtlas(t), maps[2:], Matcher{Geo: []Place{{Continent: "EU", Country: "DE"}}}); classOf4(p,
		0x09010101) != 0 || classOf4(p, 0x0a000001) != SpecialClass {
		t.Error("a map that no matcher names has an effect")
	}
}

func classOf4(p *Partition, a uint32) uint16 { class, _ := p.Lookup4(a); return class }

func TestCompileErrors(t *testing.T) {
	maps := []Map{{Name: "offices", Networks: prefixes("10.0.0.0/8")}, {Name: "labs"}}
	tests := []struct {
		maps     []Map
		matchers []Matcher
		want     string
	}{
		{maps, []Matcher{{Maps: []string{"office"}}}, `there is no map "office"; the maps are labs, offices`},
		{nil, []Matcher{{Maps: []string{"office"}}}, `there is no map "office"; declare it`},
		{append(maps, maps[0]), nil, `two maps have the name "offices"`},
		{[]Map{{Name: "bad", Networks: []netip.Prefix{{}}}}, nil, `map "bad"`},
		{nil, make([]Matcher, maxClasses+1), "32001 classes"},
	}
	for _, test := range tests {
		if _, err := Compile(smallAtlas(t), test.maps, FirstOf(test.matchers)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v; want %q", err, test.want)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	p := mustCompile(t, builtinAtlas(t), nil, Matcher{Geo: places(t, "EU")}, Matcher{})
	v4, v6 := netip.MustParseAddr("81.2.69.160"), netip.MustParseAddr("2001:67c:2e8::1")
	if n := testing.AllocsPerRun(100, func() {
		p.Lookup(v4)
		p.Lookup(v6)
		p.LookupResolver4(1)
		p.LookupResolver6(1, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if own, shared := p.Bytes(), p.shape.bytes(); own < 50_000 || own > 300_000 || shared < 1<<20 || shared > 10<<20 {
		t.Errorf("a partition has %d bytes of its own, and shares %d", own, shared)
	}
}

func TestPlaceAt(t *testing.T) {
	a := smallAtlas(t)
	maps := []Map{
		{Name: "a", Networks: prefixes("9.1.0.0/16"), Place: &Place{Continent: "EU", Country: "FR"}},
		{Name: "b", Networks: prefixes("9.1.1.0/24"), ASN: 64500},
		{Name: "c", Networks: prefixes("10.1.0.0/16")},
	}
	tests := []struct {
		addr, place string
		asn         uint32
		network     string
	}{
		{"9.0.0.1", "EU-DE", 0, "9.0.0.0/16"}, {"9.1.0.1", "EU-FR", 0, "9.1.0.0/24"}, {"9.1.1.1", "EU-FR", 64500, "9.1.1.0/24"},
		{"10.0.0.1", "", 0, "10.0.0.0/16"}, {"10.1.0.1", "", 0, "10.1.0.0/16"}, {"::ffff:9.1.0.1", "EU-FR", 0, "9.1.0.0/24"},
		{"2a01::1", "EU-DE", 0, "2a00::/12"}, {"fd00::1", "", 0, "fc00::/7"},
	}
	for _, test := range tests {
		place, network := PlaceAt(a, maps, netip.MustParseAddr(test.addr))
		if place.String() != test.place || place.ASN != test.asn || network.String() != test.network {
			t.Errorf("%s: %q AS%d in %s; want %q AS%d in %s", test.addr, place, place.ASN, network, test.place, test.asn, test.network)
		}
	}
	if p, n := PlaceAt(a, maps, netip.Addr{}); p != (Place{}) || n.IsValid() {
		t.Errorf("no address has place %v, network %v", p, n)
	}
}
