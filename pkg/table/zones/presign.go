package zones

import (
	"bytes"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

// takeStatic gives the content that names are made of. What a zone that is signed here brings of signatures is left out.
func (b *zoneBuilder) takeStatic() []zone.RRset {
	sets := b.in.Static.Sets
	made := func(s zone.RRset) bool {
		return s.Type == dnswire.TypeRRSIG || s.Type == dnswire.TypeNSEC || s.Type == typeNSEC3 || s.Type == typeNSEC3PARAM
	}
	switch {
	case b.in.Signer != nil && slices.ContainsFunc(sets, made):
		return slices.DeleteFunc(slices.Clone(sets), made)
	case !BringsSignatures(b.in.Static):
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

// BringsSignatures tells whether a zone was signed elsewhere.
func BringsSignatures(z *zone.Zone) bool {
	return slices.ContainsFunc(SetsAt(z, string(z.Apex)), func(s zone.RRset) bool {
		return s.Type == dnswire.TypeRRSIG && slices.ContainsFunc(s.Data, covers(dnswire.TypeSOA))
	})
}

func covers(typ uint16) func([]byte) bool {
	return func(rrsig []byte) bool { return binary.BigEndian.Uint16(rrsig) == typ }
}

// presign finds the signatures of each set, and the chain.
func (b *zoneBuilder) presign() error {
	z, p := b.z, b.z.pre
	if len(b.in.Services) > 0 {
		z.Problems = append(z.Problems, "steered names have no signatures, since the zone was signed elsewhere, and fail for who "+
			"validates: declare dnssec to have all of it signed here")
	}
	for i, name := range b.order {
		n := &z.nodes[i]
		for at := n.first; at < n.first+uint32(n.count); at++ {
			s := z.sets[at]
			if s.typ == glueType || s.typ == dnswire.TypeRRSIG {
				continue
			}
			ttl := rr.Uint32(z.data[s.off+6:])
			var sig Sig
			for _, data := range signaturesOf(b.sets[name], s.typ) {
				sig = Sig{rr.Append(sig.Wire, dnswire.TypeRRSIG, ttl, data), sig.Count + 1}
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
		return fmt.Errorf("zone %s: its NSEC3 records are made with %d iterations; sign it with 0 (RFC 9276), %d at most", b.z.Name,
			p.rounds, maxRounds)
	}
	bySet := map[string][]zone.RRset{}
	for _, s := range p.hidden {
		bySet[string(s.Owner)] = append(bySet[string(s.Owner)], s)
	}
	for _, s := range p.hidden {
		if s.Type != typeNSEC3 || len(s.Data[0]) < 5 || !bytes.Equal(s.Data[0][2:4], param[2:4]) ||
			!bytes.HasPrefix(s.Data[0][4:], param[4:]) {
			continue
		}
		hash, err := base32.HexEncoding.WithPadding(base32.NoPadding).DecodeString(string(bytes.ToUpper(s.Owner[1 : 1+int(s.Owner[0])])))
		if err != nil || len(hash) != sha1.Size {
			return fmt.Errorf("zone %s: %s is no hash", b.z.Name, dnswire.NameString(s.Owner))
		}
		record := Sig{rr.Append(nil, s.Type, s.TTL, s.Data[0]), 1}
		var sig Sig
		for _, data := range signaturesOf(bySet[string(s.Owner)], typeNSEC3) {
			sig = Sig{rr.Append(sig.Wire, dnswire.TypeRRSIG, s.TTL, data), sig.Count + 1}
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
