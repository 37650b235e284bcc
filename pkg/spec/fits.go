package spec

import (
	"cmp"
	"fmt"
	"slices"
)

// maxAnswer bounds the records of one answer, in bytes. A message has 65,535 at most (RFC 1035, 4.2.2); the rest is for its header and
// question, CNAME records that lead there, a signature and options.
const maxAnswer = 60 << 10

// What a record takes beside its data, its owner compressed, and what HTTPS and SVCB say beside ECH and the addresses at most.
const (
	recordHead = 12
	svcbMost   = 2048
)

// fits refuses services of which an answer would never fit a message.
func (v *setChecker) fits(r *Resource, s *Service) {
	n := max(1, s.Answers)
	all := s.Pick == PickAll || s.SRV != nil || s.MX != nil
	checked := map[Key]bool{}
	for _, ref := range references(r) {
		pool, ok := v.named(ref).Spec.(*Pool)
		if !ok || checked[ref.to] || s.HTTPS == nil && s.SVCB == nil && pool.parts() <= surelyFit {
			continue
		}
		checked[ref.to] = true
		if size, what := largestAnswer(pool.AtMost(), s, n, all); size > maxAnswer {
			hint := "take fewer endpoints, or give them fewer addresses"
			if s.Pick == PickAll {
				hint += ", or use answers with another pick"
			}
			v.fail(r, ref.path, hint, "an answer with %s of pool %s would have %d bytes, and at most %d fit a message", what,
				ref.to.Name, size, maxAnswer)
		}
	}
}

// largestAnswer gives the size of the largest answer of n of the endpoints, or of all, and what it is made of.
func largestAnswer(endpoints []Endpoint, s *Service, n int, all bool) (size int, what string) {
	sum := func(of func(e *Endpoint) int) (total int) {
		sizes := make([]int, len(endpoints))
		for i := range endpoints {
			sizes[i] = of(&endpoints[i])
			total += sizes[i]
		}
		if all || n >= len(sizes) {
			return total
		}
		slices.SortFunc(sizes, func(a, b int) int { return cmp.Compare(b, a) })
		total = 0
		for _, size := range sizes[:n] {
			total += size
		}
		return total
	}
	v4, v6 := sum(func(e *Endpoint) int { return e.count(true) }), sum(func(e *Endpoint) int { return e.count(false) })
	consider := func(bytes int, format string, args ...any) {
		if bytes > size {
			size, what = bytes, fmt.Sprintf(format, args...)
		}
	}
	consider(v4*(recordHead+4), "%d IPv4 addresses", v4)
	consider(v6*(recordHead+16), "%d IPv6 addresses", v6)
	for _, svcb := range []*SVCB{s.HTTPS, s.SVCB} {
		if svcb != nil {
			consider(svcbMost+len(svcb.ECH)+4*v4+16*v6, "an HTTPS or SVCB record and hints of %d addresses", v4+v6)
		}
	}
	if s.SRV != nil || s.MX != nil {
		consider(sum(func(e *Endpoint) int { return recordHead + 6 + len(canonicalOr(e.Host)) + 1 }), "%d hosts", len(endpoints))
	}
	return size, what
}

// surelyFit is how many addresses and hosts fit a message, however long.
const surelyFit = 200

// parts counts endpoints and their addresses.
func (p *Pool) parts() int {
	n := len(p.Endpoints)
	for i := range p.Endpoints {
		n += len(p.Endpoints[i].Addresses)
	}
	for i := range p.Discover {
		e := p.Discover[i].Effective()
		n += e.Most * (1 + len(e.Families))
	}
	return n
}

// count tells how many addresses of a family an endpoint has.
func (e *Endpoint) count(v4 bool) (n int) {
	for _, a := range e.Addresses {
		if a.Is4() == v4 {
			n++
		}
	}
	return n
}

// SameSize reports whether answers are as large with one endpoint as with the other.
func (e *Endpoint) SameSize(other *Endpoint) bool {
	return e.count(true) == other.count(true) && e.count(false) == other.count(false) && len(e.Host) == len(other.Host)
}
