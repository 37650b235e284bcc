package sim

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"time"
)

// Audience says who asks, and through whom.
type Audience struct {
	Countries []Country
	PerSecond float64 // sessions that begin in a second, on the average of a day
	Networks  int     // client networks, shared out to the countries by size: as long as resolvers send them, 24 or 56 bits
	V6        float64 // which part of them is of IPv6
	Resolvers int     // of ISPs, shared out likewise; they send no client subnet
	Public    float64 // which part of the networks uses a public resolver that sends the client's subnet
	Nodes     int     // of the public resolver, on each continent
	// Stretch is the part of the resolvers that keep each answer for Least at least.
	Stretch float64
	Least   time.Duration
}

// client is a network of clients, which all use one resolver. It is small: there are many, and each session reads one.
type client struct {
	bits     uint64 // of the subnet
	resolver uint32
	length   uint8
	v4       bool
	last     uint16 // the endpoint of its last session; none
	since    int32  // when that began: the second
	memo     memo
}

func (c *client) subnet() network { return network{c.bits, c.length, c.v4} }

// resolver asks gtm for its clients, and keeps the answers.
type resolver struct {
	one   answer // of one that sends no client subnet
	many  *cache // of one that does; else nil
	addr  network
	least time.Duration // how long it keeps an answer at least
}

// crowd is everybody who asks.
type crowd struct {
	clients   []client
	first     []int // of each country's clients; one more than there are countries
	resolvers []resolver
}

// newCrowd draws networks and resolvers of the countries.
func newCrowd(a Audience, land map[string]*country, random *rand.Rand) (*crowd, error) {
	c := &crowd{}
	nodes, err := c.addNodes(a, land, random)
	if err != nil {
		return nil, err
	}
	total := 0.0
	for _, country := range a.Countries {
		total += country.Size
	}
	for _, country := range a.Countries {
		own := land[country.Code]
		if own == nil || len(own.v4.starts) == 0 || len(nodes[own.continent]) == 0 {
			return nil, fmt.Errorf("the geographic database knows no network of country %q", country.Code)
		}
		share := country.Size / total
		isp := len(c.resolvers)
		for range max(1, int(share*float64(a.Resolvers))) {
			c.addResolver(a, own.v4.draw(random), false, random)
		}
		c.first = append(c.first, len(c.clients))
		for range max(1, int(share*float64(a.Networks))) {
			net := own.v4.draw(random)
			if random.Float64() < a.V6 && len(own.v6.starts) > 0 {
				net = own.v6.draw(random)
			}
			cl := client{bits: net.bits, length: net.length, v4: net.v4, last: none}
			cl.resolver = uint32(isp + random.IntN(len(c.resolvers)-isp))
			if random.Float64() < a.Public {
				near := nodes[own.continent]
				cl.resolver = uint32(near[random.IntN(len(near))])
			}
			c.clients = append(c.clients, cl)
		}
	}
	c.first = append(c.first, len(c.clients))
	return c, nil
}

// addNodes adds the public resolver's nodes, each in a country of its continent, and gives them by continent.
func (c *crowd) addNodes(a Audience, land map[string]*country, random *rand.Rand) (map[string][]int, error) {
	nodes := map[string][]int{}
	if a.Nodes < 1 {
		return nil, fmt.Errorf("a public resolver with %d nodes", a.Nodes)
	}
	for _, continent := range []string{"AF", "AS", "EU", "NA", "OC", "SA"} {
		var countries []*country
		for _, of := range a.Countries {
			if own := land[of.Code]; own != nil && own.continent == continent {
				countries = append(countries, own)
			}
		}
		for range a.Nodes {
			if len(countries) > 0 {
				nodes[continent] = append(nodes[continent], len(c.resolvers))
				c.addResolver(a, countries[random.IntN(len(countries))].v4.draw(random), true, random)
			}
		}
	}
	return nodes, nil
}

// addResolver adds one with the first address of a network of IPv4.
func (c *crowd) addResolver(a Audience, near network, ecs bool, random *rand.Rand) {
	r := resolver{addr: network{near.bits | 1<<32, 32, true}}
	if ecs {
		r.many = &cache{}
	}
	if random.Float64() < a.Stretch {
		r.least = a.Least
	}
	c.resolvers = append(c.resolvers, r)
}

// countryOf gives a client's country.
func (c *crowd) countryOf(client uint32) int {
	return sort.SearchInts(c.first, int(client)+1) - 1
}

// draw gives a client of a country.
func (c *crowd) draw(country int, random *rand.Rand) uint32 {
	return uint32(c.first[country] + random.IntN(c.first[country+1]-c.first[country]))
}

// How much of a client's address resolvers send (RFC 7871, 11.1).
const (
	subnetBits4 = 24
	subnetBits6 = 56
)
