package health

import (
	"fmt"
	"strings"
)

// Vantage is what is known of a vantage beside its sights.
type Vantage struct {
	// Region is where it says that it is, as in EU-DE. Empty: nobody knows, and it counts for no region.
	Region string
	// Network names what fails together with it: a provider, an ASN. Empty: nobody knows, and it may be anyone's.
	Network string
	// Sees is how many endpoints it sees up now, of all that it checks, whoever's they are. What signals say it does not see.
	Sees int
}

// Within reports whether a region lies in a place: EU-DE does in EU and in EU-DE.
func Within(region, place string) bool {
	return region == place || strings.HasPrefix(region, place+"-")
}

// agreed reports whether enough of the vantages are of each region that is asked for. (R9)
func (c *Case) agreed(vantages []string) bool {
	for place, needed := range c.Agree {
		for _, v := range vantages {
			if Within(c.About[v].Region, place) {
				needed--
			}
		}
		if needed > 0 {
			return false
		}
	}
	return true
}

// proves notes what speaks against a failure, and reports whether nothing does.
func (v *Verdict) proves(endpoint, doubt string) bool {
	if doubt == "" {
		return true
	}
	if v.Doubts == nil {
		v.Doubts = map[string]string{}
	}
	v.Doubts[endpoint] = doubt
	return false
}

// SignalAlone is why a vote for down is not proven where no prober saw anything.
const SignalAlone = "a signal alone says so"

// proof tells why a vote for down may be a broken observer's; "": it is proven. (R10)
func (c *Case) proof(p *poll) (doubt string) {
	witnesses, network, apart, saw := 0, "", false, false
	for i, v := range p.downBy {
		about := c.About[v]
		saw = saw || p.sawDown[i]
		if about.Sees == 0 || !p.sawDown[i] {
			continue
		}
		witnesses++
		apart = apart || network != "" && about.Network != "" && about.Network != network
		if about.Network != "" {
			network = about.Network
		}
	}
	switch {
	case witnesses >= p.quorum && apart:
		return ""
	case !saw:
		return SignalAlone
	case len(p.downBy) == 1:
		return p.downBy[0] + " alone says so"
	case witnesses < p.quorum:
		return fmt.Sprintf("%d of those who say so see anything up", witnesses)
	case network == "":
		return "nobody knows the networks of those who say so"
	}
	return "no two who say so are known to be of different networks"
}
