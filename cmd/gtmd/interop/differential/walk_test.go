//go:build interop

package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// rcodeByWalk tells what RFC 1034, 4.3.2, RFC 4592 and RFC 6672 make of the name where a chain ends, by a walk over the text of the
// closest zone alone: whether it exists there, is made by a wildcard, or not. ok is false where the name is in none of the zones, or
// leads on.
func (c *cluster) rcodeByWalk(q question, answer []string) (rcode string, ok bool) {
	name := lastName(q, answer)
	z := c.closest(name, q.typ)
	if z == nil {
		return "", false
	}
	owners := z.owners()
	for at := key(z.origin); ; at = oneDown(at, name) { // from the apex to the name
		types, exists := owners[at]
		switch {
		case !exists:
			types, exists = owners["*."+parent(at)]
			// of delegations at a wildcard, which RFC 4592, 4.2, leaves open, gtm makes nothing
			return rcodeFor(exists && !types[dns.TypeNS]), !types[dns.TypeCNAME] || asksForCNAME(q)
		case at == name:
			return rcodeFor(true), !types[dns.TypeCNAME] || asksForCNAME(q)
		case types[dns.TypeDNAME]:
			return "", false
		case at != key(z.origin) && types[dns.TypeNS]:
			return rcodeFor(true), true // a referral
		}
	}
}

func rcodeFor(exists bool) string {
	if exists {
		return "NOERROR"
	}
	return "NXDOMAIN"
}

// asksForCNAME reports whether a CNAME record is what is asked for, and not followed (RFC 1034, 4.3.2, 3a; 3.7.1 for ANY).
func asksForCNAME(q question) bool { return q.typ == dns.TypeCNAME || q.typ == dns.TypeANY }

// lastName follows the CNAME records of an answer; of what is an answer itself, only those that a DNAME makes (RFC 6672, 3.2).
func lastName(q question, answer []string) string {
	name := key(q.name)
	for range answer {
		for _, rr := range answer {
			target, found := recordAt(rr, "cname", func(owner string) bool { return owner == name })
			if found && (!asksForCNAME(q) || renamed(name, answer)) {
				name = key(target)
				break
			}
		}
	}
	return name
}

// renamed reports whether an answer has a DNAME record above a name.
func renamed(name string, answer []string) bool {
	return slices.ContainsFunc(answer, func(rr string) bool {
		_, found := recordAt(rr, "dname", func(owner string) bool { return owner != name && dns.IsSubDomain(owner, name) })
		return found
	})
}

// recordAt gives the data of a record of class IN, if it is of that type and its owner is right.
func recordAt(rr, typ string, right func(owner string) bool) (data string, found bool) {
	head, data, found := strings.Cut(rr, "\tin\t"+typ+"\t")
	if !found {
		return "", false
	}
	owner, _, _ := strings.Cut(head, "\t")
	return data, right(key(owner))
}

// closest gives the zone that answers for a name; a DS record stands in the zone above.
func (c *cluster) closest(name string, typ uint16) (best *masterFile) {
	for _, z := range c.zones {
		apex := key(z.origin)
		if dns.IsSubDomain(apex, name) && (best == nil || dns.IsSubDomain(key(best.origin), apex)) && (typ != dns.TypeDS || apex != name) {
			best = z
		}
	}
	return best
}

// owners gives the types at every name that exists in the zone, empty non-terminals with none.
func (z *masterFile) owners() map[string]map[uint16]bool {
	at := map[string]map[uint16]bool{}
	parser := dns.NewZoneParser(strings.NewReader(z.text), z.origin, "")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		for name := key(rr.Header().Name); ; name = parent(name) {
			if at[name] == nil {
				at[name] = map[uint16]bool{}
			}
			if name == key(z.origin) {
				break
			}
		}
		at[key(rr.Header().Name)][rr.Header().Rrtype] = true
	}
	return at
}

func parent(name string) string {
	i, _ := dns.NextLabel(name, 0)
	return name[i:]
}

// oneDown gives the name one label longer than at on the way to name, which is below it.
func oneDown(at, name string) string {
	for parent(name) != at {
		name = parent(name)
	}
	return name
}
