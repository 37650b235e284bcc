package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// brought reports whether what z answers must carry the signatures that it brings.
func (a *Answerer) brought(z *table.Zone) bool { return a.q.DO && z.Presigned() }

// broughtSet adds the signature of a set. What a wildcard gave needs proof that nothing closer exists (RFC 4035, 3.1.3.3), which
// waits until the answer section is whole.
func (a *Answerer) broughtSet(z *table.Zone, q *dnswire.Query, m table.Match, set table.Set, owner int) {
	a.addSig(z.Presignature(set), true, owner, &a.an)
	if m.Kind == table.Wildcard {
		z.Prove(&a.proofs, q, m, true)
		a.waiting = append(a.waiting, a.proofs.List[:a.proofs.Count]...)
	}
}

// prove appends the proofs that wait.
func (a *Answerer) prove() {
	for _, p := range a.waiting {
		a.appendWire(p.Wire, p.Count, &a.ns)
	}
	a.waiting = a.waiting[:0]
}

// broughtDenial adds the signature of the SOA record and the proof of a negative answer.
func (a *Answerer) broughtDenial(z *table.Zone, q *dnswire.Query, m table.Match, at int) {
	start := a.pos
	a.addSig(z.Presignature(z.SOA()), true, a.owner(q, at, q.Labels-z.Labels()), &a.ns)
	if a.truncated {
		return
	}
	for p := start; p < a.pos; p += 12 + int(binary.BigEndian.Uint16(a.buf[p+10:])) {
		copy(a.buf[p+6:p+10], z.SOA().Wire[6:10]) // the signature's TTL is that of the set beside which it stands
	}
	a.broughtProofs(z, q, m)
}

func (a *Answerer) broughtProofs(z *table.Zone, q *dnswire.Query, m table.Match) {
	a.prove()
	z.Prove(&a.proofs, q, m, false)
	for _, p := range a.proofs.List[:a.proofs.Count] {
		a.appendWire(p.Wire, p.Count, &a.ns)
	}
}

// broughtReferral adds to a delegation its DS set, or the proof that there is none.
func (a *Answerer) broughtReferral(z *table.Zone, q *dnswire.Query, m table.Match, owner int) {
	set, is := z.Set(m.Node, dnswire.TypeDS)
	if !is {
		a.broughtProofs(z, q, m)
		return
	}
	a.prove()
	a.appendSet(set, owner, &a.ns)
	a.addSig(z.Presignature(set), true, owner, &a.ns)
}
