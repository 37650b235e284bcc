package dnssec

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
)

// digestSHA256 is the digest type of the DS that are made here (RFC 4509).
const digestSHA256 = 2

// What CDS and CDNSKEY say when the DS is to go (RFC 8078, 4).
var (
	deleteCDS     = []byte{0, 0, 0, 0, 0}
	deleteCDNSKEY = []byte{0, 0, 3, 0, 0}
)

// DS gives the RDATA of the DS, with SHA-256, of a zone's DNSKEY. CDS has the same.
func DS(zone, dnskey []byte) []byte {
	h := sha256.New()
	h.Write(zone)
	h.Write(dnskey)
	ds := binary.BigEndian.AppendUint16(make([]byte, 0, 4+sha256.Size), keyTag(dnskey))
	ds = append(ds, dnskey[3], digestSHA256)
	return h.Sum(ds)
}

// Publish gives the sets that a state wants at the apex, signed by its key-signing keys, and until when the
// signatures hold. ksks are those keys with their private parts, in any order; there may be others.
func Publish(zone string, s State, p Policy, ksks []*Key) (sets []SignedSet, until time.Time, err error) {
	apex, err := dnswire.AppendName(nil, zone)
	if err != nil {
		return nil, until, err
	}
	until = s.Signed.Add(p.Validity).Truncate(time.Second)
	ttl := uint32(p.KeyTTL / time.Second)
	for _, set := range s.sets(apex) {
		signed := SignedSet{Type: set.typ, TTL: ttl, Data: set.data}
		for _, k := range s.Keys {
			if !k.KSK || !k.Signs() {
				continue
			}
			i := slices.IndexFunc(ksks, func(have *Key) bool { return bytes.Equal(have.rdata, k.Public) && have.Private() })
			if i < 0 {
				return nil, until, &MissingKeyError{Zone: zone, Tag: k.Tag}
			}
			sig, err := ksks[i].Sign(apex, Labels(apex), set.typ, ttl, set.data, apex,
				uint32(s.Signed.Add(-Skew).Unix()), uint32(until.Unix()))
			if err != nil {
				return nil, until, err
			}
			signed.Sigs = append(signed.Sigs, sig)
		}
		sets = append(sets, signed)
	}
	return sets, until, nil
}

// MissingKeyError tells that a key-signing key is needed whose private part is not at hand.
type MissingKeyError struct {
	Zone string
	Tag  uint16
}

// Error says so.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("the private part of key-signing key %d of %s is not here", e.Tag, e.Zone)
}

// plainSet is a set without its signatures.
type plainSet struct {
	typ  uint16
	data [][]byte
}

// sets gives what stands at the apex, in canonical order.
func (s *State) sets(apex []byte) []plainSet {
	var keys, cds, cdnskey [][]byte
	for _, k := range s.Keys {
		if k.Visible() {
			keys = append(keys, k.Public)
		}
	}
	for _, k := range s.Offered() {
		cds = append(cds, DS(apex, k.Public))
		cdnskey = append(cdnskey, k.Public)
	}
	if !s.Withdrawn.IsZero() {
		cds, cdnskey = [][]byte{deleteCDS}, [][]byte{deleteCDNSKEY}
	}
	sets := []plainSet{{dnswire.TypeDNSKEY, keys}, {dnswire.TypeCDS, cds}, {dnswire.TypeCDNSKEY, cdnskey}}
	sets = slices.DeleteFunc(sets, func(p plainSet) bool { return len(p.data) == 0 })
	for _, p := range sets {
		slices.SortFunc(p.data, bytes.Compare)
	}
	return sets
}
