package table

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/zone"
)

// presigned is what a zone brings that was signed elsewhere: its signatures, and the chain that denies (RFC 4035; RFC 5155). It
// is served as it came.
type presigned struct {
	sigs   map[uint32]Sig // by Zone.sets
	chain  []link         // NSEC by owner in canonical order, or NSEC3 by hash
	hashed bool           // NSEC3
	salt   []byte
	rounds int          // beside the first
	hidden []zone.RRset // NSEC3 and what signs it: no names of the zone
}

// link is one record of the chain with its signatures, owners in full.
type link struct {
	key []byte // owner, or hash
	Sig
}

// Types of denial that only presigned zones bring.
const (
	typeNSEC3      = 50
	typeNSEC3PARAM = 51
)

// A denial is hashed for while its client waits, and all others of that worker. So both are bounded, whatever a zone brings: the rounds
// (validators do not believe more than 100 to 150; RFC 9276, 3.2), and how many names above are tried for a closest encloser, of which
// a zone that is whole has one close by.
const (
	maxRounds = 150
	maxAbove  = 8
)

// Presigned tells whether the zone brings its signatures.
func (z *Zone) Presigned() bool { return z.pre != nil }

// Presignature gives the RRSIG records of a set of a presigned zone; none where it brings none.
func (z *Zone) Presignature(s Set) Sig { return z.pre.sigs[s.at] }

// takeStatic gives the content that names are made of. What a zone that is signed here brings of signatures is left out.
func (b *zoneBuilder) takeStatic() []zone.RRset {
	sets := b.in.static.Sets
	made := func(s zone.RRset) bool {
		return s.Type == dnswire.TypeRRSIG || s.Type == dnswire.TypeNSEC || s.Type == typeNSEC3 || s.Type == typeNSEC3PARAM
	}
	switch {
	case b.in.signer != nil && slices.ContainsFunc(sets, made):
		return slices.DeleteFunc(slices.Clone(sets), made)
	case !bringsSignatures(b.in.static):
		return sets
	}
	b.z.pre = &presigned{sigs: map[uint32]Sig{}}
	hashes := map[string]bool{}
	for _, s := range sets {
		if s.Type == typeNSEC3 {
			hashes[string(s.Owner)] = true
		}
	}
	var out []zone.RRset
	for _, s := range sets {
		if s.Type == typeNSEC3 || s.Type == dnswire.TypeRRSIG && hashes[string(s.Owner)] {
			b.z.pre.hidden = append(b.z.pre.hidden, s)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// bringsSignatures tells whether a zone was signed elsewhere.
func bringsSignatures(z *zone.Zone) bool {
	return slices.ContainsFunc(setsAt(z, string(z.Apex)), func(s zone.RRset) bool {
		return s.Type == dnswire.TypeRRSIG && slices.ContainsFunc(s.Data, covers(dnswire.TypeSOA))
	})
}

func covers(typ uint16) func([]byte) bool {
	return func(rrsig []byte) bool { return binary.BigEndian.Uint16(rrsig) == typ }
}

// presign finds the signatures of each set, and the chain.
func (b *zoneBuilder) presign() error {
	z, p := b.z, b.z.pre
	if len(b.in.services) > 0 {
		z.Problems = append(z.Problems, "steered names have no signatures, since the zone was signed elsewhere, and fail for who validates: declare dnssec to have all of it signed here")
	}
	for i, name := range b.order {
		n := &z.nodes[i]
		for at := n.first; at < n.first+uint32(n.count); at++ {
			s := z.sets[at]
			if s.typ == glueType || s.typ == dnswire.TypeRRSIG {
				continue
			}
			ttl := be32(z.data[s.off+6:])
			var sig Sig
			for _, data := range signaturesOf(b.sets[name], s.typ) {
				sig = Sig{appendRecord(sig.Wire, dnswire.TypeRRSIG, ttl, data), sig.Count + 1}
			}
			p.sigs[at] = sig
			if s.typ == dnswire.TypeNSEC {
				p.chain = append(p.chain, link{[]byte(name), inFull([]byte(name), Sig{z.data[s.off : s.off+s.size], s.count}, sig)})
			}
		}
	}
	slices.SortFunc(p.chain, func(a, b link) int { return zone.CompareNames(a.key, b.key) })
	return b.presignHashed()
}

func signaturesOf(sets []zone.RRset, typ uint16) (sigs [][]byte) {
	for _, s := range sets {
		for _, data := range s.Data {
			if s.Type == dnswire.TypeRRSIG && covers(typ)(data) {
				sigs = append(sigs, data)
			}
		}
	}
	return sigs
}

// presignHashed takes the chain of NSEC3 records. NSEC3PARAM tells which, where there is more than one (RFC 5155, 4).
func (b *zoneBuilder) presignHashed() error {
	p := b.z.pre
	params := b.sets[b.order[0]]
	at := slices.IndexFunc(params, func(s zone.RRset) bool { return s.Type == typeNSEC3PARAM })
	if at < 0 || len(p.hidden) == 0 {
		return nil
	}
	param := params[at].Data[0]
	if len(param) < 5 || param[0] != 1 {
		return fmt.Errorf("zone %s: its NSEC3PARAM record is of a hash that is not known: 1 (SHA-1) is", b.z.Name)
	}
	p.hashed, p.rounds, p.salt, p.chain = true, int(binary.BigEndian.Uint16(param[2:])), param[5:], nil
	if p.rounds > maxRounds {
		return fmt.Errorf("zone %s: its NSEC3 records are made with %d iterations; sign it with 0 (RFC 9276), %d at most", b.z.Name, p.rounds, maxRounds)
	}
	bySet := map[string][]zone.RRset{}
	for _, s := range p.hidden {
		bySet[string(s.Owner)] = append(bySet[string(s.Owner)], s)
	}
	for _, s := range p.hidden {
		if s.Type != typeNSEC3 || len(s.Data[0]) < 5 || !bytes.Equal(s.Data[0][2:4], param[2:4]) || !bytes.HasPrefix(s.Data[0][4:], param[4:]) {
			continue
		}
		hash, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(string(bytes.ToUpper(s.Owner[1 : 1+int(s.Owner[0])])))
		if err != nil || len(hash) != sha1.Size {
			return fmt.Errorf("zone %s: %s is no hash", b.z.Name, dnswire.NameString(s.Owner))
		}
		record := Sig{appendRecord(nil, s.Type, s.TTL, s.Data[0]), 1}
		var sig Sig
		for _, data := range signaturesOf(bySet[string(s.Owner)], typeNSEC3) {
			sig = Sig{appendRecord(sig.Wire, dnswire.TypeRRSIG, s.TTL, data), sig.Count + 1}
		}
		p.chain = append(p.chain, link{hash, inFull(s.Owner, record, sig)})
	}
	slices.SortFunc(p.chain, func(a, b link) int { return bytes.Compare(a.key, b.key) })
	return nil
}

// inFull writes records with their owner instead of the pointer to the question.
func inFull(owner []byte, lists ...Sig) (out Sig) {
	for _, l := range lists {
		for wire := l.Wire; len(wire) > 0; {
			end := 12 + int(wire[10])<<8 + int(wire[11])
			out.Wire = append(append(out.Wire, owner...), wire[2:end]...)
			wire = wire[end:]
		}
		out.Count += l.Count
	}
	return out
}

// Proofs are records that deny something, owners in full.
type Proofs struct {
	List  [4]Sig
	Count int
	used  [4]int
}

func (p *Proofs) add(chain []link, at int) {
	if at < 0 || slices.Contains(p.used[:p.Count], at) || p.Count == len(p.List) {
		return
	}
	p.List[p.Count], p.used[p.Count] = chain[at].Sig, at
	p.Count++
}

// Prove gives what a presigned zone has to show for a negative answer, for a delegation without DS, or, with given, for an answer
// that a wildcard gave (RFC 4035, 3.1.3; RFC 5155, 7.2).
func (z *Zone) Prove(out *Proofs, q *dnswire.Query, m Match, given bool) {
	*out = Proofs{}
	p := z.pre
	if len(p.chain) == 0 {
		return
	}
	name := q.Name[:q.NameLen]
	if m.Kind == Referral {
		name = suffix(q, m.Label)
	}
	var room [256]byte
	var wild []byte
	if m.Kind == Missing || m.Kind == Wildcard {
		wild = append(append(room[:0], 1, '*'), suffix(q, m.Label)...)
	}
	if p.hashed {
		p.proveHashed(out, q, m, name, wild, given, z.labels)
		return
	}
	out.add(p.chain, p.before(name))
	if wild != nil && !given {
		out.add(p.chain, p.before(wild))
	}
}

// before gives the NSEC record at a name, or the one that covers it.
func (p *presigned) before(name []byte) int {
	return sort.Search(len(p.chain), func(i int) bool { return zone.CompareNames(p.chain[i].key, name) > 0 }) - 1
}

func (p *presigned) proveHashed(out *Proofs, q *dnswire.Query, m Match, name, wild []byte, given bool, apex int) {
	if wild == nil {
		if at, exact := p.at(name); exact {
			out.add(p.chain, at)
			return
		}
		first := 0
		if m.Kind == Referral {
			first = m.Label
		}
		p.encloser(out, q, first+1, apex) // an insecure delegation that opt-out leaves out
		return
	}
	if given {
		next, _ := p.at(suffix(q, m.Label-1))
		out.add(p.chain, next)
		return
	}
	p.encloser(out, q, m.Label, apex)
	at, _ := p.at(wild)
	out.add(p.chain, at)
}

// encloser proves the closest encloser, from label i of the name on upwards: it is there, and the next closer name is not.
func (p *presigned) encloser(out *Proofs, q *dnswire.Query, i, apex int) {
	for last := min(i+maxAbove, q.Labels-apex); i <= last; i++ {
		if at, exact := p.at(suffix(q, i)); exact {
			out.add(p.chain, at)
			next, _ := p.at(suffix(q, i-1))
			out.add(p.chain, next)
			return
		}
	}
}

// at gives the NSEC3 record that matches a name, or the one that covers it.
func (p *presigned) at(name []byte) (at int, exact bool) {
	hash := p.hash(name)
	at = sort.Search(len(p.chain), func(i int) bool { return bytes.Compare(p.chain[i].key, hash[:]) > 0 }) - 1
	if at < 0 {
		return len(p.chain) - 1, false // the last one reaches around
	}
	return at, bytes.Equal(p.chain[at].key, hash[:])
}

// hash is that of RFC 5155, 5.
func (p *presigned) hash(name []byte) [sha1.Size]byte {
	var room [512]byte
	sum := sha1.Sum(append(append(room[:0], name...), p.salt...))
	for range p.rounds {
		sum = sha1.Sum(append(append(room[:0], sum[:]...), p.salt...))
	}
	return sum
}

// AnySet gives one set of a node that is not empty, for ANY (RFC 8482, 4.1).
func (z *Zone) AnySet(at uint32) Set {
	n := &z.nodes[at]
	for i := n.first; i < n.first+uint32(n.count); i++ {
		if s := z.sets[i]; s.typ != glueType && s.typ != dnswire.TypeRRSIG {
			return Set{s.typ, s.count, i, z.data[s.off : s.off+s.size]}
		}
	}
	return Set{}
}
