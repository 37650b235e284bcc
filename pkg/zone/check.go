package zone

import (
	"bytes"
	"slices"
	"sort"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// checker finds what makes a zone wrong (errors) or doubtful (warnings). What is an error is one for kzonecheck and NSD too;
// out of zone data, which they skip, is one more. Beside the records it holds some bytes for each name, and nothing that it does
// for one grows with how many others there are.
type checker struct {
	origin, file   string
	apex           string   // the key of origin
	rrs            []record // that belong to the zone, sorted
	names          []name   // that own them, each before those below it
	errs, warnings found
}

// name is one owner.
type name struct {
	first, end int32 // of its records
	cut        int32 // the highest delegation at or above it, by its index among the names; -1: none
}

// check takes sorted records. It reuses their memory.
func check(origin, file string, rrs []record) (errs, warnings Problems) {
	c := &checker{origin: origin, file: file, apex: keyOf(origin), rrs: rrs[:0]}
	for _, r := range rrs {
		if c.takes(r) {
			c.rrs = append(c.rrs, r)
		}
	}
	c.gather()
	for i := range c.names {
		c.alone(i)
		c.dname(i)
		c.hosts(i)
		c.sets(i)
	}
	c.loops()
	return c.errs.all(file), c.warnings.all(file)
}

// fail notes an error. Of those that are too many to be told no text is made.
func (c *checker) fail(r record, format string, args ...any) {
	c.errs.addf(c.file, r.line, format, args...)
}

func (c *checker) warn(r record, format string, args ...any) {
	c.warnings.addf(c.file, r.line, format, args...)
}

// takes reports whether a record belongs to the zone.
func (c *checker) takes(r record) bool {
	h := r.rr.Header()
	switch {
	case !below(r.key, c.apex):
		c.fail(r, "%s %s is outside the zone %s: remove it, or put it into its own zone", h.Name, dns.Type(h.Rrtype), c.origin)
		return false
	case h.Class != dns.ClassINET:
		c.fail(r, "%s: class %s: only IN can be served", h.Name, dns.Class(h.Class))
		return false
	case isMeta(h.Rrtype):
		c.fail(r, "%s: the type %s is for questions and messages, not for zones: remove it", h.Name, dns.Type(h.Rrtype))
		return false
	case h.Rrtype == dns.TypeSOA && h.Name != c.origin:
		c.fail(r, oneSOA, h.Name, c.origin)
		return false
	}
	if _, err := packName(h.Name); err != nil {
		c.fail(r, "%s: %v", h.Name, err)
		return false
	}
	data, err := packData(r.rr)
	if err != nil {
		c.fail(r, "%s %s: its data cannot be encoded: %v", h.Name, dns.Type(h.Rrtype), err)
		return false
	}
	if len(data) == 0 && !mayBeEmpty(r.rr) {
		c.fail(r, "%s %s has no data", h.Name, dns.Type(h.Rrtype))
		return false
	}
	if ds, ok := r.rr.(*dns.DS); ok && badDigest(ds) {
		c.fail(r, "%s DS: the digest has not the length of its type %d: copy it whole", h.Name, ds.DigestType)
	}
	return true
}

const oneSOA = "%s: a zone has one SOA, at its apex %s"

// gather finds the names and the delegations above them: what lies below a name stands right behind it.
func (c *checker) gather() {
	for i := range c.rrs {
		if n := len(c.names); n > 0 && c.rrs[i].key == c.key(n-1) {
			c.names[n-1].end++
			continue
		}
		c.names = append(c.names, name{first: int32(i), end: int32(i + 1), cut: -1})
	}
	cut := int32(-1)
	for i := range c.names {
		if cut >= 0 && !below(c.key(i), c.key(int(cut))) {
			cut = -1
		}
		if cut < 0 && c.key(i) != c.apex && len(c.set(i, dns.TypeNS)) > 0 {
			cut = int32(i)
		}
		c.names[i].cut = cut
	}
}

func (c *checker) key(i int) string { return c.rrs[c.names[i].first].key }

// all gives the records of a name, by type.
func (c *checker) all(i int) []record { return c.rrs[c.names[i].first:c.names[i].end] }

// set gives the records of a name that are of a type; not SOA, which stands first.
func (c *checker) set(i int, t uint16) []record {
	all := c.all(i)
	from := sort.Search(len(all), func(j int) bool { h := all[j].rr.Header(); return h.Rrtype >= t && h.Rrtype != dns.TypeSOA })
	n := sort.Search(len(all)-from, func(j int) bool { return all[from+j].rr.Header().Rrtype > t })
	return all[from : from+n]
}

// find gives the index of the first name with that key or one behind it.
func (c *checker) find(key string) int {
	return sort.Search(len(c.names), func(i int) bool { return c.key(i) >= key })
}

func mayBeEmpty(rr dns.RR) bool {
	switch rr.(type) {
	case *dns.RFC3597, *dns.NULL, *dns.APL:
		return true
	}
	return false
}

// badDigest reports whether a digest of a known type has another's length (RFC 4509, RFC 6605, RFC 4034).
func badDigest(ds *dns.DS) bool {
	want, known := map[uint8]int{dns.SHA1: 20, dns.SHA256: 32, dns.SHA384: 48}[ds.DigestType]
	return known && len(ds.Digest) != 2*want
}

// isMeta tells the types that no zone holds (RFC 6895, 3.1).
func isMeta(t uint16) bool { return t == 0 || t == dns.TypeOPT || t >= 128 && t <= 255 }

// alone checks that a CNAME is.
func (c *checker) alone(i int) {
	cname := c.set(i, dns.TypeCNAME)
	if len(cname) == 0 {
		return
	}
	other := len(cname) < len(c.all(i)) && slices.ContainsFunc(c.all(i), func(r record) bool {
		t := r.rr.Header().Rrtype
		return t != dns.TypeCNAME && t != dns.TypeRRSIG && t != dns.TypeNSEC && t != dns.TypeKEY
	})
	if other || differing(cname) {
		last := cname[len(cname)-1]
		c.fail(last, "%s: a CNAME stands alone at its name (RFC 2181, 10.1): remove it or the other records", last.rr.Header().Name)
	}
}

// dname checks that a DNAME is single, is no delegation, and has nothing below it (RFC 6672, 2.3 and 2.4).
func (c *checker) dname(i int) {
	dname := c.set(i, dns.TypeDNAME)
	if len(dname) == 0 {
		return
	}
	name, key := dname[0].rr.Header().Name, c.key(i)
	if differing(dname) {
		c.fail(dname[len(dname)-1], "%s: more than one DNAME (RFC 6672, 2.4)", name)
	}
	if len(c.set(i, dns.TypeNS)) > 0 && key != c.apex {
		c.fail(dname[0], "%s: a DNAME stands beside NS records only at the apex (RFC 6672, 2.3): remove one of the two", name)
	}
	if i+1 < len(c.names) && below(c.key(i+1), key) {
		next := c.all(i + 1)[0]
		c.fail(next, "%s is below the DNAME %s, which renames it (RFC 6672, 2.4): remove one of the two", next.rr.Header().Name, name)
	}
	if target := oneWriting(dname[0].rr.(*dns.DNAME).Target); below(keyOf(target), key) {
		c.warn(dname[0], "%s DNAME %s leads into itself: no name below it can be resolved", name, target)
	}
}

// hosts checks that name servers in the zone have addresses.
func (c *checker) hosts(i int) {
	if cut := c.names[i].cut; cut >= 0 && int(cut) != i {
		return // others know of these
	}
	var reported []string
	for _, r := range c.set(i, dns.TypeNS) {
		target := oneWriting(r.rr.(*dns.NS).Ns)
		key := keyOf(target)
		if !below(key, c.apex) || c.hasAddress(key, i) || slices.Contains(reported, target) {
			continue
		}
		c.warn(r, "%s NS %s: the name server has no address in the zone: add an A or AAAA record", r.rr.Header().Name, target)
		if reported = append(reported, target); len(reported) == maxProblems {
			return
		}
	}
}

// hasAddress reports whether the zone has an address for a name server of a name, perhaps by a wildcard, or cannot have one
// since it lies in another delegation.
func (c *checker) hasAddress(host string, of int) bool {
	at := c.find(host)
	if at == len(c.names) || !below(c.key(at), host) {
		host = c.encloser(host, at)
		at = c.find(host)
		cut := int(c.names[at].cut) // of what is at the encloser or below it
		if cut >= 0 && below(host, c.key(cut)) && host != c.key(of) {
			return true
		}
		host += wildcard
		at = c.find(host)
	}
	return at < len(c.names) && c.key(at) == host && len(c.set(at, dns.TypeA))+len(c.set(at, dns.TypeAAAA)) > 0
}

// encloser gives the key of the lowest name above one that does not exist, which would stand at a place (RFC 4592, 2.2.2: a name exists
// where one below it does). Its neighbours there share most with it.
func (c *checker) encloser(key string, at int) string {
	n := len(c.apex)
	for _, i := range []int{at - 1, at} {
		if i >= 0 && i < len(c.names) {
			n = max(n, shared(key, c.key(i)))
		}
	}
	return key[:n]
}

// loops warns, once for each, of CNAME records that lead in a circle. Each record is followed once.
func (c *checker) loops() {
	const never = 0
	walk := make([]int32, len(c.names)) // in which a name was met
	for i := range c.names {
		id := int32(i + 1)
		at := i
		for at >= 0 && walk[at] == never {
			walk[at] = id
			at = c.target(at)
		}
		if at < 0 || walk[at] != id {
			continue // it ends, or leads to where another has led
		}
		first := at
		for next := c.target(at); next != at; next = c.target(next) {
			if c.all(next)[0].rr.Header().Name < c.all(first)[0].rr.Header().Name {
				first = next
			}
		}
		r := c.set(first, dns.TypeCNAME)[0]
		c.warn(r, "%s: its CNAME leads back to itself: it cannot be resolved", r.rr.Header().Name)
	}
}

// target gives the index of the name that another leads to by its CNAME; -1: there is none.
func (c *checker) target(i int) int {
	cname := c.set(i, dns.TypeCNAME)
	if len(cname) == 0 {
		return -1
	}
	key := keyOf(oneWriting(cname[0].rr.(*dns.CNAME).Target))
	if at := c.find(key); at < len(c.names) && c.key(at) == key {
		return at
	}
	return -1
}

// maxSet is how large a set of records can be, in bytes, that fits a message beside all else in it.
const maxSet = 60 << 10

// sets looks at what the records of a set have to be together.
func (c *checker) sets(i int) {
	for all := c.all(i); len(all) > 0; {
		n := 1
		for n < len(all) && all[n].rr.Header().Rrtype == all[0].rr.Header().Rrtype {
			n++
		}
		c.oneSet(all[:n])
		all = all[n:]
	}
}

func (c *checker) oneSet(set []record) {
	h := set[0].rr.Header()
	if h.Rrtype == dns.TypeSOA && differing(set) {
		c.fail(set[len(set)-1], oneSOA, h.Name, c.origin)
	}
	if h.Ttl > maxTTL {
		c.warn(set[0], "%s %s: the TTL %d is above %d, and served as 0 (RFC 2181, 8)", h.Name, dns.Type(h.Rrtype), h.Ttl, maxTTL)
	}
	size := 0
	for _, r := range set {
		size += dns.Len(r.rr) - len(h.Name) + 1 // whose owner is compressed
	}
	if size > maxSet {
		c.warn(set[0], "%s %s: %d records with %d bytes never fit a message, which has room for %d: spread them over several names", h.Name,
			dns.Type(h.Rrtype), len(set), size, maxSet)
	}
	for _, r := range set[1:] {
		if r.rr.Header().Ttl != h.Ttl && h.Rrtype != dns.TypeRRSIG {
			c.warn(r, "%s %s: records of one set have different TTLs; the lowest is served (RFC 2181, 5.2)", h.Name, dns.Type(h.Rrtype))
			break
		}
	}
}

// differing reports whether the data of a set are not all the same.
func differing(set []record) bool {
	var first []byte
	for i, r := range set {
		data, err := packData(r.rr)
		if err != nil {
			return true
		}
		if data = dnssec.Canonical(r.rr.Header().Rrtype, data); i == 0 {
			first = data
		} else if !bytes.Equal(first, data) {
			return true
		}
	}
	return false
}
