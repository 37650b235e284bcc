//go:build interop

package interop

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/oschwald/maxminddb-golang/v2"
)

// database is the MMDB that gtmd has built in.
const database = "../../../geo/country.mmdb"

// An atlas is the slow and plain reading of an MMDB: the oracle of what pkg/geo compiles.
type atlas struct {
	reader   *maxminddb.Reader
	networks []netip.Prefix // all with a place, IPv4 first
	v4       int            // how many of them are IPv4
}

// land is what a record says of the place.
type land struct {
	Continent struct {
		Code string `maxminddb:"code"`
	} `maxminddb:"continent"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
}

// place is written as in resources: EU-DE, EU, or nothing.
func (l land) place() string {
	return strings.TrimSuffix(l.Continent.Code+"-"+l.Country.ISOCode, "-")
}

func openAtlas(t *testing.T) *atlas {
	t.Helper()
	reader, err := maxminddb.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	a := &atlas{reader: reader}
	for result := range reader.Networks() {
		if err := result.Err(); err != nil {
			t.Fatal(err)
		}
		a.networks = append(a.networks, result.Prefix())
	}
	slices.SortStableFunc(a.networks, func(x, y netip.Prefix) int { return x.Addr().BitLen() - y.Addr().BitLen() })
	a.v4, _ = slices.BinarySearchFunc(a.networks, 128, func(p netip.Prefix, bits int) int { return p.Addr().BitLen() - bits })
	if a.v4 < 100_000 || len(a.networks)-a.v4 < 10_000 {
		t.Fatalf("%s has %d networks of IPv4 and %d of IPv6: not the whole Internet", database, a.v4, len(a.networks)-a.v4)
	}
	return a
}

// place gives the place of one address.
func (a *atlas) place(t *testing.T, addr netip.Addr) string {
	t.Helper()
	var l land
	if err := a.reader.Lookup(addr).Decode(&l); err != nil {
		t.Fatal(err)
	}
	return l.place()
}

// placesWithin gives every place in a network, once each; "" stands for what has none.
func (a *atlas) placesWithin(t *testing.T, network netip.Prefix) []string {
	t.Helper()
	var places []string
	for result := range a.reader.NetworksWithin(network, maxminddb.IncludeNetworksWithoutData()) {
		var l land
		if err := result.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if place := l.place(); !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

// addresses draws n addresses: at and beside both ends of networks, inside of them, and anywhere;
// IPv4 and IPv6 by halves.
func (a *atlas) addresses(random *rand.Rand, n int) []netip.Addr {
	drawn := make([]netip.Addr, 0, n)
	for len(drawn) < n {
		networks := a.networks[:a.v4]
		if len(drawn)%2 == 1 {
			networks = a.networks[a.v4:]
		}
		network := networks[random.IntN(len(networks))]
		addr := network.Addr()
		switch random.IntN(6) {
		case 0: // its first
		case 1:
			addr = addr.Prev()
		case 2:
			addr = last(network)
		case 3:
			addr = last(network).Next()
		case 4:
			addr = anyIn(random, network)
		case 5:
			addr = anyIn(random, netip.PrefixFrom(addr, 3))
		}
		if addr.IsValid() {
			drawn = append(drawn, addr)
		}
	}
	return drawn
}

// last gives a network's last address.
func last(network netip.Prefix) netip.Addr {
	b := network.Addr().AsSlice()
	for bit := network.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// anyIn draws one of a network's addresses.
func anyIn(random *rand.Rand, network netip.Prefix) netip.Addr {
	b := network.Masked().Addr().AsSlice()
	for bit := network.Bits(); bit < len(b)*8; bit++ {
		if random.IntN(2) == 1 {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
