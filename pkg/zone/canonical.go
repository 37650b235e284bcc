package zone

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/dnswire"
)

// Values of a SOA that gtm makes itself. Refresh and the like matter only to secondaries.
const (
	soaTTL     = 3600
	soaRefresh = 7200
	soaRetry   = 1800
	soaExpire  = 1209600
	soaMinimum = 60
	nsTTL      = 86400
)

// record is one record and what is needed to sort it and to speak of it.
type record struct {
	rr     dns.RR
	labels []string // right to left, lower case
}

// Defaults make the NS and SOA records of a zone whose content has none.
type Defaults struct {
	Nameservers []string
	Contact     string // as in hostmaster.example.com. or hostmaster@example.com
}

// Canonical checks the content of a master file and gives one record a line: absolute lower-case owner, TTL,
// class, type, RDATA, separated by tabs or single spaces; SOA first, the rest sorted. file names the content in
// messages. NS and SOA are made from d where the content has none; a SOA serial of 0 stands for the generation.
//
// The error is a Problems with everything that was found; warnings do not hinder.
func Canonical(origin, file, content string, d Defaults) (text string, warnings Problems, err error) {
	origin = dns.CanonicalName(origin)
	if file == "" {
		file = origin
	}
	rrs, problems := read(origin, file, content)
	if len(problems) > 0 {
		return "", nil, problems // what is missing cannot be told from what was not read
	}
	if rrs, problems = complete(origin, file, rrs, d); len(problems) > 0 {
		return "", nil, problems
	}
	sortRecords(rrs)
	errs, warnings := check(origin, file, rrs)
	if len(errs) > 0 {
		return "", warnings, errs
	}
	var b strings.Builder
	last := ""
	for _, r := range rrs {
		if line := r.rr.String(); line != last { // a record that is there twice counts once (RFC 2181, 5)
			b.WriteString(line)
			b.WriteByte('\n')
			last = line
		}
	}
	return b.String(), warnings, nil
}

// read parses a master file. $INCLUDE is refused: content travels without its folder.
func read(origin, file, content string) ([]record, Problems) {
	var rrs []record
	p := dns.NewZoneParser(strings.NewReader(content), origin, file)
	p.SetDefaultTTL(soaTTL)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		h := rr.Header()
		h.Name = oneWriting(h.Name)
		labels := dns.SplitDomainName(h.Name)
		slices.Reverse(labels)
		rrs = append(rrs, record{rr: rr, labels: labels})
	}
	if err := p.Err(); err != nil {
		return nil, Problems{syntaxProblem(file, err)}
	}
	return rrs, nil
}

// oneWriting gives a name in lower case with as few escapes as can be: \*.a and *.a are one name.
func oneWriting(name string) string {
	wire, err := packName(name)
	if err != nil {
		return dns.CanonicalName(name) // told later
	}
	return dnswire.NameString(wire)
}

// atLine is how the parser ends its errors.
var atLine = regexp.MustCompile(` at line: (\d+):\d+$`)

// syntaxProblem takes the parser's error apart: file: dns: what: "token" at line: 4:12.
func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Text: strings.TrimPrefix(strings.TrimPrefix(err.Error(), file+": "), "dns: ")}
	if m := atLine.FindStringSubmatch(p.Text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = strings.TrimSuffix(p.Text, m[0])
	}
	return p
}

// complete adds the SOA and NS records that d declares and the content lacks.
func complete(origin, file string, rrs []record, d Defaults) ([]record, Problems) {
	has := func(t uint16) bool {
		return slices.ContainsFunc(rrs, func(r record) bool { return r.rr.Header().Rrtype == t && r.rr.Header().Name == origin })
	}
	var labels []string
	if labels = dns.SplitDomainName(origin); labels != nil {
		slices.Reverse(labels)
	}
	hdr := func(t uint16, ttl uint32) dns.RR_Header {
		return dns.RR_Header{Name: origin, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
	}
	var problems Problems
	if !has(dns.TypeNS) {
		if len(d.Nameservers) == 0 {
			problems = append(problems, Problem{File: file, Text: "zone " + origin + " has no NS record at its apex: add one, or declare spec.nameservers"})
		}
		for _, ns := range d.Nameservers {
			rrs = append(rrs, record{rr: &dns.NS{Hdr: hdr(dns.TypeNS, nsTTL), Ns: dns.CanonicalName(ns)}, labels: labels})
		}
	}
	if !has(dns.TypeSOA) {
		mname := firstNS(origin, rrs)
		if d.Contact == "" || mname == "" {
			problems = append(problems, Problem{File: file, Text: "zone " + origin + " has no SOA record: add one, or declare spec.contact and spec.nameservers"})
			return rrs, problems
		}
		rrs = append(rrs, record{labels: labels, rr: &dns.SOA{Hdr: hdr(dns.TypeSOA, soaTTL), Ns: mname, Mbox: mailbox(d.Contact),
			Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: soaMinimum}})
	}
	return rrs, problems
}

func firstNS(origin string, rrs []record) string {
	for _, r := range rrs {
		if ns, ok := r.rr.(*dns.NS); ok && ns.Hdr.Name == origin {
			return ns.Ns
		}
	}
	return ""
}

// mailbox takes an address as in host.example. or user@host.example (RFC 1035, 8).
func mailbox(contact string) string {
	if user, host, ok := strings.Cut(contact, "@"); ok {
		return strings.ReplaceAll(user, ".", `\.`) + "." + dns.CanonicalName(host)
	}
	return dns.CanonicalName(contact)
}

// check finds what makes a zone wrong (errors) or doubtful (warnings). rrs are sorted.
func check(origin, file string, rrs []record) (errs, warnings Problems) {
	fail := func(format string, args ...any) {
		errs = append(errs, Problem{File: file, Text: fmt.Sprintf(format, args...)})
	}
	types := map[string]map[uint16][]dns.RR{}
	for _, r := range rrs {
		h := r.rr.Header()
		if !dns.IsSubDomain(origin, h.Name) {
			fail("%s %s is outside the zone %s: remove it, or put it into its own zone", h.Name, dns.TypeToString[h.Rrtype], origin)
			continue
		}
		if h.Class != dns.ClassINET {
			fail("%s: class %s: only IN can be served", h.Name, dns.ClassToString[h.Class])
		}
		if types[h.Name] == nil {
			types[h.Name] = map[uint16][]dns.RR{}
		}
		types[h.Name][h.Rrtype] = append(types[h.Name][h.Rrtype], r.rr)
	}
	names := make([]string, 0, len(types))
	for n := range types {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, name := range names {
		at := types[name]
		if n := len(at[dns.TypeSOA]); n > 0 && (name != origin || distinct(at[dns.TypeSOA]) > 1) {
			fail("%s: a zone has one SOA, at its apex %s", name, origin)
		}
		if cn := at[dns.TypeCNAME]; len(cn) > 0 && (distinct(cn) > 1 || hasOther(at)) {
			fail("%s: a CNAME stands alone at its name (RFC 2181, 10.1): remove it or the other records", name)
		}
		if distinct(at[dns.TypeDNAME]) > 1 {
			fail("%s: more than one DNAME (RFC 6672, 2.4)", name)
		}
		for _, rr := range at[dns.TypeNS] {
			target := dns.CanonicalName(rr.(*dns.NS).Ns)
			if dns.IsSubDomain(origin, target) && at[dns.TypeNS] != nil && types[target] == nil && !wildcardCovers(types, origin, target) {
				warnings = append(warnings, Problem{File: file, Text: fmt.Sprintf("%s NS %s: the name server has no address in the zone: add an A or AAAA record", name, target)})
			}
		}
		warnings = append(warnings, differingTTL(file, name, at)...)
	}
	return errs, warnings
}

// hasOther tells whether a name with a CNAME holds anything that may not stand beside it.
func hasOther(at map[uint16][]dns.RR) bool {
	for t := range at {
		if t != dns.TypeCNAME && t != dns.TypeRRSIG && t != dns.TypeNSEC && t != dns.TypeKEY {
			return true
		}
	}
	return false
}

func distinct(rrs []dns.RR) int {
	seen := map[string]bool{}
	for _, rr := range rrs {
		seen[rr.String()] = true
	}
	return len(seen)
}

func wildcardCovers(types map[string]map[uint16][]dns.RR, origin, name string) bool {
	for name != origin && name != "." {
		i, end := dns.NextLabel(name, 0)
		if end {
			return false
		}
		name = name[i:]
		if types["*."+name] != nil {
			return true
		}
	}
	return false
}

func differingTTL(file, name string, at map[uint16][]dns.RR) (warnings Problems) {
	keys := make([]uint16, 0, len(at))
	for t := range at {
		keys = append(keys, t)
	}
	slices.Sort(keys)
	for _, t := range keys {
		for _, rr := range at[t][1:] {
			if rr.Header().Ttl != at[t][0].Header().Ttl {
				warnings = append(warnings, Problem{File: file, Text: fmt.Sprintf("%s %s: records of one set have different TTLs; the lowest is served (RFC 2181, 5.2)", name, dns.TypeToString[t])})
				break
			}
		}
	}
	return warnings
}
