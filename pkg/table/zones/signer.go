package zones

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// ZoneKeys are what a zone is signed with.
type ZoneKeys struct {
	Keys []*dnssec.Key      // zone-signing keys in use; each signs everything
	Sets []dnssec.SignedSet // DNSKEY, CDS and CDNSKEY, as their key-signing key signed them
	// Serial grows with each change of the keys.
	Serial uint64
}

// Signatures live for sigValidity, less up to an hour so that they do not all end at once, and count from sigSkew ago, since
// clocks differ. From sigRenew before their end on they are made anew.
const (
	sigValidity = 7 * 86400
	sigSkew     = 3600
	sigRenew    = 2 * 86400
	sigJitter   = 3600
)

// signature is records made by signing, rendered: owners point at offset 12.
type signature struct {
	wire  []byte
	count uint16
	until uint32 // Unix time at which it ends
	// what it was made of: for a denial the types, for other sets their records
	over string
}

// fresh tells whether a signature can still be handed out for a while.
func (s *signature) fresh(now uint32) bool { return s != nil && int32(s.until-now) > sigSkew }

// aging tells whether a signature should be made anew.
func (s *signature) aging(now uint32) bool { return int32(s.until-now) < sigRenew }

// Signer makes and keeps the signatures of one zone. Reading is lock-free; making is for slow workers.
type Signer struct {
	keys []*dnssec.Key
	apex []byte
	seed maphash.Seed

	// of names that are not in the zone (NXDOMAIN, wildcards, ANY): a table of fixed size in which the newest stays
	dynamic []atomic.Pointer[dynamicSignature]
}

type dynamicSignature struct {
	key string // owner and what is signed
	signature
}

// How many signatures of names that are not in the zone are kept: each takes some 400 bytes, and whoever asks for names at random fills
// all slots of all zones. So the zones share allSlots, as many as there are when they get their keys.
const (
	dynamicSlots = 4096 // for a zone at most
	fewestSlots  = 64
	allSlots     = 1 << 19
)

// NewSigner makes the signer of one of a number of zones.
func NewSigner(apex []byte, keys []*dnssec.Key, zones int) *Signer {
	places := min(max(allSlots/max(zones, 1), fewestSlots), dynamicSlots)
	return &Signer{keys: keys, apex: apex, seed: maphash.MakeSeed(), dynamic: make([]atomic.Pointer[dynamicSignature], places)}
}

// SignsWith tells whether these are the signer's keys.
func (s *Signer) SignsWith(keys *ZoneKeys) bool {
	return slices.EqualFunc(s.keys, keys.Keys, func(a, b *dnssec.Key) bool { return string(a.DNSKEY()) == string(b.DNSKEY()) })
}

// sign gives the RRSIG records of a set, rendered.
func (s *Signer) sign(b []byte, owner []byte, typ uint16, ttl uint32, data [][]byte, now uint32) (wire []byte, count uint16,
	until uint32, err error) {
	until = now + sigValidity - uint32(maphash.Bytes(s.seed, owner)%sigJitter)
	labels := dnssec.Labels(owner)
	for _, k := range s.keys {
		rdata, err := k.Sign(owner, labels, typ, ttl, data, s.apex, now-sigSkew, until)
		if err != nil {
			return nil, 0, 0, err
		}
		b = rr.Append(b, dnswire.TypeRRSIG, ttl, rdata)
		count++
	}
	return b, count, until, nil
}

// signSet signs rendered records of one type.
func (s *Signer) signSet(owner []byte, set Set, now uint32) (*signature, error) {
	ttl, data := rr.Uint32(set.Wire[6:]), rr.Data(set.Wire)
	wire, count, until, err := s.sign(nil, owner, set.Type, ttl, data, now)
	if err != nil {
		return nil, err
	}
	return &signature{wire: wire, count: count, until: until, over: string(set.Wire)}, nil
}

// deny makes the NSEC record that tells which types owner has, and signs it. It covers owner alone: the next name is the very
// next that there can be (RFC 9824, 3.1 and 3.2; RFC 4470 in spirit), so a resolver concludes nothing about other names.
func (s *Signer) deny(owner []byte, types []uint16, ttl, now uint32) (*signature, error) {
	next := append([]byte{1, 0}, owner...)
	if len(next) > 255 {
		next = afterLongest(owner)
	}
	rdata := dnssec.NSEC(next, types)
	wire := rr.Append(nil, dnswire.TypeNSEC, ttl, rdata)
	wire, count, until, err := s.sign(wire, owner, dnswire.TypeNSEC, ttl, [][]byte{rdata}, now)
	if err != nil {
		return nil, err
	}
	return &signature{wire: wire, count: count + 1, until: until, over: denialText(types, ttl)}, nil
}

// afterLongest gives a name that sorts right behind one that is too long to have a label put before it: its first label
// gets the next higher last byte.
func afterLongest(owner []byte) []byte {
	next := append([]byte(nil), owner...)
	for i := int(next[0]); i >= 1; i-- {
		if next[i] < 0xFF {
			if next[i]++; 'A' <= next[i] && next[i] <= 'Z' {
				next[i] = 'Z' + 1 // names sort by their lower-case form
			}
			return next
		}
	}
	return next[1+int(next[0]):] // a label of 63 bytes 0xFF has nothing behind it but its parent's next sibling
}

// denialText tells denials apart by what they say.
func denialText(types []uint16, ttl uint32) string {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+2*len(types)), ttl)
	for _, t := range types {
		b = append(b, byte(t>>8), byte(t))
	}
	return string(b)
}

// lookup finds a dynamic signature.
func (s *Signer) lookup(owner, key []byte, now uint32) (*signature, uint64) {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.Write(owner)
	_, _ = h.Write(key)
	sum := h.Sum64()
	d := s.dynamic[sum%uint64(len(s.dynamic))].Load()
	if d == nil || len(d.key) != len(owner)+len(key) || d.key[:len(owner)] != string(owner) || d.key[len(owner):] != string(key) ||
		!d.fresh(now) {
		return nil, sum
	}
	return &d.signature, sum
}

func (s *Signer) keep(owner, key []byte, sum uint64, sig *signature) {
	s.dynamic[sum%uint64(len(s.dynamic))].Store(&dynamicSignature{key: string(owner) + string(key), signature: *sig})
}
