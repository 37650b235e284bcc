package alias

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/resolve"
)

// question is what a resolver is asked.
type question struct {
	host    string
	network netip.Prefix // of the clients that the answer is for; not valid: not told
	skip    int          // resolvers to pass over at first
}

// found is a good answer: addresses of at least one family.
type found struct {
	addresses []netip.Addr // sorted
	ttl       uint32       // the shortest on the way there, seconds
	refused   int          // addresses that were left out
}

// ask resolves both families. It is good if each was answered and one has addresses.
func (k *Keeper) ask(ctx context.Context, q question) (found, error) {
	var out found
	var odd string
	client := resolve.Client{Resolvers: k.cfg.Resolvers, Timeout: k.cfg.Timeout, Random: k.cfg.Random}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		m, err := client.Ask(ctx, resolve.Question{Host: q.host, Type: qtype, Network: q.network, Skip: q.skip})
		if err != nil {
			return out, fmt.Errorf("%s %s: %w", q.host, dns.TypeToString[qtype], err)
		}
		addresses, ttl := resolve.Addresses(m, q.host, qtype)
		for _, a := range addresses {
			if why := resolve.Unfit(a); why != "" {
				out.refused++
				odd = fmt.Sprintf("; %s is refused: %s", a, why)
				continue
			}
			if len(out.addresses) == 0 || ttl < out.ttl {
				out.ttl = ttl
			}
			out.addresses = append(out.addresses, a)
		}
	}
	if len(out.addresses) == 0 {
		return out, fmt.Errorf("%s has no addresses%s", q.host, odd)
	}
	slices.SortFunc(out.addresses, netip.Addr.Compare)
	out.addresses = bounded(slices.Compact(out.addresses))
	return out, nil
}

// maxAddresses bounds those of one family: so many fit into a reply by UDP.
const maxAddresses = 32

// bounded leaves out what is too much; addresses are sorted, IPv4 first.
func bounded(addresses []netip.Addr) []netip.Addr {
	split := len(addresses)
	if i := slices.IndexFunc(addresses, netip.Addr.Is6); i >= 0 {
		split = i
	}
	v4, v6 := addresses[:split], addresses[split:]
	return slices.Concat(v4[:min(len(v4), maxAddresses)], v6[:min(len(v6), maxAddresses)])
}
