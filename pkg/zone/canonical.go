package zone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
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
	return canonical(origin, file, content, d, maxContent)
}

// canonical is Canonical with a limit of the text, in bytes.
func canonical(origin, file, content string, d Defaults, most int) (text string, warnings Problems, err error) {
	origin = oneWriting(origin)
	if file == "" {
		file = origin
	}
	rrs, problems := read(origin, file, content, most)
	if len(problems) > 0 {
		return "", nil, problems // what is missing cannot be told from what was not read
	}
	rrs, problems = complete(origin, file, rrs, d)
	sortRecords(rrs)
	errs, warnings := check(origin, file, rrs)
	if errs = append(problems, errs...); len(errs) > 0 {
		return "", warnings, errs
	}
	var unread found
	var b strings.Builder
	last := ""
	for i, r := range rrs {
		rrs[i] = record{} // it is not needed any more, when the text grows
		line := r.rr.String()
		if line == last { // a record that is there twice counts once (RFC 2181, 5)
			continue
		}
		if !plain(r.rr) && !readable(line) {
			unread.add(Problem{File: file, Line: r.line,
				Text: fmt.Sprintf("%s %s: its data have no text that could be read again: they are not whole",
					r.rr.Header().Name, dns.Type(r.rr.Header().Rrtype))})
		}
		if b.Len()+len(line) >= most {
			return "", warnings, tooLarge(file, r.line, most)
		}
		b.WriteString(line)
		b.WriteByte('\n')
		last = line
	}
	if errs = unread.all(file); len(errs) > 0 {
		return "", warnings, errs
	}
	return b.String(), warnings, nil
}

// readable reports whether a line is read as one record, whatever follows it.
func readable(line string) bool {
	p := dns.NewZoneParser(strings.NewReader(line+"\n"+line+"\n"), ".", "")
	n := 0
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		if n++; rr.String() != line {
			return false
		}
	}
	return n == 2 && p.Err() == nil
}

// plain reports whether a record's text is surely read again as the same: the types that large zones are made of. Of others a few values
// have no text that can be read: an RRSIG that covers type 0, or, at the end of a file, an MX or SOA without data.
func plain(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.A, *dns.AAAA, *dns.NS, *dns.CNAME, *dns.PTR, *dns.TXT:
		return true
	case *dns.MX:
		return rr.Mx != ""
	case *dns.SOA:
		return rr.Ns != ""
	}
	return false
}

// complete adds the SOA and NS records that d declares and the content lacks.
func complete(origin, file string, rrs []record, d Defaults) ([]record, Problems) {
	has := func(t uint16) bool {
		return slices.ContainsFunc(rrs, func(r record) bool { return r.rr.Header().Rrtype == t && r.rr.Header().Name == origin })
	}
	key := keyOf(origin)
	hdr := func(t uint16, ttl uint32) dns.RR_Header {
		return dns.RR_Header{Name: origin, Rrtype: t, Class: dns.ClassINET, Ttl: ttl}
	}
	var problems Problems
	if !has(dns.TypeNS) {
		if len(d.Nameservers) == 0 {
			problems = append(problems, Problem{File: file, Text: "zone " + origin +
				" has no NS record at its apex: add one, or declare spec.nameservers"})
		}
		for _, ns := range d.Nameservers {
			rrs = append(rrs, record{rr: &dns.NS{Hdr: hdr(dns.TypeNS, nsTTL), Ns: dns.CanonicalName(ns)}, key: key})
		}
	}
	if !has(dns.TypeSOA) {
		mname := firstNS(origin, rrs)
		if d.Contact == "" || mname == "" {
			problems = append(problems, Problem{File: file, Text: "zone " + origin +
				" has no SOA record: add one, or declare spec.contact and spec.nameservers"})
			return rrs, problems
		}
		rrs = append(rrs, record{key: key, rr: &dns.SOA{Hdr: hdr(dns.TypeSOA, soaTTL), Ns: mname, Mbox: mailbox(d.Contact),
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
