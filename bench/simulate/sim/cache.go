package sim

import (
	"math/bits"
	"time"

	"github.com/gti/gtm/pkg/table"
)

// answer is what a resolver keeps: the endpoint that was named, and until when it may be told.
type answer struct {
	expires  time.Duration
	uses     uint32 // how often it was told
	endpoint uint16
}

// network is a prefix of up to 64 bits, left-aligned.
type network struct {
	bits   uint64
	length uint8
	v4     bool
}

// within gives the network of a length, not above n's own, around n.
func (n network) within(length uint8) network {
	return network{n.bits &^ (^uint64(0) >> length), length, n.v4}
}

func (n network) net() table.Net { return table.Net{Hi: n.bits, Bits: n.length, V4: n.v4} }

// cache is what a resolver that sends client subnets keeps of one name (RFC 7871, 7.3): answers by the network that each is for. The zero
// value is empty.
type cache struct {
	at      map[network]int32 // of answers
	answers []answer          // also those whose time is over: what comes in their place is for the same network, mostly
	lengths [2]uint64         // by family: bit n tells that there are answers for networks of length n
}

// memo is what was found for a client: its longest network of which there is an answer, old or not. It is good as long as no network
// comes to the cache.
type memo struct {
	networks int32 // there were so many then; 0: nothing was found yet
	at       int32
}

// find gives the answer for a client's subnet: of those whose time is not over, that of the longest network around it; nil: there is none.
func (c *cache) find(subnet network, m *memo, now time.Duration) *answer {
	if m.networks > 0 && m.networks == int32(len(c.answers)) && c.answers[m.at].expires > now {
		return &c.answers[m.at]
	}
	m.networks = 0
	for lengths := c.lengths[subnet.family()] & (1<<(subnet.length+1) - 1); lengths != 0; {
		length := uint8(bits.Len64(lengths) - 1)
		lengths &^= 1 << length
		at, ok := c.at[subnet.within(length)]
		if !ok {
			continue
		}
		if m.networks == 0 {
			*m = memo{int32(len(c.answers)), at}
		}
		if a := &c.answers[at]; a.expires > now {
			return a
		}
	}
	return nil
}

// keep keeps an answer to a query with that subnet, for the network of its scope, or for all of the subnet where the scope is longer:
// resolvers here send as much as they ever keep (RFC 7871, 7.3.1).
func (c *cache) keep(subnet network, scope uint8, a answer) *answer {
	of := subnet.within(min(scope, subnet.length))
	if at, ok := c.at[of]; ok {
		c.answers[at] = a
		return &c.answers[at]
	}
	if c.at == nil {
		c.at = map[network]int32{}
	}
	c.at[of] = int32(len(c.answers))
	c.answers = append(c.answers, a)
	c.lengths[of.family()] |= 1 << of.length
	return &c.answers[len(c.answers)-1]
}

func (n network) family() int {
	if n.v4 {
		return 0
	}
	return 1
}
