package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// secure reports whether what z answers must carry signatures (RFC 4035, 3.1).
func (a *Answerer) secure(z *table.Zone) bool { return a.q.DO && z.Signed() }

// when tells the table what time it is, and whether it may sign now.
func (a *Answerer) when() *table.When {
	a.now = table.When{Now: a.cfg.Clock(), Slow: a.meta.Slow, Draw: uint32(a.rng.next())}
	return &a.now
}

// addSig appends what signing made; where it is not made yet, the whole query is deferred.
func (a *Answerer) addSig(s table.Sig, ok bool, owner int, count *uint16) {
	if !ok {
		a.deferred = true
		return
	}
	a.appendSet(table.Set{Count: s.Count, Wire: s.Wire}, owner, count)
}

// addMade is addSig for what is signed for a name that clients can make up: it waits behind what is signed for names that exist.
func (a *Answerer) addMade(s table.Sig, ok bool, owner int, count *uint16) {
	a.madeUp = a.madeUp || !ok
	a.addSig(s, ok, owner, count)
}

// signSet adds the signature of a set of the zone that stands at q's name. A set that a wildcard gave is signed as if the name
// existed: nothing then needs to be proved about the wildcard.
func (a *Answerer) signSet(z *table.Zone, q *dnswire.Query, m table.Match, set table.Set, at int) {
	if a.brought(z) {
		a.broughtSet(z, q, m, set, at)
		return
	}
	if !a.secure(z) {
		return
	}
	owner := q.Name[:q.NameLen]
	if m.Kind == table.Wildcard {
		s, ok := z.DynamicSignature(set, owner, a.when())
		a.addMade(s, ok, at, &a.an)
		return
	}
	s, ok := z.Signature(set, owner, a.when())
	a.addSig(s, ok, at, &a.an)
}

// signSteered adds the signature of what a service answered.
func (a *Answerer) signSteered(z *table.Zone, q *dnswire.Query, m table.Match, s *table.Service, f table.Family, at int) {
	if !a.secure(z) {
		return
	}
	sig, ok := s.Signature(z, &a.choice, f, q.Name[:q.NameLen], a.when())
	a.madeUp = a.madeUp || !ok && m.Kind == table.Wildcard
	a.addSig(sig, ok, at, &a.an)
}

// signMade adds the signature of the records that the server itself made at q's name, from offset start of the reply on. What
// differs from query to query is signed for once.
func (a *Answerer) signMade(z *table.Zone, q *dnswire.Query, typ uint16, at, start int, once bool) {
	if !a.secure(z) || a.truncated {
		return
	}
	wire := append([]byte(nil), a.buf[start:a.pos]...)
	set := table.Set{Type: typ, Count: a.an, Wire: wire}
	sign := z.DynamicSignature
	if once {
		sign = z.SignOnce
	}
	s, ok := sign(set, q.Name[:q.NameLen], a.when())
	a.addMade(s, ok, at, &a.an)
}

// deny adds what proves a negative answer (RFC 9824): the SOA's signature, and an NSEC record at the very name that was asked for.
// A name that does not exist gets NOERROR, since the NSEC record has it exist without types; a client that knows of this (CO)
// gets NXDOMAIN all the same.
func (a *Answerer) deny(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	if a.brought(z) {
		a.broughtDenial(z, q, m, at)
		return
	}
	if !a.secure(z) {
		return
	}
	apex := q.Labels - z.Labels()
	start := a.pos
	s, ok := z.Signature(z.SOA(), suffix(q, apex), a.when())
	a.addSig(s, ok, a.owner(q, at, apex), &a.ns)
	if ok && !a.truncated { // the signature's TTL is that of the set beside which it stands
		for p := start; p < a.pos; p += 12 + int(binary.BigEndian.Uint16(a.buf[p+10:])) {
			copy(a.buf[p+6:p+10], z.SOA().Wire[6:10])
		}
	}
	owner := q.Name[:q.NameLen]
	switch m.Kind {
	case table.Missing:
		s, ok = z.DynamicDenial(0, owner, a.when())
		if !a.q.CO {
			a.rcode = dnswire.RcodeSuccess
		}
	case table.Wildcard:
		s, ok = z.DynamicDenial(m.Node, owner, a.when())
	case table.Explain:
		s, ok = z.DynamicDenial(m.Node, owner, a.when())
	default:
		s, ok = z.Denial(m.Node, owner, a.when())
		a.addSig(s, ok, at, &a.ns)
		return
	}
	a.addMade(s, ok, at, &a.ns)
}

// signReferral adds to a delegation its DS set, or the proof that there is none (RFC 4035, 3.1.4).
func (a *Answerer) signReferral(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	if a.brought(z) {
		a.broughtReferral(z, q, m, a.owner(q, at, m.Label))
		return
	}
	if !a.secure(z) {
		return
	}
	owner, offset := suffix(q, m.Label), a.owner(q, at, m.Label)
	set, is := z.Set(m.Node, dnswire.TypeDS)
	if !is {
		s, ok := z.Denial(m.Node, owner, a.when())
		a.addSig(s, ok, offset, &a.ns)
		return
	}
	a.appendSet(set, offset, &a.ns)
	s, ok := z.Signature(set, owner, a.when())
	a.addSig(s, ok, offset, &a.ns)
}

// nsec answers a query for the NSEC record of a name. One that does not exist has one, too, since its denial says so (RFC 9824): NODATA
// would be contradicted by its own proof. It stands beside CNAME (RFC 4035, 2.5), so a CNAME is no answer either.
func (a *Answerer) nsec(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	owner := q.Name[:q.NameLen]
	var s table.Sig
	var ok bool
	switch m.Kind {
	case table.Missing:
		s, ok = z.DynamicDenial(0, owner, a.when())
	case table.Wildcard, table.Explain:
		s, ok = z.DynamicDenial(m.Node, owner, a.when())
	default:
		s, ok = z.Denial(m.Node, owner, a.when())
	}
	if !a.q.DO { // the signatures stand behind the record itself
		s = s.First()
	}
	a.madeUp = a.madeUp || !ok && (m.Kind == table.Missing || m.Kind == table.Wildcard)
	a.addSig(s, ok, at, &a.an)
}

// suffix gives q's name from label i on.
func suffix(q *dnswire.Query, i int) []byte {
	if i >= q.Labels {
		return q.Name[q.NameLen-1 : q.NameLen]
	}
	return q.Name[q.LabelOff[i]:q.NameLen]
}
