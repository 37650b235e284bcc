package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/table"
)

// country is what a geographic database knows of one.
type country struct {
	continent string
	v4, v6    stretches
}

// stretches are networks of one place in order, of which client networks can be drawn.
type stretches struct {
	v4     bool
	starts []uint64 // their first addresses, left-aligned
	sums   []uint64 // how many client networks there are up to each
}

func (s *stretches) add(start uint64, count uint64) {
	if n := len(s.sums); n > 0 {
		count += s.sums[n-1]
	}
	s.starts, s.sums = append(s.starts, start), append(s.sums, count)
}

// draw gives one of the client networks; all are as likely.
func (s *stretches) draw(random *rand.Rand) network {
	length := uint8(subnetBits6)
	if s.v4 {
		length = subnetBits4
	}
	n := random.Uint64N(s.sums[len(s.sums)-1])
	i := sort.Search(len(s.sums), func(i int) bool { return s.sums[i] > n })
	if i > 0 {
		n -= s.sums[i-1]
	}
	return network{s.starts[i] + n<<(64-length), length, s.v4}
}

// Land is a geographic database with its networks by country. It is immutable.
type Land struct {
	atlas     *geo.Atlas
	countries map[string]*country
}

// Survey goes through the networks of a database, which takes a second. Those that are smaller than a client network are left out.
func Survey(atlas *geo.Atlas) *Land {
	land := map[string]*country{}
	for _, addr := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		for addr.IsValid() {
			place, within := atlas.Lookup(addr)
			n := table.NetOf(within.Addr(), uint8(within.Bits()))
			own := land[place.Country]
			if own == nil {
				own = &country{continent: place.Continent, v4: stretches{v4: true}}
				land[place.Country] = own
			}
			if n.V4 && n.Bits <= subnetBits4 {
				own.v4.add(n.Hi, 1<<(subnetBits4-n.Bits))
			} else if !n.V4 && n.Bits <= subnetBits6 {
				own.v6.add(n.Hi, 1<<(subnetBits6-n.Bits))
			}
			addr = behind(within)
		}
	}
	return &Land{atlas, land}
}

// behind gives the first address behind a network; none is valid behind the last.
func behind(p netip.Prefix) netip.Addr {
	last := p.Addr().AsSlice()
	if len(last) == 4 {
		binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)|uint32(1<<(32-p.Bits())-1))
	} else {
		hi, lo := binary.BigEndian.Uint64(last), binary.BigEndian.Uint64(last[8:])
		if p.Bits() < 64 {
			hi, lo = hi|^uint64(0)>>p.Bits(), ^uint64(0)
		} else {
			lo |= 1<<(128-p.Bits()) - 1
		}
		last = slices.Concat(binary.BigEndian.AppendUint64(nil, hi), binary.BigEndian.AppendUint64(nil, lo))
	}
	addr, _ := netip.AddrFromSlice(last)
	return addr.Next()
}
