package geo

import (
	"net/netip"
	"slices"
	"strings"
)

// Sample is a network that stands for a place.
type Sample struct {
	Place   Place // a continent, or a country with its continent
	Network netip.Prefix
}

// A sample is as long as the client subnets that resolvers send (RFC 7871, 11.1), where its place is that wide.
const (
	sampleBits4 = 24
	sampleBits6 = 48
)

// Samples gives a network for each continent, or for each country of ISO 3166-1, that the atlas knows networks of: from the middle
// of the longest stretch of IPv4 addresses there, or of IPv6 addresses where there are none. Sorted by place.
func (a *Atlas) Samples(countries bool) []Sample {
	best := map[Place]stretch{}
	for _, r := range []*runs{a.v4.unpack(), a.v6.unpack()} {
		found := map[Place]stretch{}
		for i := range r.id {
			where, ok := region(a.places[r.id[i]], countries)
			if _, has := best[where]; !ok || has {
				continue
			}
			if s := stretchOf(r, i); s.length > found[where].length && !isSpecial(s.middle) {
				found[where] = s
			}
		}
		for where, s := range found {
			best[where] = s
		}
	}
	out := make([]Sample, 0, len(best))
	for where, s := range best {
		out = append(out, Sample{where, s.network})
	}
	slices.SortFunc(out, func(a, b Sample) int { return strings.Compare(a.Place.String(), b.Place.String()) })
	return out
}

// region gives the continent, or the country as ParsePlace reads it, that p lies in.
func region(p Place, country bool) (Place, bool) {
	if !country {
		return Place{Continent: p.Continent}, p.Continent != ""
	}
	continent := continentOf[p.Country]
	return Place{Continent: continent, Country: p.Country}, continent != ""
}

// stretch is a run as a sample would be taken from it.
type stretch struct {
	length  uint64 // in addresses, or for IPv6 in networks of 64 bits; at least 1
	middle  netip.Addr
	network netip.Prefix
}

func stretchOf(r *runs, i int) stretch {
	v4, start := r.lo == nil, r.start(i)
	end := ^uint64(0) // IPv4 addresses fill the upper half of hi
	if i+1 < r.len() {
		end = r.start(i + 1).hi
	}
	length := end - start.hi
	x := start
	if length > 1 {
		x = u128{hi: start.hi + length/2}
	}
	bits := sampleBits6
	if v4 {
		x.hi &^= 1<<32 - 1
		if length >>= 32; i+1 == r.len() {
			length++
		}
		bits = sampleBits4
	}
	middle := x.addr(v4)
	network, _ := middle.Prefix(max(bits, r.scope(i, x))) // of a valid address
	return stretch{max(length, 1), middle, network}
}

func isSpecial(a netip.Addr) bool {
	return slices.ContainsFunc(specialBlocks, func(b netip.Prefix) bool { return b.Contains(a) })
}
