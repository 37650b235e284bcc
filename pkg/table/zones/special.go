package zones

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

// addMembers makes a zone a catalog (RFC 9432, 4): its version, and a pointer to each member.
func (b *zoneBuilder) addMembers() {
	add := func(prefix string, typ uint16, data []byte) {
		owner := append([]byte(prefix), b.in.Static.Apex...)
		b.sets[string(owner)] = []zone.RRset{{Owner: owner, Type: typ, Data: [][]byte{data}}}
		b.members = append(b.members, owner)
	}
	add("\x07version", dnswire.TypeTXT, []byte{1, '2'})
	for _, name := range b.in.Members {
		wire, err := names.Wire(name)
		if err != nil {
			continue // it would not be a zone
		}
		// The label stays as long as the zone does: another one would tell consumers to begin anew (RFC 9432, 5.5).
		sum := sha256.Sum256([]byte(wire))
		add("\x20"+hex.EncodeToString(sum[:16])+"\x05zones", dnswire.TypePTR, []byte(wire))
	}
}

// addKeys puts the sets that control signed at the apex, in the place of any that the zone brings.
func (b *zoneBuilder) addKeys() {
	apex := string(b.in.Static.Apex)
	for _, s := range b.in.Keys.Sets {
		kept := slices.DeleteFunc(slices.Clone(b.sets[apex]), func(o zone.RRset) bool { return o.Type == s.Type })
		b.sets[apex] = append(kept, zone.RRset{Owner: b.in.Static.Apex, Type: s.Type, TTL: s.TTL, Data: s.Data})
	}
}

// sign prepares the places of signatures, and fills those that are there already.
func (b *zoneBuilder) sign() {
	z := b.z
	z.sigs = &zoneSigs{Signer: b.in.Signer, sets: make([]atomic.Pointer[signature], len(z.sets)),
		nodes: make([]atomic.Pointer[signature], len(z.nodes)), fixed: map[uint32]Sig{}, made: map[uint32]uint64{}}
	for i := range z.nodes {
		if z.nodes[i].kind == explain {
			z.hashMade(uint32(i))
		}
		if wild := z.nodes[i].wild; wild != 0 {
			z.hashMade(wild)
		}
	}
	for _, s := range b.in.Keys.Sets {
		set, ok := z.find(&z.nodes[0], s.Type)
		if !ok {
			continue
		}
		var sig Sig
		for _, rrsig := range s.Sigs {
			sig.Wire = rr.Append(sig.Wire, dnswire.TypeRRSIG, s.TTL, rrsig)
			sig.Count++
		}
		z.sigs.fixed[set.at] = sig
	}
	z.inherit(b.in.Old, b.order)
}

func (z *Zone) hashMade(at uint32) {
	z.sigs.made[at] = maphash.String(z.sigs.seed, denialText(z.typesMade(at), 0))
}

// inherit takes the signatures that still hold from the zone's former form.
func (z *Zone) inherit(old *Zone, owners []string) {
	if old == nil || old.sigs == nil || z.sigs == nil || old.sigs.Signer != z.sigs.Signer {
		return
	}
	var k names.Key
	for i, name := range owners {
		k.Set([]byte(name), z.seed)
		l := old.names.Find([]byte(name), k.Hashes[0])
		if l == nil {
			continue
		}
		at := l.Value
		if sig := old.sigs.nodes[at].Load(); sig != nil && sig.over == denialText(z.types(uint32(i)), z.negativeTTL()) {
			z.sigs.nodes[i].Store(sig)
		}
		n := &z.nodes[i]
		for at2 := n.first; at2 < n.first+uint32(n.count); at2++ {
			now := z.sets[at2]
			was, ok := old.find(&old.nodes[at], now.typ)
			if !ok || now.typ == glueType {
				continue
			}
			if sig := old.sigs.sets[was.at].Load(); sig != nil && sig.over == string(z.data[now.off:now.off+now.size]) {
				z.sigs.sets[at2].Store(sig)
			}
		}
	}
}
