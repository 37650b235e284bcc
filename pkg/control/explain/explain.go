// Package explain answers the question what a client gets, and why, out of a view: at an edge the one that it serves, at control one of the
// past.
package explain

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// Error is why there is no explanation.
type Error struct {
	Code int // of HTTP
	Text string
}

func (e *Error) Error() string { return e.Text }

// Of tells the decision of a view for a host and a client, given by the parameters host, subnet, resolver and type; with count, also what
// so many decisions come to. by is whose view it is, as in "edge fra1", and now is in Unix seconds.
func Of(v *table.View, by string, now uint32, param func(string) string) (*api.Explanation, *Error) {
	bad := func(err error) (*api.Explanation, *Error) { return nil, &Error{http.StatusBadRequest, err.Error()} }
	client, err := clientOf(param("subnet"), param("resolver"))
	if err != nil {
		return bad(err)
	}
	draws, err := drawsOf(param("count"))
	if err != nil {
		return bad(err)
	}
	host := param("host")
	if host == "" {
		return bad(fmt.Errorf("no host is given: ask for one, as in /edge/explain?host=www.example.com&subnet=81.2.69.0/24"))
	}
	s := v.FindService(host)
	if s == nil {
		return nil, &Error{http.StatusNotFound,
			fmt.Sprintf("no service stands at %q on this edge: see gtmctl get services for those that there are", host)}
	}
	f, err := familyOf(s, param("type"))
	if err != nil {
		return bad(err)
	}
	client.Label, client.Now = s.LabelOf(host), now
	x := v.Explain(s, f, client, rand.Uint64())
	if draws > 0 {
		v.Draw(x, client, draws, rand.Uint64)
	}
	out := describe(x, by)
	if strings.HasPrefix(out.Host, "*.") {
		out.Host, out.Notes = host, append(out.Notes, x.StandsAt())
	}
	return out, nil
}

// drawsOf reads how often to draw.
func drawsOf(count string) (int, error) {
	if count == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > api.MostDraws {
		return 0, fmt.Errorf("count %q is not a number from 1 to %d", count, api.MostDraws)
	}
	return n, nil
}

// clientOf reads the client of an explanation. Without a resolver it asks as if from the subnet itself, or from loopback.
func clientOf(subnet, resolver string) (*table.Client, error) {
	c := &table.Client{}
	if subnet != "" {
		p, err := parseNetwork(subnet)
		if err != nil {
			return nil, err
		}
		c.Has = p.Bits() > 0
		c.Subnet = table.NetOf(p.Addr(), uint8(p.Bits()))
		if resolver == "" {
			resolver = p.Addr().String()
		}
	}
	if resolver == "" {
		resolver = "127.0.0.1"
	}
	a, err := netip.ParseAddr(resolver)
	if err != nil {
		return nil, fmt.Errorf("resolver %q is not an address, as in 192.0.2.53", resolver)
	}
	a = a.Unmap()
	c.Resolver = table.NetOf(a, uint8(a.BitLen()))
	return c, nil
}

// parseNetwork reads a network or an address, which stands for itself alone. IPv4 in its IPv6-mapped form is IPv4.
func parseNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || strings.Contains(a.Zone(), "/") { // fe80::1%eth0/64, whose zone were eth0/64
			return p, fmt.Errorf("subnet %q is neither a network, as in 81.2.69.0/24, nor an address", text)
		}
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	const mapped = 96 // bits before the IPv4 address
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p, nil
}

// familyOf gives the family that a record type asks for; without one, the first that the service has.
func familyOf(s *table.Service, typ string) (table.Family, error) {
	var has []string
	for _, f := range s.Families() {
		name := dnswire.TypeString(f.Type())
		if typ == "" || strings.EqualFold(typ, name) {
			return f, nil
		}
		has = append(has, name)
	}
	return 0, fmt.Errorf("type %q does not exist at %s: it has %s", typ, s.Spec.Host, strings.Join(has, ", "))
}
