package zones

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/rr"
)

// Sig is what signing adds to a message: RRSIG records, or NSEC records with theirs. Owners point at offset 12.
type Sig struct {
	Wire  []byte
	Count uint16
}

// When tells the moment at which a signature is wanted, and whether it may be made now. The way of a query makes none: what is
// missing, or growing old, is asked for again from where slowness is allowed.
type When struct {
	Now  uint32 // Unix time in seconds
	Slow bool
	Draw uint32 // random; of the queries that meet a signature that is growing old, one in renewOne has it made anew
}

const renewOne = 64

// wanted tells whether a signature must be made now. ok is false when it must, and may not.
func (w *When) wanted(s *signature) (must, ok bool) {
	if !s.fresh(w.Now) {
		return true, w.Slow
	}
	if s.aging(w.Now) && (w.Slow || w.Draw%renewOne == 0) {
		return true, w.Slow
	}
	return false, true
}

// zoneSigs are a zone's signatures, made when they are first needed. Safe for concurrent use.
type zoneSigs struct {
	*Signer
	sets  []atomic.Pointer[signature] // as Zone.sets
	nodes []atomic.Pointer[signature] // denials, as Zone.nodes
	fixed map[uint32]Sig              // by set: signed by a key that is not here
	made  map[uint32]uint64           // by node that makes names (a wildcard, _explain): hash of the types that these have
}

// Signed tells whether the zone has keys.
func (z *Zone) Signed() bool { return z.sigs != nil }

// Signature gives the RRSIG records of a set of the zone, whose owner is given folded. ok is false if they must be made, and w
// does not allow it; with w.Slow it is false only where signing failed.
func (z *Zone) Signature(s Set, owner []byte, w *When) (sig Sig, ok bool) {
	if fixed, is := z.sigs.fixed[s.at]; is {
		return fixed, true
	}
	return z.sigs.from(&z.sigs.sets[s.at], w, func(now uint32) (*signature, error) {
		return z.sigs.signSet(owner, z.whole(s), now)
	})
}

// whole gives the set as the zone holds it: the SOA record of a negative answer has another TTL.
func (z *Zone) whole(s Set) Set {
	of := z.sets[s.at]
	return Set{of.typ, of.count, s.at, z.data[of.off : of.off+of.size]}
}

// Denial gives the NSEC record, with RRSIG, that tells which types a node's owner has.
func (z *Zone) Denial(at uint32, owner []byte, w *When) (sig Sig, ok bool) {
	return z.sigs.from(&z.sigs.nodes[at], w, func(now uint32) (*signature, error) {
		return z.sigs.deny(owner, z.types(at), z.negativeTTL(), now)
	})
}

// from takes a signature from its place, or makes it.
func (s *zoneSigs) from(place *atomic.Pointer[signature], w *When, sign func(uint32) (*signature, error)) (Sig, bool) {
	have := place.Load()
	must, ok := w.wanted(have)
	if !must {
		return Sig{have.wire, have.count}, true
	}
	if !ok {
		return Sig{}, false
	}
	fresh, err := sign(w.Now)
	if err != nil {
		return Sig{}, false
	}
	place.Store(fresh)
	return Sig{fresh.wire, fresh.count}, true
}

// dynamicKey tells apart what can be signed at one owner: by kind, type and content, since the zone can change while the signer
// and what it keeps stay.
func dynamicKey(kind byte, typ uint16, content uint64, ttl uint32) (key [15]byte) {
	key[0] = kind
	binary.BigEndian.PutUint16(key[1:], typ)
	binary.BigEndian.PutUint64(key[3:], content)
	binary.BigEndian.PutUint32(key[11:], ttl)
	return key
}

// DynamicSignature signs a set at an owner that is not its own: what a wildcard or the server itself made.
func (z *Zone) DynamicSignature(s Set, owner []byte, w *When) (Sig, bool) {
	key := dynamicKey(1, s.Type, maphash.Bytes(z.sigs.seed, s.Wire), 0)
	return z.sigs.dynamically(owner, key[:], w, func(now uint32) (*signature, error) { return z.sigs.signSet(owner, s, now) })
}

// SignOnce signs a set that no other query will meet, and keeps nothing.
func (z *Zone) SignOnce(s Set, owner []byte, w *When) (Sig, bool) {
	if !w.Slow {
		return Sig{}, false
	}
	sig, err := z.sigs.signSet(owner, s, w.Now)
	if err != nil {
		return Sig{}, false
	}
	return Sig{sig.wire, sig.count}, true
}

// DynamicDenial denies at an owner that is not in the zone: that it exists (wild 0), or types beyond those of the wildcard node
// that covers it. It denies nothing about any other name.
func (z *Zone) DynamicDenial(wild uint32, owner []byte, w *When) (Sig, bool) {
	key := dynamicKey(2, dnswire.TypeNSEC, z.sigs.made[wild], z.negativeTTL())
	return z.sigs.dynamically(owner, key[:], w, func(now uint32) (*signature, error) {
		types := []uint16{dnswire.TypeRRSIG, dnswire.TypeNSEC, dnswire.TypeNXNAME}
		if wild != 0 {
			types = z.typesMade(wild)
		}
		return z.sigs.deny(owner, types, z.negativeTTL(), now)
	})
}

// typesMade lists the types that exist at the names which a node makes: a wildcard, or _explain.
func (z *Zone) typesMade(at uint32) []uint16 {
	if z.nodes[at].kind == explain {
		return []uint16{dnswire.TypeTXT, dnswire.TypeRRSIG, dnswire.TypeNSEC}
	}
	return z.types(at)
}

func (s *Signer) dynamically(owner, key []byte, w *When, sign func(uint32) (*signature, error)) (Sig, bool) {
	have, sum := s.lookup(owner, key, w.Now)
	must, ok := w.wanted(have)
	if !must {
		return Sig{have.wire, have.count}, true
	}
	if !ok {
		return Sig{}, false
	}
	fresh, err := sign(w.Now)
	if err != nil {
		return Sig{}, false
	}
	s.keep(owner, key, sum, fresh)
	return Sig{fresh.wire, fresh.count}, true
}

func (z *Zone) negativeTTL() uint32 { return rr.Uint32(z.soa.Wire[6:]) }

// types lists the types that exist at a node, for its NSEC record. They are the same for every client.
func (z *Zone) types(at uint32) []uint16 {
	n := &z.nodes[at]
	types := []uint16{dnswire.TypeRRSIG, dnswire.TypeNSEC}
	delegates := n.cut == at && at != 0 && !z.renames(n)
	for _, s := range z.sets[n.first : n.first+uint32(n.count)] {
		// the parent's side of a delegation has NS and DS alone (RFC 4035, 2.3)
		if s.typ == glueType || delegates && s.typ != dnswire.TypeNS && s.typ != dnswire.TypeDS {
			continue
		}
		types = append(types, s.typ)
	}
	for f := range rr.Families {
		if n.served.Has(f) {
			types = append(types, f.Type())
		}
	}
	if n.kind == whoami {
		types = append(types, dnswire.TypeTXT)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// First gives the first record alone.
func (s Sig) First() Sig {
	if s.Count < 2 {
		return s
	}
	return Sig{s.Wire[:12+int(s.Wire[10])<<8+int(s.Wire[11])], 1}
}
