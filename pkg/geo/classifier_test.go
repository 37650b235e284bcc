package geo

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/maxmind/mmdbwriter"
)

// byLatitude is a classifier by how far north a place is: a point can decide where nothing else differs.
func byLatitude() *Classifier {
	c := &Classifier{Classes: 9, Points: true}
	c.Class = func(p Place, _ Hits) int {
		point := p.Point()
		if !point.Known() {
			return c.Classes
		}
		return min(int(point.Lat()+90)/20, c.Classes-1)
	}
	return c
}

// TestClassifierOfPoints compares one on databases and maps drawn at random with the oracle, class and scope.
func TestClassifierOfPoints(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(seed + 5000)
		entries := append(w.entries(w.IntN(60)), entry{netip.MustParsePrefix("1.2.3.0/24"), w.places[0]})
		mmdb := makeMMDB(t, mmdbwriter.Options{DisableIPv4Aliasing: true}, entries)
		a, err := OpenBytes("test", mmdb)
		if err != nil {
			t.Fatal(err)
		}
		maps, c := w.maps(), byLatitude()
		p, err := Compile(a, maps, c)
		if err != nil {
			t.Fatal(err)
		}
		o := newOracle(usualAliases[:1], maps, nil, openDB(t, mmdb))
		o.byPlace = func(p Place) uint16 {
			if class := c.Class(p, Hits{}); class < c.Classes {
				return uint16(class)
			}
			return NoClass
		}
		compare(t, o, o.tries(), p, worldAddresses(w, entries, maps))
	}
}

// TestPointsAreForThoseWhoAsk: coordinates divide the addresses finely. Who does not ask for them does not see them, and has a shape
// without them; where there are none, all share one.
func TestPointsAreForThoseWhoAsk(t *testing.T) {
	entries := make([]entry, 100)
	for i := range entries {
		entries[i] = entry{netip.PrefixFrom(netip.AddrFrom4([4]byte{8, 8, byte(i)}), 24),
			Place{Continent: "NA", Country: "US", At: PointOf(float64(1+i%50), float64(i))}}
	}
	a, err := OpenBytes("test", makeMMDB(t, mmdbwriter.Options{}, entries))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	compiled := func(a *Atlas, maps []Map, points bool) *Partition {
		seen[points] = 0
		p, err := Compile(a, maps, &Classifier{Classes: 1, Points: points, Class: func(p Place, _ Hits) int {
			if p.At.Known() {
				seen[points]++
			}
			return 0
		}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain, points := compiled(a, nil, false), compiled(a, nil, true)
	if seen[false] != 0 || seen[true] != 100 {
		t.Errorf("%d and %d places had coordinates; want 0 and 100", seen[false], seen[true])
	}
	if n, most := len(plain.shape.atoms), len(points.shape.atoms); n > 2+len(specialBlocks) || most < 100 {
		t.Errorf("%d atoms without coordinates, %d with them", n, most)
	}
	if again := compiled(a, nil, true); again.shape != points.shape || compiled(a, nil, false).shape != plain.shape {
		t.Error("a shape is made again")
	}
	builtin := builtinAtlas(t)
	if compiled(builtin, nil, true).shape != compiled(builtin, nil, false).shape {
		t.Error("the built-in database has no coordinates, and two shapes")
	}
	moved := []Map{{Name: "moved", Networks: prefixes("8.8.8.0/24"), Place: &Place{Continent: "EU", At: PointOf(1, 1)}}}
	if compiled(builtin, moved, true); seen[true] != 1 {
		t.Errorf("%d places of a map had coordinates", seen[true])
	}
	if compiled(builtin, moved, false); seen[false] != 0 {
		t.Errorf("%d places of a map had coordinates for one who did not ask", seen[false])
	}
}

// TestAnyClassifier: places are divided by whatever a function makes of them, which is asked for each place, not for each network.
func TestAnyClassifier(t *testing.T) {
	a := builtinAtlas(t)
	maps := []Map{{Name: "other", Networks: prefixes("9.0.0.0/8")}, {Name: "own", Networks: prefixes("8.8.0.0/16", "2001:db8::/32")}}
	asked := map[string]int{}
	c := &Classifier{Classes: 26, Maps: []string{"own"}}
	c.Class = func(p Place, in Hits) int {
		asked[fmt.Sprint(p, in.Has(0), in.members)]++
		switch {
		case in.Has(0):
			return 25
		case p.Country == "" || p.Country[0] == 'Z':
			return c.Classes
		}
		return int(p.Country[0] - 'A') // nothing that matchers could tell apart in so few words
	}
	p, err := Compile(a, maps, c)
	if err != nil {
		t.Fatal(err)
	}
	for what, n := range asked {
		if n > 1+len(specialBlocks) {
			t.Errorf("%s: asked %d times", what, n)
		}
	}
	random, seen := rand.New(rand.NewPCG(1, 131)), map[uint16]int{}
	for range 20_000 {
		v := random.Uint32()
		addr := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
		place, _ := PlaceAt(a, maps, addr)
		class, scope := p.Lookup(addr)
		if class == SpecialClass {
			continue
		}
		inside := slices.ContainsFunc(maps[1].Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
		want := uint16(NoClass)
		if inside {
			want = 25
		} else if place.Country != "" && place.Country[0] != 'Z' {
			want = uint16(place.Country[0] - 'A')
		}
		if class != want || scope > 32 {
			t.Fatalf("%s in %v: class %d scope %d, want class %d", addr, place, class, scope, want)
		}
		seen[class]++
	}
	if class, _ := p.Lookup(netip.MustParseAddr("8.8.8.8")); class != 25 {
		t.Errorf("an address of the map has class %d", class)
	}
	if len(seen) < 10 {
		t.Errorf("only the classes %v", seen)
	}
}
