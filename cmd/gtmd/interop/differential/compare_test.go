//go:build interop

package differential

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// reply is a message in a form that can be compared: records sorted, names in lower case, no OPT.
type reply struct {
	head     string // RCODE and AA
	sections [3][]string
	echo     bool // the question came back as it was asked
}

var sectionNames = [3]string{"answer", "authority", "additional"}

func (r *reply) String() string {
	if r == nil {
		return "  silence\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  %s\n", r.head)
	for i, s := range r.sections {
		for _, rr := range s {
			fmt.Fprintf(&b, "  %-10s %s\n", sectionNames[i], rr)
		}
	}
	return b.String()
}

// readReply reads a reply to a query; nil is silence.
func readReply(query, wire []byte) (*reply, error) {
	if wire == nil {
		return nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return nil, fmt.Errorf("%w: %x", err, wire)
	}
	r := &reply{head: fmt.Sprintf("%s aa=%v tc=%v ra=%v ad=%v rd=%v", dns.RcodeToString[m.Rcode], m.Authoritative, m.Truncated,
		m.RecursionAvailable, m.AuthenticatedData, m.RecursionDesired)}
	_, end, err := dns.UnpackDomainName(query, 12)
	if err != nil {
		return nil, err
	}
	r.echo = len(m.Question) == 1 && len(wire) >= end+4 && bytes.Equal(wire[12:end+4], query[12:end+4])
	for i, rrs := range [3][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				r.sections[i] = append(r.sections[i], recordText(rr))
			}
		}
		slices.Sort(r.sections[i])
	}
	// knotd adds the set itself where an SVCB record's target is its owner
	r.sections[2] = slices.DeleteFunc(r.sections[2], func(rr string) bool { return slices.Contains(r.sections[0], rr) })
	return r, nil
}

// recordText gives a record as text, with its names, which are in any case, in lower case.
func recordText(rr dns.RR) string {
	rr.Header().Name = dns.CanonicalName(rr.Header().Name)
	if soa, ok := rr.(*dns.SOA); ok {
		soa.Serial = 0 // gtm counts on from the file's
	}
	text := rr.String()
	switch rr.(type) {
	case *dns.TXT, *dns.CAA, *dns.HINFO, *dns.URI, *dns.RFC3597:
		return text
	}
	return strings.ToLower(text)
}

// compact leaves out what is there twice: in CNAME loops, knotd and nsd repeat themselves, which gtm must not.
func (r *reply) compact() *reply {
	if r == nil {
		return nil
	}
	out := *r
	for i := range out.sections {
		out.sections[i] = slices.Compact(slices.Clone(r.sections[i]))
	}
	return &out
}

// difference tells in which part ours is neither knot's nor NSD's, or is not what both say; "" if in none.
func difference(q question, ours, knot, nsd *reply) string {
	knot, nsd = knot.compact(), nsd.compact()
	switch {
	case ours == nil || knot == nil || nsd == nil:
		if ours == nil && (knot == nil || nsd == nil) || ours != nil && (knot != nil || nsd != nil) {
			return ""
		}
		return "silence"
	case !ours.echo:
		return "question"
	case ours.head != knot.head && ours.head != nsd.head:
		return "header"
	}
	for i := range ours.sections {
		if !slices.Equal(ours.sections[i], knot.sections[i]) && !slices.Equal(ours.sections[i], nsd.sections[i]) {
			return sectionNames[i]
		}
	}
	return ""
}
