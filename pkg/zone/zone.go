// Package zone holds the static content of zones: it reads master files (RFC 1035), checks them, brings them
// into one canonical text, and turns that text into RRsets in wire form.
//
// It is pure; its functions may be called concurrently.
package zone

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// RRset is one set of records (RFC 9499) in wire form. Names inside are not compressed.
type RRset struct {
	Owner []byte // folded to lower case, without compression
	Type  uint16
	TTL   uint32   // seconds; one for the whole set (RFC 2181, 5.2)
	Data  [][]byte // RDATA of each record, sorted, without duplicates
}

// Zone is the static content of one zone. It is immutable.
type Zone struct {
	Origin string  // absolute, lower case
	Apex   []byte  // Origin in wire form
	Sets   []RRset // sorted by owner (canonical order, RFC 4034, 6.1), then type
	text   string  // that it was read from
	plain  bool    // whose lines can be read one by one; see Edit
}

// Problem is something found in a master file.
type Problem struct {
	File string
	Line int // 0: not tied to a line
	Text string
}

// String gives file:line: text.
func (p Problem) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	}
	return p.File + ": " + p.Text
}

// Problems is the error that Canonical and Parse return: everything that was found, in the order of the file.
type Problems []Problem

// Error gives one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Parse reads canonical text, as Canonical made it. Any error is a fault of whoever wrote the text.
func Parse(origin, text string) (*Zone, error) {
	origin = oneWriting(origin)
	rrs, problems := read(origin, origin, text, math.MaxInt) // what the store has is read
	if len(problems) > 0 {
		return nil, problems
	}
	z := &Zone{Origin: origin, text: text}
	var err error
	if z.Apex, err = packName(origin); err != nil {
		return nil, Problems{{File: origin, Text: "the zone's name: " + err.Error()}}
	}
	if z.Sets, err = sets(rrs); err != nil {
		return nil, Problems{{File: origin, Text: err.Error()}}
	}
	z.plain = plainLines(text, len(rrs)) && sorted(z.Sets)
	return z, nil
}

// maxTTL is the largest TTL that there is (RFC 2181, 8).
const maxTTL = 1<<31 - 1

// servedTTL gives the TTL that is served: 0 in place of one that is none, as whoever receives it takes it (RFC 2181, 8).
func servedTTL(declared uint32) uint32 {
	if declared > maxTTL {
		return 0
	}
	return declared
}

// sets groups records, which are sorted by sortRecords, into RRsets.
func sets(rrs []record) ([]RRset, error) {
	var out []RRset
	for _, r := range rrs {
		h := r.rr.Header()
		owner, err := packName(h.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		data, err := packData(r.rr)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", h.Name, dns.TypeToString[h.Rrtype], err)
		}
		if n := len(out); n > 0 && out[n-1].Type == h.Rrtype && string(out[n-1].Owner) == string(owner) {
			last := &out[n-1]
			last.TTL = min(last.TTL, servedTTL(h.Ttl))
			last.Data = append(last.Data, data)
			continue
		}
		out = append(out, RRset{Owner: owner, Type: h.Rrtype, TTL: servedTTL(h.Ttl), Data: [][]byte{data}})
	}
	for i := range out {
		typ := out[i].Type
		slices.SortFunc(out[i].Data, func(a, b []byte) int { return slices.Compare(dnssec.Canonical(typ, a), dnssec.Canonical(typ, b)) })
		out[i].Data = slices.CompactFunc(out[i].Data, func(a, b []byte) bool {
			return slices.Equal(dnssec.Canonical(typ, a), dnssec.Canonical(typ, b)) // names in any case are the same (RFC 4343)
		})
	}
	return out, nil
}

// packName gives the folded wire form of an absolute name.
func packName(name string) ([]byte, error) {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.CanonicalName(name), buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	return buf[:n:n], nil
}

// packData gives the RDATA of a record, names not compressed.
func packData(rr dns.RR) ([]byte, error) {
	buf := make([]byte, dns.Len(rr)+1)
	end, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		return nil, err
	}
	_, off, err := dns.UnpackDomainName(buf, 0)
	if err != nil {
		return nil, err
	}
	return slices.Clone(buf[off+10 : end]), nil
}

// sortRecords brings records into canonical order: SOA first, then by owner, type and text. Texts take long to make, and so are made
// once for each record of a set, and held for one set at a time.
func sortRecords(rrs []record) {
	slices.SortFunc(rrs, func(a, b record) int {
		return cmp.Or(cmp.Compare(notSOA(a), notSOA(b)), strings.Compare(a.key, b.key),
			cmp.Compare(a.rr.Header().Rrtype, b.rr.Header().Rrtype), cmp.Compare(a.line, b.line))
	})
	for i := 0; i < len(rrs); {
		n := 1
		for i+n < len(rrs) && rrs[i+n].key == rrs[i].key && rrs[i+n].rr.Header().Rrtype == rrs[i].rr.Header().Rrtype {
			n++
		}
		if n > 1 {
			sortSet(rrs[i : i+n])
		}
		i += n
	}
}

func sortSet(rrs []record) {
	type written struct {
		text string
		record
	}
	all := make([]written, len(rrs))
	for i, r := range rrs {
		all[i] = written{r.rr.String(), r}
	}
	slices.SortStableFunc(all, func(a, b written) int { return strings.Compare(a.text, b.text) })
	for i, w := range all {
		rrs[i] = w.record
	}
}

func notSOA(r record) int {
	if r.rr.Header().Rrtype == dns.TypeSOA {
		return 0
	}
	return 1
}
