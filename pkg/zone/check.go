package zone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// checker finds what makes a zone wrong (errors) or doubtful (warnings). What is an error is one for kzonecheck and NSD too;
// out of zone data, which they skip, is one more.
type checker struct {
	origin, file   string
	order          []string // the names that own records, each above those below it
	at             map[string]map[uint16][]record
	exists         map[string]bool // the names that own records, and those above them (RFC 4592, 2.2.2)
	errs, warnings found
}

// check takes sorted records.
func check(origin, file string, rrs []record) (errs, warnings Problems) {
	c := &checker{origin: origin, file: file, at: map[string]map[uint16][]record{}, exists: map[string]bool{}}
	for _, r := range rrs {
		c.take(r)
	}
	for i, name := range c.order {
		c.authority(name)
		c.alone(name)
		c.dname(name, i)
		c.hosts(name)
		c.loop(name)
		c.ttls(name)
	}
	return c.errs.all(file), c.warnings.all(file)
}

func (c *checker) fail(r record, format string, args ...any) {
	c.errs.add(Problem{File: c.file, Line: r.line, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(r record, format string, args ...any) {
	c.warnings.add(Problem{File: c.file, Line: r.line, Text: fmt.Sprintf(format, args...)})
}

// take sorts a record in, if it belongs to the zone.
func (c *checker) take(r record) {
	h := r.rr.Header()
	switch {
	case !dns.IsSubDomain(c.origin, h.Name):
		c.fail(r, "%s %s is outside the zone %s: remove it, or put it into its own zone", h.Name, dns.Type(h.Rrtype), c.origin)
		return
	case h.Class != dns.ClassINET:
		c.fail(r, "%s: class %s: only IN can be served", h.Name, dns.Class(h.Class))
		return
	case isMeta(h.Rrtype):
		c.fail(r, "%s: the type %s is for questions and messages, not for zones: remove it", h.Name, dns.Type(h.Rrtype))
		return
	}
	if _, err := packName(h.Name); err != nil {
		c.fail(r, "%s: %v", h.Name, err)
		return
	}
	data, err := packData(r.rr)
	if err != nil {
		c.fail(r, "%s %s: its data cannot be encoded: %v", h.Name, dns.Type(h.Rrtype), err)
		return
	}
	if len(data) == 0 && !mayBeEmpty(r.rr) {
		c.fail(r, "%s %s has no data", h.Name, dns.Type(h.Rrtype))
		return
	}
	if ds, ok := r.rr.(*dns.DS); ok && badDigest(ds) {
		c.fail(r, "%s DS: the digest has not the length of its type %d: copy it whole", h.Name, ds.DigestType)
	}
	if c.at[h.Name] == nil {
		c.at[h.Name] = map[uint16][]record{}
		c.order = append(c.order, h.Name)
		for name := h.Name; !c.exists[name]; name = parent(name) {
			c.exists[name] = true
			if name == c.origin {
				break
			}
		}
	}
	c.at[h.Name][h.Rrtype] = append(c.at[h.Name][h.Rrtype], r)
}

func mayBeEmpty(rr dns.RR) bool {
	switch rr.(type) {
	case *dns.RFC3597, *dns.NULL, *dns.APL:
		return true
	}
	return false
}

// badDigest tells whether a digest of a known type has another's length (RFC 4509, RFC 6605, RFC 4034).
func badDigest(ds *dns.DS) bool {
	want, known := map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}[ds.DigestType]
	return known && len(ds.Digest) != 2*want
}

// isMeta tells the types that no zone holds (RFC 6895, 3.1).
func isMeta(t uint16) bool { return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 }

func (c *checker) authority(name string) {
	soa := c.at[name][dns.TypeSOA]
	if len(soa) > 0 && (name != c.origin || distinct(soa) > 1) {
		c.fail(soa[len(soa)-1], "%s: a zone has one SOA, at its apex %s", name, c.origin)
	}
}

// alone checks that a CNAME is.
func (c *checker) alone(name string) {
	cname := c.at[name][dns.TypeCNAME]
	if len(cname) == 0 {
		return
	}
	other := slices.ContainsFunc(types(c.at[name]), func(t uint16) bool {
		return t != dns.TypeCNAME && t != dns.TypeRRSIG && t != dns.TypeNSEC && t != dns.TypeKEY
	})
	if other || distinct(cname) > 1 {
		c.fail(cname[len(cname)-1], "%s: a CNAME stands alone at its name (RFC 2181, 10.1): remove it or the other records", name)
	}
}

// dname checks that a DNAME is single, is no delegation, and has nothing below it (RFC 6672, 2.3 and 2.4).
func (c *checker) dname(name string, i int) {
	dname := c.at[name][dns.TypeDNAME]
	if len(dname) == 0 {
		return
	}
	if distinct(dname) > 1 {
		c.fail(dname[len(dname)-1], "%s: more than one DNAME (RFC 6672, 2.4)", name)
	}
	if len(c.at[name][dns.TypeNS]) > 0 && name != c.origin {
		c.fail(dname[0], "%s: a DNAME stands beside NS records only at the apex (RFC 6672, 2.3): remove one of the two", name)
	}
	if i+1 < len(c.order) && dns.IsSubDomain(name, c.order[i+1]) {
		below := c.order[i+1]
		c.fail(c.any(below), "%s is below the DNAME %s, which renames it (RFC 6672, 2.4): remove one of the two", below, name)
	}
	if target := oneWriting(dname[0].rr.(*dns.DNAME).Target); dns.IsSubDomain(name, target) {
		c.warn(dname[0], "%s DNAME %s leads into itself: no name below it can be resolved", name, target)
	}
}

// any gives one record of a name.
func (c *checker) any(name string) record { return c.at[name][types(c.at[name])[0]][0] }

// hosts checks that name servers in the zone have addresses.
func (c *checker) hosts(name string) {
	done := map[string]bool{}
	if name != c.origin && c.delegated(parent(name)) {
		return // others know of these
	}
	for _, r := range c.at[name][dns.TypeNS] {
		target := oneWriting(r.rr.(*dns.NS).Ns)
		if !done[target] && dns.IsSubDomain(c.origin, target) && !c.hasAddress(target, name) {
			c.warn(r, "%s NS %s: the name server has no address in the zone: add an A or AAAA record", name, target)
		}
		done[target] = true
	}
}

// hasAddress tells whether the zone has an address for a name server of a zone, perhaps by a wildcard, or cannot have one
// since it lies in another delegation.
func (c *checker) hasAddress(host, of string) bool {
	if !c.exists[host] {
		for !c.exists[host] && host != c.origin {
			host = parent(host)
		}
		if host != of && c.delegated(host) {
			return true
		}
		host = oneWriting("*." + strings.TrimPrefix(host, ".")) // the root is the dot alone
	}
	return len(c.at[host][dns.TypeA]) > 0 || len(c.at[host][dns.TypeAAAA]) > 0
}

// delegated tells whether a name lies at or below a delegation.
func (c *checker) delegated(name string) bool {
	for ; name != c.origin; name = parent(name) {
		if len(c.at[name][dns.TypeNS]) > 0 {
			return true
		}
	}
	return false
}

func parent(name string) string {
	if i, end := dns.NextLabel(name, 0); !end {
		return name[i:]
	}
	return "."
}

// loop warns, once for each, of CNAME records that lead in a circle.
func (c *checker) loop(name string) {
	seen := []string{name}
	for at := name; ; {
		cname := c.at[at][dns.TypeCNAME]
		if len(cname) == 0 {
			return
		}
		at = oneWriting(cname[0].rr.(*dns.CNAME).Target)
		if at == name {
			if name == slices.Min(seen) {
				c.warn(c.at[name][dns.TypeCNAME][0], "%s: its CNAME leads back to itself: it cannot be resolved", name)
			}
			return
		}
		if slices.Contains(seen, at) || len(seen) == maxLoop {
			return // a loop that this name is not part of, or none
		}
		seen = append(seen, at)
	}
}

// maxLoop is the longest circle that is looked for.
const maxLoop = 64

// maxSet is how large a set of records can be, in bytes, that fits a message beside all else in it.
const maxSet = 60 << 10

// ttls looks at what the records of a set have to be together.
func (c *checker) ttls(name string) {
	for _, t := range types(c.at[name]) {
		set := c.at[name][t]
		if ttl := set[0].rr.Header().Ttl; ttl > maxTTL {
			c.warn(set[0], "%s %s: the TTL %d is above %d, and served as 0 (RFC 2181, 8)", name, dns.Type(t), ttl, maxTTL)
		}
		size := 0
		for _, r := range set {
			size += dns.Len(r.rr) - len(name) + 1 // whose owner is compressed
		}
		if size > maxSet {
			c.warn(set[0], "%s %s: %d records with %d bytes never fit a message, which has room for %d: spread them over several names", name,
				dns.Type(t), len(set), size, maxSet)
		}
		for _, r := range set[1:] {
			if r.rr.Header().Ttl != set[0].rr.Header().Ttl && t != dns.TypeRRSIG {
				c.warn(r, "%s %s: records of one set have different TTLs; the lowest is served (RFC 2181, 5.2)", name, dns.Type(t))
				break
			}
		}
	}
}

func types(at map[uint16][]record) []uint16 {
	list := make([]uint16, 0, len(at))
	for t := range at {
		list = append(list, t)
	}
	slices.Sort(list)
	return list
}

func distinct(rrs []record) int {
	seen := map[string]bool{}
	for _, r := range rrs {
		data, err := packData(r.rr)
		if err != nil {
			return len(rrs)
		}
		seen[string(dnssec.Canonical(r.rr.Header().Rrtype, data))] = true
	}
	return len(seen)
}
