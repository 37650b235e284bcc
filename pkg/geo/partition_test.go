package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/oschwald/maxminddb-golang/v2"

	builtin "github.com/gti/gtm/geo"
)

var openBuiltin = sync.OnceValues(func() (*Atlas, error) { return Open() })

func builtinAtlas(t testing.TB) *Atlas {
	t.Helper()
	a, err := openBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func openDB(t testing.TB, mmdb []byte) *maxminddb.Reader {
	t.Helper()
	db, err := maxminddb.OpenBytes(mmdb)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func places(t testing.TB, names ...string) (list []Place) {
	t.Helper()
	for _, name := range names {
		p, err := ParsePlace(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func prefixes(names ...string) (list []netip.Prefix) {
	for _, name := range names {
		list = append(list, netip.MustParsePrefix(name))
	}
	return list
}

// usualAliases are the networks that mmdbwriter makes aliases of the IPv4 tree, and that tree's own place.
var usualAliases = prefixes("::/96", "::ffff:0:0/96", "2001::/32", "2002::/16")

// TestBuiltinAgainstOracle compares partitions of the built-in database with the plain reading of it.
func TestBuiltinAgainstOracle(t *testing.T) {
	maps := []Map{
		{Name: "offices", Networks: prefixes("10.1.0.0/16", "81.2.69.0/24", "81.2.69.160/27", "203.0.113.0/24", "2001:db8:1::/48",
			"2a02:8000::/21", "fd00:1::/32", "fd00:1:2:3::4/128")},
		{Name: "germany", Place: &places(t, "EU-DE-BE")[0], Networks: prefixes("1.1.1.0/24", "8.0.0.0/7", "192.168.0.0/15", "2600::/12",
			"2a00:1450:4001::/56")},
		{Name: "carrier", ASN: 4134, Networks: prefixes("100.64.0.0/12", "5.0.0.0/8", "240e::/20")},
		{Name: "unused", Networks: prefixes("172.16.0.0/12", "9.9.9.9/32", "fe80::/64")},
	}
	sets := [][]Matcher{
		{{Geo: places(t, "EU")}, {Geo: places(t, "AS", "OC")}, {}},
		{{Geo: places(t, "EU-DE", "EU-FR", "NA-US")}, {Geo: places(t, "EU", "NA")}},
		{{Maps: []string{"offices"}}, {ASN: []uint32{4134}}, {Geo: places(t, "EU-DE-BE")}, {Geo: places(t, "EU-DE")},
			{Geo: places(t, "NA-CA", "AS-JP", "SA")}, {}},
		{{}},
	}
	db := openDB(t, builtin.CountryMMDB)
	addrs := builtinAddresses(db, maps)
	if len(addrs) < 200_000 {
		t.Fatalf("only %d addresses", len(addrs))
	}
	tries := newOracle(usualAliases, maps, nil, db).tries()
	for i, matchers := range sets {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p, err := Compile(builtinAtlas(t), maps, FirstOf(matchers))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, newOracle(usualAliases, maps, matchers, db), tries, p, addrs)
		})
	}
}

// builtinAddresses draws networks of both families evenly, and takes every map and special block.
func builtinAddresses(db *maxminddb.Reader, maps []Map) (addrs []netip.Addr) {
	rng := rand.New(rand.NewPCG(1, 2))
	var v4, v6 []netip.Prefix
	for result := range db.Networks() {
		if p := result.Prefix(); p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	for range 21_000 {
		addrs = append(addrs, edges(v4[rng.IntN(len(v4))], rng)...)
		addrs = append(addrs, edges(v6[rng.IntN(len(v6))], rng)...)
	}
	for _, m := range maps {
		for _, n := range m.Networks {
			addrs = append(addrs, edges(n, rng)...)
		}
	}
	for _, n := range append(append([]netip.Prefix(nil), specialBlocks...), usualAliases...) {
		addrs = append(addrs, edges(n, rng)...)
	}
	return addrs
}

// world draws small databases, maps and matchers that are rich in nesting and neighbours.
type world struct {
	*rand.Rand
	places []Place
}

func newWorld(seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 7))}
	for _, name := range []string{"EU-DE", "EU-FR", "EU", "NA-US", "AS-JP"} {
		p, _ := ParsePlace(name)
		w.places = append(w.places, p)
		if p.Country != "" {
			p.Subdivision = "A"
			w.places = append(w.places, p)
			p.ASN = 64500
			w.places = append(w.places, p)
			p.ASN, p.Subdivision = 64501, "B"
			w.places = append(w.places, p)
		}
		p.At = PointOf(float64(w.IntN(180))-90.5, float64(w.IntN(2)))
		w.places = append(w.places, p)
	}
	return w
}

func (w *world) place() Place { return w.places[w.IntN(len(w.places))] }

// network draws from few stems, so that networks nest, touch and repeat.
func (w *world) network(v4 bool) netip.Prefix {
	stems4 := []string{"0.0.0.0", "10.0.0.0", "81.2.69.255", "127.255.255.255", "128.0.0.0", "191.255.255.255", "255.255.255.255",
		"203.0.113.7"}
	stems6 := []string{"::", "2001:db8::", "2a00:1450:4001:800::200e", "2a00:1450:4001:800:8000::",
		"2a00:1450:4001:7ff:ffff:ffff:ffff:ffff",
		"2a0f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:0:1::", "2002:5102:4500::"}
	stems := stems6
	if v4 {
		stems = stems4
	}
	addr := netip.MustParseAddr(stems[w.IntN(len(stems))])
	bits := w.IntN(addr.BitLen() + 1)
	b := addr.AsSlice()
	for range w.IntN(3) { // flip a few bits near the end of the prefix
		if i := bits - 1 - w.IntN(6); i >= 0 {
			b[i/8] ^= 1 << (7 - i%8)
		}
	}
	addr, _ = netip.AddrFromSlice(b)
	p, _ := addr.Prefix(bits)
	return p
}

func (w *world) entries(n int) (list []entry) {
	for range n {
		list = append(list, entry{w.network(w.IntN(2) == 0), w.place()})
	}
	return list
}

func (w *world) maps() (maps []Map) {
	for i := range w.IntN(5) {
		m := Map{Name: fmt.Sprint("map", i)}
		for range w.IntN(12) {
			m.Networks = append(m.Networks, w.network(w.IntN(2) == 0))
		}
		if w.IntN(2) == 0 {
			p := w.place()
			m.Place = &p
		}
		if w.IntN(3) == 0 {
			m.ASN = 64500 + w.Uint32N(3)
		}
		maps = append(maps, m)
	}
	return maps
}

func (w *world) matchers(maps []Map) (list []Matcher) {
	for range w.IntN(5) {
		var m Matcher
		for range w.IntN(3) {
			m.Geo = append(m.Geo, w.place())
		}
		if w.IntN(4) == 0 {
			m.ASN = append(m.ASN, 64500+w.Uint32N(3))
		}
		if len(maps) > 0 && w.IntN(3) == 0 {
			m.Maps = append(m.Maps, maps[w.IntN(len(maps))].Name)
		}
		list = append(list, m)
	}
	return list
}

// TestRandomWorldsAgainstOracle compares on databases, maps and matchers drawn at random, with networks of
// any length.
func TestRandomWorldsAgainstOracle(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(seed)
		options := mmdbwriter.Options{DisableIPv4Aliasing: w.IntN(2) == 0, RecordSize: 24 + 4*w.IntN(3)}
		aliased := usualAliases
		if options.DisableIPv4Aliasing {
			aliased = usualAliases[:1]
		}
		entries := append(w.entries(w.IntN(60)), entry{netip.MustParsePrefix("1.2.3.0/24"), w.places[0]})
		mmdb := makeMMDB(t, options, entries)
		a, err := OpenBytes("test", mmdb)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		maps := w.maps()
		var lines []fileLine
		if seed%2 == 1 {
			maps, lines = w.fileMaps(t, maps)
		}
		matchers := w.matchers(maps)
		p, err := Compile(a, maps, FirstOf(matchers))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		addrs := worldAddresses(w, entries, maps)
		for _, l := range lines {
			addrs = append(addrs, edges(l.network, w.Rand)...)
		}
		o := newOracle(aliased, maps, matchers, openDB(t, mmdb))
		o.lines = lines
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			compare(t, o, o.tries(), p, addrs)
			comparePlaces(t, o, a, addrs)
		})
	}
}

func worldAddresses(w *world, entries []entry, maps []Map) (addrs []netip.Addr) {
	for _, e := range entries {
		addrs = append(addrs, edges(e.network, w.Rand)...)
	}
	for _, m := range maps {
		for _, n := range m.Networks {
			addrs = append(addrs, edges(n, w.Rand)...)
		}
	}
	for _, n := range append(append([]netip.Prefix(nil), specialBlocks...), usualAliases...) {
		addrs = append(addrs, edges(n, w.Rand)...)
	}
	return addrs
}

// comparePlaces checks Atlas.Lookup and PlaceAt: the place, and that it holds throughout the network.
func comparePlaces(t *testing.T, o *oracle, a *Atlas, addrs []netip.Addr) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, addr := range addrs {
		place, network := a.Lookup(addr)
		for _, same := range edges(network, rng) {
			if want := o.databasePlace(t, same); network.Contains(same) && place != want {
				t.Fatalf("%s in %s: place %v, but %s has %v", addr, network, place, same, want)
			}
		}
		place, network = PlaceAt(a, o.maps, addr)
		if !network.Contains(addr) {
			t.Fatalf("network %s does not hold %s", network, addr)
		}
		for _, same := range edges(network, rng) {
			if want := o.placeAt(t, same); network.Contains(same) && place != want {
				t.Fatalf("%s in %s: with maps %v, but %s has %v", addr, network, place, same, want)
			}
		}
	}
}

// TestPartitionsLeaveNothing: an edge makes hundreds of partitions as it starts. What is allocated for one beside what it keeps would
// be most of what the start leaves to the collector.
func TestPartitionsLeaveNothing(t *testing.T) {
	a := builtinAtlas(t)
	matchers := []Matcher{{Geo: places(t, "EU", "NA-US")}, {Geo: places(t, "AS")}, {}}
	p := mustCompile(t, a, nil, matchers...) // which makes the shape
	least := uint64(math.MaxUint64)
	for range 20 { // what is kept for the next partition may be dropped at any time
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p = mustCompile(t, a, nil, matchers...)
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	if most := uint64(p.Bytes() + p.Bytes()/8); least > most {
		t.Errorf("%d bytes were allocated for a partition of %d", least, p.Bytes())
	}
}
