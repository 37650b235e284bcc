//go:build interop

package differential

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// explained reports whether a difference is meant: docs/decisions/0032-static-answers.md says why.
func explained(c testCase, what string, ours, knot, nsd *reply) bool {
	if ours == nil || knot == nil || nsd == nil {
		return false
	}
	switch {
	case what == "header" && c.typ == typeNXNAME:
		return strings.HasPrefix(ours.head, "FORMERR") // RFC 9824, 3.5
	case (what == "answer" || what == "header") && longChain(ours, knot, nsd):
		return true // NSD may come to a name that is too long
	case what == "answer" && c.typ == dns.TypeANY && (minimalAny(ours, knot) || minimalAny(ours, nsd)):
		return true
	case what == "header" && c.class == dns.ClassANY:
		return noOneSpeaksForAllClasses(ours, nsd) || noOneSpeaksForAllClasses(ours, knot)
	case c.typ == dns.TypeDS && (what == "authority" || what == "additional") && len(ours.sections[0]) > 0:
		return true // at the end of a chain, the closest zone above answers for DS
	case what == "additional":
		return followedOn(ours, knot, nsd) || aliasTargets(c.question, ours, knot)
	case c.odd:
		return disagree(what, knot, nsd) || what == "header" && asByWalk(c, ours) || what == "answer" && part(knot, ours) ||
			what == "authority" && asByWalk(c, ours) && soaByWalk(c, ours)
	}
	return false
}

// disagree reports whether knotd and NSD themselves differ in a part.
func disagree(what string, knot, nsd *reply) bool {
	if i := slices.Index(sectionNames[:], what); i >= 0 {
		return !slices.Equal(knot.sections[i], nsd.sections[i])
	}
	return knot.head != nsd.head
}

// asByWalk reports whether a slow walk over the zones' texts finds the same RCODE. It is the judge where knotd, which stays in the zone
// that a chain begins in, and NSD, which takes names of one zone for existing in another, come to the same RCODE each in its own way.
func asByWalk(c testCase, ours *reply) bool {
	rcode, ok := c.rcodeByWalk(c.question, ours.sections[0])
	return ok && strings.HasPrefix(ours.head, rcode+" ")
}

// soaByWalk reports whether the authority section is the SOA record of the zone that answers for the name where the chain ends. NSD, in
// which a name of another zone keeps a wildcard from standing for it, may not have followed the chain at all, and knotd never does.
func soaByWalk(c testCase, ours *reply) bool {
	z := c.closest(lastName(c.question, ours.sections[0]), c.typ)
	return z != nil && len(ours.sections[1]) == 1 && strings.HasPrefix(ours.sections[1][0], key(z.origin)+"\t") &&
		strings.Contains(ours.sections[1][0], "\tin\tsoa\t")
}

// typeNXNAME is for bitmaps alone.
const typeNXNAME = 128

// minimalAny: where others give all sets of a name, gtm gives one HINFO (RFC 8482, 4.2).
func minimalAny(ours, theirs *reply) bool {
	return len(theirs.sections[0]) > 0 &&
		slices.ContainsFunc(ours.sections[0], func(rr string) bool { return strings.Contains(rr, "RFC8482") })
}

// noOneSpeaksForAllClasses: an answer of class ANY is never authoritative. With NSD some are, with knotd all; and for
// this class NSD answers NOERROR where a name that does not exist is mentioned somewhere.
func noOneSpeaksForAllClasses(ours, theirs *reply) bool {
	plain := strings.NewReplacer("aa=true", "aa=false", "NXDOMAIN", "NOERROR")
	return plain.Replace(ours.head) == plain.Replace(theirs.head)
}

// aliasTargets: gtm adds the addresses of every target of an SVCB set that it holds, and the sets of other targets
// (RFC 9460, 4.1), and where a set holds aliases, those of the aliases alone, since clients must ignore the rest (2.4.1).
// knotd adds some of either kind, those made by a wildcard under the wildcard's own name.
func aliasTargets(q question, ours, knot *reply) bool {
	aliases := targetsOfAliases(ours)
	return (q.typ == dns.TypeSVCB || q.typ == dns.TypeHTTPS) && !slices.ContainsFunc(knot.sections[2], func(rr string) bool {
		owner, _, _ := strings.Cut(rr, "\t")
		_, rest, _ := strings.Cut(rr, "\tin\t")
		ignored := len(aliases) > 0 && !slices.Contains(aliases, owner)
		return strings.HasPrefix(rest, "a") && !ignored && !strings.HasPrefix(rr, "*.") && !slices.Contains(ours.sections[2], rr)
	})
}

// targetsOfAliases gives the targets of the records of an answer that are in alias form (RFC 9460, 2.4.2).
func targetsOfAliases(r *reply) (targets []string) {
	for _, rr := range r.sections[0] {
		for _, form := range []string{"\tin\tsvcb\t0 ", "\tin\thttps\t0 "} {
			if _, target, ok := strings.Cut(rr, form); ok {
				targets = append(targets, target)
			}
		}
	}
	return targets
}

// followedOn: NSD and gtm follow a CNAME record into another zone; then knotd, which is the one to compare additional
// records with, does not have the answer or the referral that they go with.
func followedOn(ours, knot, nsd *reply) bool {
	if !slices.Equal(ours.sections[0], nsd.sections[0]) || !part(knot, ours) {
		return false
	}
	referred := len(ours.sections[1]) > 0 && slices.Equal(ours.sections[1], nsd.sections[1])
	return len(knot.sections[0]) < len(ours.sections[0]) || referred && len(knot.sections[1]) == 0
}

// longChain: each server follows a chain as far as it likes; gtm follows nine CNAME records. What one has is
// a part of what the other has.
func longChain(ours, knot, nsd *reply) bool {
	cnames := 0
	for _, rr := range ours.sections[0] {
		if strings.Contains(rr, "\tcname\t") {
			cnames++
		}
	}
	return cnames >= 6 && (part(knot, ours) || part(nsd, ours) || part(ours, nsd))
}

func part(of, whole *reply) bool {
	return !slices.ContainsFunc(of.sections[0], func(rr string) bool { return !slices.Contains(whole.sections[0], rr) })
}
