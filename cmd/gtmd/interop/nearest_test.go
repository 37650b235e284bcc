//go:build interop

package interop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
)

// A spot is a point on Earth, in degrees.
type spot struct{ lat, lon float64 }

// centre is a datacenter, and a site with a pool.
type centre struct {
	name string
	at   spot
}

// centres are on both sides of the antimeridian, near the poles, and as near to each other as cities are.
var centres = []centre{
	{"ashburn", spot{39.04, -77.49}}, {"amsterdam", spot{52.37, 4.9}}, {"frankfurt", spot{50.11, 8.68}}, {"singapore", spot{1.35, 103.82}},
	{"suva", spot{-18.14, 178.44}}, {"apia", spot{-13.83, -171.77}}, {"anadyr", spot{64.73, 177.5}}, {"nome", spot{64.5, -165.41}},
	{"longyearbyen", spot{78.22, 15.65}}, {"mcmurdo", spot{-77.85, 166.67}}, {"ushuaia", spot{-54.8, -68.3}}, {"accra", spot{5.6, -0.19}},
}

// sorted is how many datacenters nearest puts in order, and gdnsd is asked for.
const sorted = 8

// km is how far it is between two spots: the angle between vectors from the middle of Earth.
func (s spot) km(other spot) float64 {
	a, b := s.vector(), other.vector()
	var dot, cross float64
	for i := range a {
		j, k := (i+1)%3, (i+2)%3
		dot += a[i] * b[i]
		cross += math.Pow(a[j]*b[k]-a[k]*b[j], 2)
	}
	return 6371 * math.Atan2(math.Sqrt(cross), dot)
}

func (s spot) vector() [3]float64 {
	lat, lon := s.lat*math.Pi/180, s.lon*math.Pi/180
	return [3]float64{math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)}
}

// A city is a network, and where it is; nil: the database tells its continent alone.
type city struct {
	network netip.Prefix
	at      *spot
}

// randomCities draws networks of both families. Their spots are of whole degrees, as gtm keeps them: anywhere, and a good part of them at
// the antimeridian and the poles.
func randomCities(random *rand.Rand, n int) (cities []city) {
	for len(cities) < n {
		addr, bits := anyIn(random, netip.MustParsePrefix("0.0.0.0/0")), 8+random.IntN(17)
		if len(cities)%3 == 0 {
			addr, bits = anyIn(random, netip.MustParsePrefix("2000::/3")), 16+random.IntN(33)
		}
		network, err := addr.Prefix(bits)
		if err != nil || overlapsAny(network, special) || overlapsAny(network, embedsIPv4) {
			continue
		}
		c := city{network, &spot{float64(random.IntN(181) - 90), float64(random.IntN(361) - 180)}}
		switch random.IntN(8) {
		case 0:
			c.at = nil
		case 1:
			c.at.lon = []float64{-180, -179, 179, 180}[random.IntN(4)]
		case 2:
			c.at.lat = []float64{-90, -89, 89, 90}[random.IntN(4)]
		}
		if c.at == nil || *c.at != (spot{}) { // gtm takes 0 and 0 for what is not known
			cities = append(cities, c)
		}
	}
	slices.SortStableFunc(cities, func(a, b city) int { return a.network.Bits() - b.network.Bits() })
	return cities
}

// writeCities writes an MMDB file of cities, of which the later ones lie in the earlier ones.
func writeCities(t *testing.T, cities []city) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-City", Description: map[string]string{"en": "cities"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cities {
		record := mmdbtype.Map{"continent": mmdbtype.Map{"code": mmdbtype.String("EU")}}
		if c.at != nil {
			record["country"] = mmdbtype.Map{"iso_code": mmdbtype.String("DE")}
			record["location"] = mmdbtype.Map{"latitude": mmdbtype.Float64(c.at.lat), "longitude": mmdbtype.Float64(c.at.lon)}
		}
		addr := c.network.Addr()
		network := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(c.network.Bits(), addr.BitLen())}
		if err := tree.Insert(network, record); err != nil {
			t.Fatalf("%s: %v", c.network, err)
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "cities.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := tree.WriteTo(file); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// spotOf gives where an address is; nil: nowhere known.
func spotOf(cities []city, addr netip.Addr) *spot {
	for _, c := range slices.Backward(cities) {
		if c.network.Contains(addr) {
			return c.at
		}
	}
	return nil
}

// residents draws addresses: at and beside both ends of cities, inside of them, and a few anywhere.
func residents(random *rand.Rand, cities []city, n int) []netip.Addr {
	seen := map[netip.Addr]bool{}
	var drawn []netip.Addr
	for len(drawn) < n {
		network := cities[random.IntN(len(cities))].network
		addr := anyIn(random, network)
		switch random.IntN(8) {
		case 0:
			addr = network.Addr()
		case 1:
			addr = network.Addr().Prev()
		case 2:
			addr = last(network)
		case 3:
			addr = last(network).Next()
		case 4:
			addr = anyIn(random, netip.PrefixFrom(addr, 4).Masked())
		}
		if addr.IsValid() && !seen[addr] && !inAny(addr, special) && !inAny(addr, embedsIPv4) {
			seen[addr], drawn = true, append(drawn, addr)
		}
	}
	return drawn
}

// autoConfig writes a configuration of gdnsd with the centres, sorted by distance, and gives its folder.
func autoConfig(t *testing.T, mmdb string) string {
	t.Helper()
	var names, coordinates []string
	for _, c := range centres {
		names = append(names, c.name)
		coordinates = append(coordinates, fmt.Sprintf("%s => [%g, %g]", c.name, c.at.lat, c.at.lon))
	}
	dir := t.TempDir()
	writeFile(t, dir, "config", fmt.Sprintf(`plugins => { geoip => {
  maps => { lands => {
    geoip2_db => %s
    datacenters => [%s]
    auto_dc_coords => { %s }
    auto_dc_limit => %d
  } }
  resources => {}
} }
`, mmdb, strings.Join(names, ", "), strings.Join(coordinates, ", "), sorted))
	return dir
}

// nearestJob writes a service round-N for each list of centres that are down in it, which goes by distance.
func nearestJob(t *testing.T, down [][]int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("kind: Zone\ntenant: platform\nname: gtm.test.\n" +
		"spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.test., grants: {shop: [shop.gtm.test.]}}\n")
	for _, c := range centres {
		fmt.Fprintf(&b, "---\n{kind: Site, tenant: platform, name: %s, spec: {location: {lat: %g, lon: %g}}}\n", c.name, c.at.lat, c.at.lon)
	}
	for round, down := range down {
		var pools []string
		for i, c := range centres {
			pool := fmt.Sprintf("%s-%d", c.name, round)
			pools = append(pools, pool)
			fmt.Fprintf(&b, "---\n{kind: Pool, tenant: shop, name: %s, spec: {site: %s, endpoints: [{name: a, addresses: [%s]}]}}\n",
				pool, c.name, landsAddr(i))
			if slices.Contains(down, i) {
				fmt.Fprintf(&b, "---\n{kind: Override, tenant: shop, name: %s, spec: {pool: %[1]s, state: down, reason: a test}}\n", pool)
			}
		}
		fmt.Fprintf(&b, "---\n{kind: Service, tenant: shop, name: %s, spec: {host: %s, rules: [{pools: [{nearest: [%s], band: 0%%}]}]}}\n",
			roundName(round), steeredHost(roundName(round)), strings.Join(pools, ", "))
	}
	return writeFile(t, t.TempDir(), "nearest.yaml", b.String())
}

func roundName(round int) string { return fmt.Sprint("round-", round) }

// A comparer holds our centres against gdnsd's.
type comparer struct {
	t                      *testing.T
	equal, near, wrong, of int
}

// compare notes that a client at a spot gets ours where gdnsd has theirs. As far away, but for 0.5 %, is as good.
func (c *comparer) compare(what string, addr netip.Addr, at *spot, ours, theirs string) {
	c.t.Helper()
	c.of++
	if ours == theirs {
		c.equal++
		return
	}
	if at != nil {
		a, b := at.km(centreOf(ours).at), at.km(centreOf(theirs).at)
		if math.Abs(a-b) <= max(a, b)/200 {
			c.near++
			return
		}
	}
	if c.wrong++; c.wrong <= 10 {
		c.t.Errorf("%s: %s at %v: %s here, %s at gdnsd", what, addr, at, ours, theirs)
	}
}

func centreOf(name string) centre {
	return centres[slices.IndexFunc(centres, func(c centre) bool { return c.name == name })]
}

// firstUp gives the first datacenter of a list that is not down.
func firstUp(order []string, down []int) string {
	return order[slices.IndexFunc(order, func(name string) bool {
		return !slices.ContainsFunc(down, func(i int) bool { return centres[i].name == name })
	})]
}

// Nearest puts pools in the order in which gdnsd puts datacenters by the coordinates of the same database: the row that the policy makes
// of a place, what gtmd answers while pools are down, and with which scope. Clients without coordinates have them as listed, in both.
func TestGdnsdSortsByDistanceAlike(t *testing.T) {
	random := rand.New(rand.NewPCG(runSeed(t), 4))
	cities := randomCities(random, 900)
	mmdb := writeCities(t, cities)
	addrs := residents(random, cities, 2000)
	theirs := askGdnsd(t, autoConfig(t, mmdb), addrs)
	spots, located := map[netip.Addr]*spot{}, 0
	for _, addr := range addrs {
		if spots[addr] = spotOf(cities, addr); spots[addr] != nil {
			located++
		}
		if len(theirs[addr].order) < sorted {
			t.Fatalf("gdnsd has %v for %s", theirs[addr].order, addr)
		}
	}
	down := make([][]int, sorted) // in each round one more, so that one of those that gdnsd names is up
	for round := range down {
		down[round] = random.Perm(len(centres))[:round]
	}
	job := nearestJob(t, down)
	d := startGtmd(t, t.TempDir(), "--apply", job, "--geo", mmdb)

	rows, answers := comparer{t: t}, comparer{t: t}
	orderOf := ordersOf(t, job, mmdb)
	for _, addr := range addrs {
		for i, ours := range orderOf(addr) {
			rows.compare(fmt.Sprint("number ", i), addr, spots[addr], ours, theirs[addr].order[i])
		}
	}
	for round, list := range down {
		var questions []question
		for _, addr := range addrs {
			questions = append(questions, question{roundName(round), netip.PrefixFrom(addr, addr.BitLen())})
		}
		for q, answer := range askAll(t, d.dns, questions) {
			addr, ours := q.client.Addr(), centres[netip.MustParseAddr(answer).As4()[3]-1].name
			answers.compare(q.kind, addr, spots[addr], ours, firstUp(theirs[addr].order, list))
		}
	}
	t.Logf("%d addresses, %d with coordinates; in rows %d equal, %d as near, %d wrong; in answers %d, %d and %d",
		len(addrs), located, rows.equal, rows.near, rows.wrong, answers.equal, answers.near, answers.wrong)
	if located < len(addrs)/2 || located > len(addrs)*3/4 {
		t.Errorf("%d of %d addresses have coordinates: that shows too little", located, len(addrs))
	}
	if (rows.near+answers.near)*100 > rows.of+answers.of {
		t.Error("more than one of a hundred are only as near")
	}
	compareScopes(t, d.dns, theirs)
}

// ordersOf gives a function that tells in which order the policy puts the centres for an address, as far as it sorts.
func ordersOf(t *testing.T, job, mmdb string) func(addr netip.Addr) []string {
	t.Helper()
	atlas, err := geo.Open(mmdb)
	if err != nil {
		t.Fatal(err)
	}
	p := policyOf(t, job, roundName(0))
	return func(addr netip.Addr) (names []string) {
		place, _ := atlas.Lookup(addr)
		row, _ := p.Row(p.Where(place, geo.Hits{}), nil)
		rows := policy.RowsOf([]policy.Row{row})
		for _, step := range rows.Orders[0].Steps[:sorted] {
			node := &rows.Steps[step]
			if node.Kind != policy.Leaf {
				t.Fatalf("%s: more than one pool is as near", addr)
			}
			names = append(names, p.Pools[node.Pool].Site)
		}
		return names
	}
}

// compareScopes asks for the scopes where all pools are up. They are gdnsd's, but where a special-purpose block lies in its network.
func compareScopes(t *testing.T, server netip.AddrPort, theirs map[netip.Addr]finding) {
	t.Helper()
	asker, other, wrong := newQuestioner(t, server), 0, 0
	for addr, found := range theirs {
		reply, err := asker.ask(steeredHost(roundName(0)), netip.PrefixFrom(addr, addr.BitLen()))
		if err != nil {
			t.Fatal(err)
		}
		scope, err := scopeOf(reply)
		if err != nil {
			t.Fatal(err)
		}
		if scope == found.scope {
			continue
		}
		other++
		if network, err := addr.Prefix(found.scope); err != nil || scope < found.scope || !overlapsAny(network, special) {
			if wrong++; wrong <= 10 {
				t.Errorf("%s: scope %d, and %d at gdnsd", addr, scope, found.scope)
			}
		}
	}
	t.Logf("of %d scopes %d are longer, beside a special-purpose block, and %d wrong", len(theirs), other-wrong, wrong)
}
