package table

import (
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// SetKeys gives a zone its keys; nil: it is not signed. The zone need not exist yet.
func (c *Compiler) SetKeys(name string, keys *ZoneKeys) {
	old := c.keys[name]
	if old == keys || old != nil && keys != nil && old.Serial == keys.Serial && keys.Serial != 0 {
		return
	}
	if c.keys[name] = keys; keys == nil {
		delete(c.keys, name)
	}
	c.dirty.zones[name] = true
}

// HasKeys tells whether a zone has keys.
func (c *Compiler) HasKeys(name string) bool { return c.keys[name] != nil }

// SignedZones lists the zones that have keys, sorted.
func (c *Compiler) SignedZones() []string { return sortedKeys(c.keys) }

// signZone gives a zone the signer of its keys. As long as the zone-signing keys stay, it is the same one, with all that it has
// signed. The services of a zone with a new one are compiled anew.
func (c *Compiler) signZone(name string, z *zoneState) {
	keys := c.keys[name]
	switch {
	case keys == nil && z.signer == nil:
		return
	case keys == nil:
		z.signer = nil
	case z.signer != nil && slices.EqualFunc(z.signer.keys, keys.Keys, sameKey):
		return
	default:
		z.signer = newSigner(z.static.Apex, keys.Keys, len(c.keys))
	}
	for host := range z.services {
		c.dirty.services[c.hosts[host]] = true
	}
}

func sameKey(a, b *dnssec.Key) bool { return string(a.DNSKEY()) == string(b.DNSKEY()) }

// ttls hashes the TTLs that steps of the service have, each once, in whatever order.
func (s *Service) ttls() (sum uint64) {
	var seen []uint32
	for _, at := range s.steps {
		if !slices.Contains(seen, at.ttl) {
			seen = append(seen, at.ttl)
			sum += steer.Hash(0, uint64(at.ttl))
		}
	}
	return sum
}

// sameSigs keeps a service's signatures as long as what they cover stays.
func sameSigs(old *steeredSigs, s *signer, host string, now *Service) *steeredSigs {
	if s == nil {
		return nil
	}
	ttls := now.ttls()
	if old != nil && old.signer == s && string(old.owner) == host && old.ttls == ttls {
		return old
	}
	return &steeredSigs{signer: s, owner: []byte(host), ttls: ttls}
}

// addKeys puts the sets that control signed at the apex, in the place of any that the zone brings.
func (b *zoneBuilder) addKeys() {
	apex := string(b.in.static.Apex)
	for _, s := range b.in.keys.Sets {
		kept := slices.DeleteFunc(slices.Clone(b.sets[apex]), func(o zone.RRset) bool { return o.Type == s.Type })
		b.sets[apex] = append(kept, zone.RRset{Owner: b.in.static.Apex, Type: s.Type, TTL: s.TTL, Data: s.Data})
	}
}

// sign prepares the places of signatures, and fills those that are there already.
func (b *zoneBuilder) sign() {
	z := b.z
	z.sigs = &zoneSigs{signer: b.in.signer, sets: make([]atomic.Pointer[signature], len(z.sets)),
		nodes: make([]atomic.Pointer[signature], len(z.nodes)), fixed: map[uint32]Sig{}, made: map[uint32]uint64{}}
	for i := range z.nodes {
		if z.nodes[i].kind == explain {
			z.hashMade(uint32(i))
		}
		if wild := z.nodes[i].wild; wild != 0 {
			z.hashMade(wild)
		}
	}
	for _, s := range b.in.keys.Sets {
		set, ok := z.find(&z.nodes[0], s.Type)
		if !ok {
			continue
		}
		var sig Sig
		for _, rrsig := range s.Sigs {
			sig.Wire = appendRecord(sig.Wire, dnswire.TypeRRSIG, s.TTL, rrsig)
			sig.Count++
		}
		z.sigs.fixed[set.at] = sig
	}
	z.inherit(b.in.old, b.order)
}

func (z *Zone) hashMade(at uint32) {
	z.sigs.made[at] = maphash.String(z.sigs.seed, denialText(z.typesMade(at), 0))
}
