package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
)

// mostTargets bounds the SRV records of one name that are followed: each costs a question in each family.
const mostTargets = 32

// lookUp asks for a name.
func (r *run) lookUp(ctx context.Context) (o outcome) {
	resolvers := r.f.cfg.Resolvers
	own, err := r.source.ResolverAddr()
	if err == nil && own.IsValid() {
		resolvers = []netip.AddrPort{own}
		if err := r.f.guard.Permit(own, r.f.lent(r.id.Tenant)); err != nil {
			return outcome{err: &tellable{"its resolver is not one that control asks for tenants (gtmd --discover-networks)", err}}
		}
	}
	l := lookup{ctx: ctx, client: r.f.client(resolvers), source: r.source, allowed: r.f.cfg.Networks, lent: r.f.lent(r.id.Tenant),
		found: map[netip.Addr]*spec.FoundEndpoint{}, ttl: longestTTL}
	if r.source.SRV != "" {
		err = l.servers(canonical(r.source.SRV))
	} else {
		err = l.addresses(canonical(r.source.DNS), nil)
	}
	return l.outcome(err)
}

func canonical(name string) string {
	c, err := spec.CanonicalName(name)
	if err != nil {
		return name // it was checked
	}
	return c
}

// lookup is one look at a name.
type lookup struct {
	ctx     context.Context
	client  *resolve.Client
	source  *spec.Source
	allowed []netip.Prefix
	lent    []netip.Prefix
	found   map[netip.Addr]*spec.FoundEndpoint
	refused map[string]int      // addresses that clients are not sent to, by what they are
	gone    bool                // the source's own name does not exist
	absent  int                 // SRV records whose target does not
	ports   map[netip.Addr]bool // addresses that SRV records have with several ports
	ttl     time.Duration
}

// ask says of what fails what it is about.
func (l *lookup) ask(name, typ string, qtype uint16) (m *resolve.Message, err error) {
	m, err = l.client.Ask(l.ctx, resolve.Question{Host: name, Type: qtype})
	if err != nil {
		l.gone = errors.Is(err, resolve.ErrNoHost) && (qtype == dnswire.TypeSRV || l.source.DNS != "")
		return nil, fmt.Errorf("%s %s: %w", name, typ, err)
	}
	return m, nil
}

// least keeps the shortest TTL.
func (l *lookup) least(seconds uint32) { l.ttl = min(l.ttl, time.Duration(seconds)*time.Second) }

// addresses takes those of a host; of nil: without a port and a weight.
func (l *lookup) addresses(host string, of *resolve.Server) error {
	for _, family := range l.source.Families {
		typ, qtype := "A", uint16(dnswire.TypeA)
		if family == spec.FamilyIPv6 {
			typ, qtype = "AAAA", dnswire.TypeAAAA
		}
		m, err := l.ask(host, typ, qtype)
		if err != nil {
			return err
		}
		addresses, ttl := resolve.Addresses(m, host, qtype)
		if len(addresses) > 0 {
			l.least(ttl)
		}
		for _, a := range addresses {
			if what := l.refusal(a); what == "" {
				l.add(a, of)
			} else if l.refused == nil {
				l.refused = map[string]int{what: 1}
			} else {
				l.refused[what]++
			}
		}
	}
	return nil
}

// refusal says what an address is to which clients are not sent since a name says so: others chose it.
func (l *lookup) refusal(a netip.Addr) string {
	if a.Is4In6() {
		return "IPv4 in IPv6 form"
	}
	for _, part := range spec.Embedded(a) {
		if what := spec.Unreachable(part, l.allowed, l.lent); what != "" {
			return what
		}
	}
	return ""
}

func (l *lookup) add(a netip.Addr, of *resolve.Server) {
	e := l.found[a]
	if e == nil {
		e = &spec.FoundEndpoint{Address: a}
		l.found[a] = e
		if of != nil {
			e.Port, e.Weight = of.Port, new(int)
		}
	}
	if of != nil && of.Port != e.Port {
		if l.ports == nil {
			l.ports = map[netip.Addr]bool{}
		}
		l.ports[a] = true
	}
	if of != nil { // weight 0 is "a very small chance" (RFC 2782), and not none
		*e.Weight = min(*e.Weight+max(1, int(of.Weight)), 65535)
	}
}

// servers takes the hosts of the SRV records that have the lowest priority.
func (l *lookup) servers(name string) error {
	m, err := l.ask(name, "SRV", dnswire.TypeSRV)
	if err != nil {
		return err
	}
	all, ttl := resolve.Servers(m, name)
	all = slices.DeleteFunc(all, func(s resolve.Server) bool { return s.Target == "." }) // "decidedly not available"
	if len(all) == 0 {
		return nil
	}
	l.least(ttl)
	slices.SortFunc(all, func(a, b resolve.Server) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.Target, b.Target), cmp.Compare(a.Port, b.Port))
	})
	all = slices.DeleteFunc(all, func(s resolve.Server) bool { return s.Priority != all[0].Priority })
	if len(all) > mostTargets {
		return fmt.Errorf("%s SRV: it has %d records, more than the %d that are followed", name, len(all), mostTargets)
	}
	for i := range all {
		s := &all[i]
		host, err := spec.CanonicalName(s.Target)
		if err != nil {
			return fmt.Errorf("%s SRV: its target %.80q %w", name, s.Target, err)
		}
		switch err := l.addresses(host, s); {
		case errors.Is(err, resolve.ErrNoHost): // the others serve
			l.absent++
		case err != nil:
			return err
		}
	}
	return nil
}

func (l *lookup) outcome(err error) outcome {
	o := outcome{notes: l.notes(), ttl: l.ttl}
	switch {
	case err != nil:
		o.err, o.empty = err, l.gone
	case len(l.found) == 0 && len(l.refused) > 0:
		o.err = &tellable{text: "it leads to nothing that clients are sent to: " + o.notes}
	case len(l.found) == 0:
		o.err, o.empty = errors.New("it has no addresses"), true
	case len(l.found) > l.source.Most:
		o.err = fmt.Errorf("it has %d addresses, more than the %d of spec.discover[].most: none of them is taken", len(l.found),
			l.source.Most)
	}
	if o.err != nil {
		o.ttl = 0
		return o
	}
	for _, a := range slices.SortedFunc(maps.Keys(l.found), netip.Addr.Compare) {
		o.list = append(o.list, *l.found[a])
	}
	return o
}

// notes tells what was refused, but not where it leads: that may be an inner name server's word.
func (l *lookup) notes() string {
	var words []string
	for _, what := range slices.Sorted(maps.Keys(l.refused)) {
		words = append(words, fmt.Sprintf("%d %s", l.refused[what], what))
	}
	var all []string
	if len(words) > 0 {
		all = append(all, "refused "+strings.Join(words, ", ")+" (gtmd --discover-networks opens networks)")
	}
	if l.absent > 0 {
		all = append(all, fmt.Sprintf("the targets of %d SRV records do not exist", l.absent))
	}
	if n := len(l.ports); n > 0 {
		all = append(all, fmt.Sprintf("%d of its addresses have several ports, of which one is checked", n))
	}
	return strings.Join(all, "; ")
}

// lookFault is an error of a question in words for tenants.
func lookFault(err error) string {
	var at *resolve.AtError
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	question, _, _ := strings.Cut(err.Error(), ": ")
	switch {
	case !errors.As(err, &at):
		return err.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return question + ": no resolver answered in time"
	case errors.As(err, &op):
		return question + ": " + op.Op + ": " + strings.TrimPrefix(op.Err.Error(), op.Op+": ") // the system's call may say it too
	}
	return question + ": " + at.Err.Error()
}
