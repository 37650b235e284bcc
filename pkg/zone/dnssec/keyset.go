package dnssec

import (
	"bytes"
	"fmt"
	"time"

	"filippo.io/age"
)

// Keyset is what control publishes of a zone's keys and edges sign with: the sets that key-signing keys signed,
// and the zone-signing keys, sealed for the edges. A zone is signed as long as it has one. Immutable once shared.
type Keyset struct {
	Zone string `json:"zone"` // absolute, lower case
	// Serial grows by one with each change.
	Serial uint64 `json:"serial"`
	// Sets stand at the apex as they are: DNSKEY and, once the parent may take up the DS, CDS and CDNSKEY.
	Sets []SignedSet `json:"sets"`
	// ZSKs are the zone-signing keys. A set is signed with each one that is Active: one, or two of different
	// algorithms while the zone goes from one to the other.
	ZSKs []ZSK `json:"zsks"`
	// Until is when the first signature of Sets expires.
	Until time.Time `json:"until"`
	// State is what control knows of the keys' lives.
	State State `json:"state"`
}

// SignedSet is a set at the apex with its signatures: RDATA in canonical form and order, RDATA of the RRSIGs.
type SignedSet struct {
	Type uint16   `json:"type"`
	TTL  uint32   `json:"ttl"` // seconds, of the RRSIGs too
	Data [][]byte `json:"data"`
	Sigs [][]byte `json:"sigs"`
}

// ZSK is a zone-signing key that edges may need: one in use, or the next.
type ZSK struct {
	Tag       uint16    `json:"tag"`
	Algorithm Algorithm `json:"algorithm"`
	Public    []byte    `json:"public"` // RDATA of the DNSKEY
	// Sealed is the private part, encrypted (age) for Recipients.
	Sealed     []byte   `json:"sealed,omitempty"`
	Recipients []string `json:"recipients,omitempty"` // sorted
	Active     bool     `json:"active,omitempty"`
}

// Open gives the keys to sign with: the active ones, in the order of ZSKs.
func (ks *Keyset) Open(identity age.Identity) ([]*Key, error) {
	var keys []*Key
	for i := range ks.ZSKs {
		z := &ks.ZSKs[i]
		if !z.Active {
			continue
		}
		k, err := z.Open(identity)
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", ks.Zone, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Open gives the key with its private part.
func (z *ZSK) Open(identity age.Identity) (*Key, error) {
	k, err := Unseal(z.Sealed, identity)
	if err != nil {
		return nil, fmt.Errorf("zone-signing key %d: %w", z.Tag, err)
	}
	if !bytes.Equal(k.rdata, z.Public) {
		return nil, fmt.Errorf("zone-signing key %d: what is sealed is another key", z.Tag)
	}
	return k, nil
}
