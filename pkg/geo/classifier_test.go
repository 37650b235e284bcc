package geo

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

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
